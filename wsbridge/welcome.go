package wsbridge

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// welcome tells the service of the connection and returns the channels that it is subscribed to. Where the route has the
// service asked, it waits for the answer; ok is false where the client may not stay, and then the connection is closed.
func (s *session) welcome(ctx context.Context) (channels []string, ok bool) {
	channels = s.assignedChannels()
	if s.route.welcomeTimeout == 0 {
		s.announce(ctx, bus.Connect, 0)
		return channels, true
	}
	w, code, reason := s.askWelcome(ctx)
	if code != 0 {
		s.end(code, reason)
		return nil, false
	}
	if info := w.Info; len(info) > maxInfo {
		s.limited(limitPresenceInfo)
	} else if len(info) > 0 {
		s.info = &info
	}
	return append(channels, w.Subscribe...), true
}

// askWelcome asks the service, and returns the code to close the connection with where it may not stay, 0 where it may.
func (s *session) askWelcome(ctx context.Context) (w bus.Welcome, code websocket.StatusCode, reason string) {
	m := s.envelope(bus.Connect)
	answer := make(chan *bus.Outbound, 1)
	s.mu.Lock()
	s.pending = map[string]*pendingReply{m.ID: {
		decide: func(o *bus.Outbound) { answer <- o },
		timer: time.AfterFunc(s.route.welcomeTimeout, func() {
			if s.forget(m.ID) != nil {
				close(answer)
			}
		}),
	}}
	s.mu.Unlock()
	defer s.forget(m.ID)
	if !s.node.replies.Load() {
		return w, websocket.StatusTryAgainLater, "the bus is down"
	}
	switch taken, err := s.hand(ctx, m.Append(nil), true); {
	case err != nil:
		return w, websocket.StatusTryAgainLater, "the bus is down"
	case !taken:
		return w, websocket.StatusTryAgainLater, "no instance of the service is listening"
	}
	select {
	case o := <-answer:
		if o == nil {
			return w, websocket.StatusTryAgainLater, "the service did not answer in time"
		}
		return s.readWelcome(o)
	case <-s.node.ctx.Done():
		return w, CloseDraining, "the gateway is going away"
	}
}

// readWelcome holds the service's answer to what it may be. Yes is {"allow":true} and nothing else.
func (s *session) readWelcome(o *bus.Outbound) (w bus.Welcome, code websocket.StatusCode, reason string) {
	if e := o.Error; e != nil {
		if e.Code == codeUnavailable || e.Code == "internal" {
			return w, websocket.StatusTryAgainLater, closeReason(e.Message)
		}
		return w, CloseRefused, closeReason(e.Message)
	}
	if json.Unmarshal(o.Data, &w) != nil {
		return w, websocket.StatusInternalError, "the service's answer to the connect is not as it should be"
	}
	if !w.Allow {
		if code = CloseRefused; w.Code >= 3000 && ValidCloseCode(w.Code) {
			code = websocket.StatusCode(w.Code)
		}
		return w, code, closeReason(w.Reason)
	}
	invalid := func(channel string) bool { return !ValidChannel(channel) }
	if len(w.Subscribe) > s.route.maxSubscriptions || slices.ContainsFunc(w.Subscribe, invalid) {
		return w, websocket.StatusInternalError, "the service's answer to the connect is not as it should be"
	}
	return w, 0, ""
}

// closeReason cuts a reason to what a close frame holds, in UTF-8 (RFC 6455 section 5.5.1).
func closeReason(text string) string {
	if len(text) > MaxReason {
		text = text[:MaxReason]
	}
	return strings.ToValidUTF8(text, "")
}
