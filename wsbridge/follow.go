package wsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// following is how long a subscription may wait until the node knows where the channel's history is.
const following = 5 * time.Second

var errHistory = errors.New("wsbridge: the channel's history cannot be read")

// joinLine subscribes a session to a channel with history, by follow or followNew. It is undone by leaveLine.
func (n *Node) joinLine(ctx context.Context, s *session, channel string, ttl time.Duration, follow func(*line) error) (*line, error) {
	l := n.line(channel, ttl)
	err := n.bus.Subscribe(ctx, n.keys.Channel(channel))
	if err == nil {
		l.begin()
		err = follow(l)
	}
	if err != nil {
		n.leaveLine(l, s)
		return nil, err
	}
	return l, nil
}

func (n *Node) leaveLine(l *line, s *session) {
	l.leave(s)
	n.release(l)
	n.bus.Unsubscribe(n.keys.Channel(l.name))
}

// follow subscribes the session to a line and answers the request: from where the line is, or, with from, from there on.
// It runs in the session's reading goroutine, which it may keep until the client has taken what it had missed.
func (s *session) follow(ctx context.Context, l *line, id json.RawMessage, from *bus.Position) error {
	ctx, cancel := context.WithTimeout(ctx, following)
	defer cancel()
	if err := l.settled(ctx); err != nil {
		return err
	}
	if from == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.enter(s, id, nil)
		return nil
	}
	if l.differs(from.Epoch) {
		if err := l.settled(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	if from.Epoch != l.at.Epoch || from.Offset >= l.at.Offset {
		defer l.mu.Unlock()
		l.enter(s, id, from)
		return nil
	}
	m := &member{joining: true, after: from.Offset}
	l.members[s] = m
	l.mu.Unlock()
	return s.catchUp(l, m, id, *from)
}

// followNew subscribes the session to a line that it did not ask for, from where the line is, and tells it.
func (s *session) followNew(ctx context.Context, l *line) error {
	ctx, cancel := context.WithTimeout(ctx, following)
	defer cancel()
	if err := l.settled(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[s] = &member{after: l.at.Offset}
	s.send(assignedFrame(l.name, &l.at))
	return nil
}

// rejoinLine has a session that follows a line go back to where it says: what came since comes again.
func (s *session) rejoinLine(ctx context.Context, l *line, r *request) error {
	l.leave(s)
	err := s.follow(ctx, l, r.ID, r.from())
	if err != nil {
		s.node.leaveLine(l, s)
	}
	return err
}

// differs reports whether the line is in another epoch. Either side may be behind: the line finds out.
func (l *line) differs(epoch string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch == l.at.Epoch {
		return false
	}
	l.fallBehind()
	return true
}

// settled waits until the line has read what it had to.
func (l *line) settled(ctx context.Context) error {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return errHistory
	}
}

// enter makes the session a member that has all up to where the line is, or more, and tells it so. The caller holds the lock.
func (l *line) enter(s *session, id json.RawMessage, from *bus.Position) {
	m := &member{after: l.at.Offset}
	at, recovered := l.at, ""
	if from != nil {
		if recovered = "false"; from.Epoch == l.at.Epoch {
			recovered = "true"
			m.after, at = from.Offset, *from
		}
	}
	l.members[s] = m
	s.send(subscribedFrame(id, l.name, at, recovered))
}

// catchUp sends what the session has missed, and then what was published meanwhile, and makes it a member like others.
func (s *session) catchUp(l *line, m *member, id json.RawMessage, at bus.Position) error {
	for first := true; ; first = false {
		page, err := l.node.bus.ReadHistory(l.node.ctx, l.node.keys, l.name, at, l.ttl)
		switch {
		case err != nil:
			return err
		case s.wire.ended():
			return errHistory
		case page.Epoch != at.Epoch || first && !page.Whole:
			l.abandon(s, m, id, at, page.Epoch, first)
			return nil
		case !page.Whole:
			at.Offset = page.Start()
			s.sendWithRoom(gapFrame(l.name, at))
		case first:
			s.send(subscribedFrame(id, l.name, at, "true"))
		}
		for i := range page.Messages {
			at.Offset = page.Messages[i].Offset
			s.sendWithRoom(keptFrame(l.name, &page.Messages[i]))
		}
		if l.admit(s, m, at, page.More) {
			return nil
		}
	}
}

// abandon ends a member's joining where history, in the epoch that it now has, is not what the member has to go on with.
func (l *line) abandon(s *session, m *member, id json.RawMessage, at bus.Position, epoch string, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case first:
		l.enter(s, id, &bus.Position{})
	case l.at.Epoch != at.Epoch:
		m.joining, m.held, m.after = false, nil, l.at.Offset
		s.send(gapFrame(l.name, l.at))
	default:
		m.joining, m.held, m.after = false, nil, at.Offset
	}
	if epoch != l.at.Epoch { // the line has yet to find out, and will tell
		l.fallBehind()
	}
}

// admit ends a member's joining, unless there is more to read for it.
func (l *line) admit(s *session, m *member, at bus.Position, more bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := m.held
	m.held, m.size = nil, 0
	if more || m.overrun {
		m.overrun = false
		return false // what was held is in the history that is read next
	}
	for _, f := range held {
		switch {
		case f.gap:
			at.Offset = f.offset
			s.send(f.frame)
		case f.offset > at.Offset:
			s.send(f.frame)
		}
	}
	m.joining, m.after = false, 0
	if at.Epoch == l.at.Epoch {
		m.after = at.Offset
	}
	return true
}

// sendWithRoom is send for what the session itself brings along: it waits for the client rather than to overflow its
// queue.
func (s *session) sendWithRoom(frame []byte) {
	if s.wire.waiting()+len(frame) > s.wire.limit/2 {
		<-s.wire.flushed()
	}
	s.send(frame)
}
