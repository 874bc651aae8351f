package wsbridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// hand gives the service an envelope of the gateway's own as the route delivers them, and reports whether anybody takes it.
// A question is worth nothing without an answer.
func (s *session) hand(ctx context.Context, envelope []byte, question bool) (bool, error) {
	if !s.route.atLeastOnce {
		listeners, err := s.node.bus.Publish(ctx, s.node.keys.In(s.route.service), envelope)
		return listeners > 0, err
	}
	_, err := s.enqueue(ctx, &bus.Entry{Envelope: envelope, Question: question})
	if errors.Is(err, bus.ErrUnattended) {
		return false, nil
	}
	return err == nil, err
}

// enqueueMessage queues what a frame of the client's came to, and says so once Redis has it.
func (s *session) enqueueMessage(ctx context.Context, name string, envelope []byte, r *request, question bool) {
	e := bus.Entry{Envelope: envelope, Question: question}
	if r.Client != "" && !question {
		e.ID = bus.MessageID(s.user, r.Client, r.ID)
	}
	queued, err := s.enqueue(ctx, &e)
	switch {
	case err != nil:
		if s.forget(name) == nil && question {
			return // its time was over, and the client was told
		}
		code, reason := enqueueRefusal(err)
		s.refuse(r.ID, code, reason)
		return
	case question || len(r.ID) == 0:
		return
	case queued.Duplicate:
		s.forget(name) // the reply is to the first of them
	}
	s.send(queuedFrame(r.ID, queued))
	s.mu.Lock()
	var held *bus.Outbound
	if p := s.pending[name]; p != nil {
		p.queued = false
		held = p.held
	}
	s.mu.Unlock()
	if held != nil {
		s.reply(held)
	}
}

func enqueueRefusal(err error) (code, reason string) {
	var full *bus.FullError
	switch {
	case errors.As(err, &full):
		return codeResourceExhausted, "the service's queue is full; send it again later"
	case errors.Is(err, bus.ErrUnattended):
		return codeUnavailable, nobodyListens
	}
	return codeUnavailable, "the message could not be queued; send it again"
}

// enqueue appends an envelope to the service's queue. That it is full is counted and logged.
func (s *session) enqueue(ctx context.Context, e *bus.Entry) (bus.Queued, error) {
	queued, err := s.node.bus.Enqueue(ctx, s.node.keys, s.route.service, e, s.route.queue)
	var full *bus.FullError
	if errors.As(err, &full) {
		s.limited(limitQueueLength)
		if count := s.node.refusals.add(s.route.service); count > 0 {
			s.node.logger.Error("a service's queue is full: messages are refused until its consumer group has acknowledged some",
				"service", s.route.service, "group", full.Group, "max_length", s.route.queue.MaxLength, "refused", count)
		}
	}
	return queued, err
}

// refusalLog is how often it is logged that a queue is full.
const refusalLog = 10 * time.Second

// refusals count what full queues have refused, until it is logged.
type refusals struct {
	mu sync.Mutex
	of map[string]*refused // by service
}

type refused struct {
	count  int
	logged time.Time
}

// add counts one, and returns how many there are to log, 0 where it is too soon.
func (r *refusals) add(service string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]*refused{}
	}
	one := r.of[service]
	if one == nil {
		one = new(refused)
		r.of[service] = one
	}
	one.count++
	if time.Since(one.logged) < refusalLog {
		return 0
	}
	count := one.count
	one.count, one.logged = 0, time.Now()
	return count
}
