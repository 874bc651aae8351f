package wsbridge

import (
	"time"

	"github.com/coder/websocket"
)

// startBeat starts what ends a session that is silent.
func (s *session) startBeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat = time.AfterFunc(s.route.pingInterval, s.listen)
}

// setExpiry closes the session when its identity ends. The caller holds the lock.
func (s *session) setExpiry() {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if exp := s.ticket.Identity.Expires; !exp.IsZero() && !s.ended {
		s.expiry = time.AfterFunc(time.Until(exp), func() {
			s.spawn(func() { s.end(CloseTokenExpired, "the token has expired") })
		})
	}
}

// listen pings a client that has been silent for the ping interval, and ends the session when it stays silent. Whatever
// the client sends is a sign of life. It runs in a timer's goroutine and never waits: an idle session costs a timer.
func (s *session) listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.events() != nil {
		// Its client cannot answer: the write tells whether it is there.
		s.wire.send(pingFrame)
		s.beat.Reset(s.route.pingInterval)
		return
	}
	now, heard := uptime(), time.Duration(s.wire.heard.Load())
	switch silence := now - heard; {
	case s.pinged != 0 && heard < s.pinged:
		s.lost(CloseUnresponsive)
	case silence < s.route.pingInterval:
		s.pinged = 0
		s.beat.Reset(s.route.pingInterval - silence)
	default:
		s.pinged = now
		s.wire.send(pingFrame)
		s.beat.Reset(s.route.pingTimeout)
	}
}

// spawn runs f, which may wait, in a goroutine that the node waits for, unless the session has ended.
func (s *session) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.node.spawn(func() {
		defer func() {
			if s.panicked(recover()) {
				s.end(websocket.StatusInternalError, panicReason)
			}
		}()
		f()
	})
}

var started = time.Now()

// uptime is a clock that nobody sets.
func uptime() time.Duration { return time.Since(started) }
