package wsbridge

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// handle answers one frame of the envelope protocol. A frame costs the client's limits whatever is in it.
func (s *session) handle(ctx context.Context, data []byte) {
	r, err := parseRequest(data)
	if f := s.admit(ctx); f != nil {
		s.refused(r.ID, f)
		return
	}
	if err != nil {
		s.refuse(r.ID, codeInvalidArgument, err.Error())
		return
	}
	if f := s.allows(&r, len(data)); f != nil {
		s.refused(r.ID, f)
		return
	}
	switch r.Type {
	case "message":
		s.message(ctx, &r)
	case "subscribe":
		s.subscribe(ctx, &r)
	case "unsubscribe":
		s.unsubscribe(&r)
	case "presence":
		s.presence(ctx, &r)
	case "refresh":
		s.refresh(ctx, &r)
	case "ping":
		s.send(pongFrame(r.ID))
	default:
		s.refuse(r.ID, codeInvalidArgument, "type: expected message, subscribe, unsubscribe, presence, refresh or ping")
	}
}

// admit charges one message to its limits.
func (s *session) admit(ctx context.Context) *admission.Refusal {
	f := s.ticket.AdmitMessage(ctx, s.id)
	if s.ticket.Noted {
		s.metrics.Noted(s.ticket.Limits)
	}
	return f
}

// allows asks the route's rules about what reaches a service or a channel by a frame of some size.
func (s *session) allows(r *request, size int) *admission.Refusal {
	switch r.Type {
	case "message", "subscribe", "presence":
		return s.ticket.AuthorizeMessage(auth.Message{Type: r.Type, Route: r.Route, Channel: r.Channel, Data: r.Data, Size: size})
	}
	return nil
}

func (s *session) refuse(id json.RawMessage, code, message string) {
	if !s.raw {
		s.send(errorFrame(id, code, message, 0))
	}
}

// refused words an admission's refusal.
func (s *session) refused(id json.RawMessage, f *admission.Refusal) {
	s.metrics.Refused(f)
	code := codeUnavailable
	switch f.Kind {
	case admission.Unauthenticated:
		code = codeUnauthenticated
	case admission.PermissionDenied:
		code = codePermissionDenied
	case admission.LimitExceeded:
		s.limited(limitMessageRate)
		code = codeResourceExhausted
	}
	if !s.raw {
		s.send(errorFrame(id, code, f.Reason, f.RetryAfter))
	}
}

func (s *session) message(ctx context.Context, r *request) {
	if r.Route == "" {
		s.refuse(r.ID, codeInvalidArgument, "route: expected the name of a route of the service")
		return
	}
	if r.Data != nil && r.Bytes != nil {
		s.refuse(r.ID, codeInvalidArgument, "expected data or data_base64, not both")
		return
	}
	if r.Client != "" && len(r.ID) == 0 {
		s.refuse(nil, codeInvalidArgument, "id: expected with client")
		return
	}
	m := s.envelope(bus.Message)
	m.Route, m.Data, m.DataBase64 = r.Route, r.Data, r.Bytes
	s.deliver(ctx, m, r, nil)
}

func (s *session) rawMessage(ctx context.Context, kind websocket.MessageType, data []byte) {
	if f := s.admit(ctx); f != nil {
		s.refused(nil, f)
		return
	}
	text := kind == websocket.MessageText && json.Valid(data)
	asked := auth.Message{Type: "message", Size: len(data)}
	if text {
		asked.Data = data
	}
	if f := s.ticket.AuthorizeMessage(asked); f != nil {
		s.refused(nil, f)
		return
	}
	m := s.envelope(bus.Message)
	if text {
		m.Data = data
	} else {
		m.DataBase64 = data
	}
	s.deliver(ctx, m, new(request), nil)
}

func (s *session) subscribe(ctx context.Context, r *request) {
	if !ValidChannel(r.Channel) {
		s.refuse(r.ID, codeInvalidArgument, "channel: expected 1 to 255 printable ASCII characters without spaces and braces")
		return
	}
	if (r.seen&fieldEpoch == 0) != (r.seen&fieldOffset == 0) {
		s.refuse(r.ID, codeInvalidArgument, "expected both epoch and offset, or neither")
		return
	}
	s.authorize(ctx, r, s.enter)
}

// enter subscribes to a channel that the session may subscribe to.
func (s *session) enter(ctx context.Context, r *request) {
	if s.left {
		return
	}
	if l, ok := s.channels[r.Channel]; ok {
		s.reenter(ctx, r, l)
		return
	}
	if len(s.channels) >= s.route.maxSubscriptions {
		s.limited(limitSubscriptions)
		s.refuse(r.ID, codeResourceExhausted, "the connection has as many subscriptions as the route allows")
		return
	}
	l, err := s.joinChannel(ctx, r)
	switch {
	case errors.Is(err, bus.ErrRefused):
		s.refuse(r.ID, codePermissionDenied, "the gateway itself may not subscribe to the channel")
		return
	case err != nil:
		s.refuse(r.ID, codeUnavailable, "the bus is down; subscribe again later")
		return
	}
	s.entered(ctx, r.Channel, l, r.info)
}

// entered keeps a subscription that stands, and has the session be present in the channel.
func (s *session) entered(ctx context.Context, channel string, l *line, info *json.RawMessage) {
	if s.channels == nil {
		s.channels = map[string]*line{}
	}
	s.channels[channel] = l
	if s.route.presence {
		s.attend(ctx, channel, info)
	}
}

// reenter answers a subscription to a channel that the session subscribes to.
func (s *session) reenter(ctx context.Context, r *request, l *line) {
	if l == nil || r.from() == nil {
		s.subscribed(r, l)
		return
	}
	if err := s.rejoinLine(ctx, l, r); err != nil {
		delete(s.channels, r.Channel)
		s.depart(r.Channel, false)
		s.refuse(r.ID, codeUnavailable, "the bus is down; the subscription has ended: subscribe again later")
	}
}

// joinChannel subscribes to a channel and answers the request. The line is nil for a channel without history.
func (s *session) joinChannel(ctx context.Context, r *request) (*line, error) {
	if rule := s.route.channel(r.Channel, s.ticket.Identity); rule != nil && rule.history.Size > 0 {
		return s.node.joinLine(ctx, s, r.Channel, rule.history.TTL, func(l *line) error { return s.follow(ctx, l, r.ID, r.from()) })
	}
	key := s.node.keys.Channel(r.Channel)
	if err := s.node.join(ctx, key, s); err != nil {
		s.node.leave(key, s)
		return nil, err
	}
	s.subscribed(r, nil)
	return nil, nil
}

// subscribed answers a subscription that stands.
func (s *session) subscribed(r *request, l *line) {
	if l == nil {
		s.send(okFrame(r.ID, r.Channel))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.send(subscribedFrame(r.ID, r.Channel, l.at, ""))
}

func (s *session) unsubscribe(r *request) {
	l, ok := s.channels[r.Channel]
	if !ok {
		s.refuse(r.ID, codeNotFound, "not subscribed to this channel")
		return
	}
	delete(s.channels, r.Channel)
	s.depart(r.Channel, false)
	s.leaveChannel(r.Channel, l)
	s.send(okFrame(r.ID, r.Channel))
}

// leaveChannel undoes joinChannel.
func (s *session) leaveChannel(channel string, l *line) {
	if l != nil {
		s.node.leaveLine(l, s)
		return
	}
	s.node.leave(s.node.keys.Channel(channel), s)
}

func (s *session) refresh(ctx context.Context, r *request) {
	if _, f := s.ticket.Refresh(ctx, r.Token); f != nil {
		s.refused(r.ID, f)
		return
	}
	s.keepClaims()
	s.mu.Lock()
	s.setExpiry()
	s.mu.Unlock()
	s.send(okFrame(r.ID, ""))
	s.endIfRevoked()
}
