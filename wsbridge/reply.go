package wsbridge

import (
	"context"
	"encoding/json"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// maxPending is how many messages of a session may wait for a reply.
const maxPending = 1000

// pendingReply is a message of the client's that waits for the service.
type pendingReply struct {
	id    json.RawMessage
	timer *time.Timer
	// queued is set until the client has been told that the message is queued: the reply waits for that.
	queued bool
	held   *bus.Outbound
	// decide gets the answer in place of the client, where the question was the gateway's. It must not wait.
	decide func(*bus.Outbound)
}

// deliver hands an envelope to the service, for a frame of the client's. With an id, the client is told what became of it;
// with decide, the answer goes there, and the client is told where there is none.
func (s *session) deliver(ctx context.Context, m *bus.Inbound, r *request, decide func(*bus.Outbound)) {
	waits := len(r.ID) > 0 || decide != nil
	if waits && !s.expect(m.ID, r.ID, decide) {
		s.limited(limitPendingReplies)
		s.refuse(r.ID, codeResourceExhausted, "too many messages wait for a reply")
		return
	}
	buffer := messageBuffers.Get().(*[]byte)
	envelope := m.Append((*buffer)[:0])
	if s.route.atLeastOnce {
		s.enqueueMessage(ctx, m.ID, envelope, r, decide != nil)
	} else {
		s.publish(ctx, m.ID, envelope, r.ID, waits)
	}
	if cap(envelope) <= keptBuffer {
		*buffer = envelope
	}
	messageBuffers.Put(buffer)
}

func (s *session) publish(ctx context.Context, name string, envelope []byte, id json.RawMessage, waits bool) {
	reason := ""
	if !s.node.replies.Load() {
		reason = "the bus is down" // a reply would not arrive
	} else if listeners, err := s.node.bus.Publish(ctx, s.node.keys.In(s.route.service), envelope); err != nil {
		reason = "the bus is down"
	} else if listeners == 0 {
		reason = nobodyListens
	}
	if reason != "" && (!waits || s.forget(name) != nil) {
		s.refuse(id, codeUnavailable, reason)
	}
}

const nobodyListens = "no instance of the service is listening"

// expect waits for the service's answer to an envelope. It reports false when too many wait already.
func (s *session) expect(envelope string, id json.RawMessage, decide func(*bus.Outbound)) bool {
	p := &pendingReply{id: append(json.RawMessage(nil), id...), queued: s.route.atLeastOnce && decide == nil, decide: decide}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) >= maxPending {
		return false
	}
	p.timer = time.AfterFunc(s.route.replyTimeout, func() {
		// What is queued has been acknowledged: it will be handled, however late.
		if s.forget(envelope) != nil && (decide != nil || !s.route.atLeastOnce) {
			s.refuse(p.id, codeDeadlineExceeded, "the service did not reply in time")
		}
	})
	if s.pending == nil {
		s.pending = map[string]*pendingReply{}
	}
	s.pending[envelope] = p
	return true
}

// forget stops waiting for an answer, and returns nil when none was awaited.
func (s *session) forget(envelope string) *pendingReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[envelope]
	if p != nil {
		p.timer.Stop()
		delete(s.pending, envelope)
	}
	return p
}

// hold keeps a reply back that has come before the client was told that its message is queued.
func (s *session) hold(o *bus.Outbound) bool {
	if !s.route.atLeastOnce {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[o.InReplyTo]
	if p == nil || !p.queued {
		return false
	}
	if p.held == nil {
		p.held = o
	}
	return true
}

// reply hands on what a service has sent to this connection.
func (s *session) reply(o *bus.Outbound) {
	switch {
	case s.raw:
		if p := s.forget(o.InReplyTo); p != nil {
			p.decide(o) // no client waits for a reply here
		} else if o.Error == nil {
			s.send(rawFrame(payloadOfEnvelope(o)))
		}
		return
	case o.InReplyTo == "":
		s.send(messageFrame("", payloadOfEnvelope(o)))
		return
	case s.hold(o):
		return
	}
	p := s.forget(o.InReplyTo)
	switch {
	case p == nil:
		s.node.metrics.BusDropped("late_reply")
	case p.decide != nil:
		p.decide(o)
	case o.Error != nil:
		s.send(errorFrame(p.id, errorCode(o.Error.Code), o.Error.Message, 0))
	default:
		s.send(replyFrame(p.id, payloadOfEnvelope(o)))
	}
}

// errorCode keeps a service's error code when it is a plain word.
func errorCode(code string) string {
	if code == "" || len(code) > 64 {
		return "unknown"
	}
	for i := range len(code) {
		if c := code[i]; (c < 'a' || c > 'z') && c != '_' && (c < '0' || c > '9') {
			return "unknown"
		}
	}
	return code
}
