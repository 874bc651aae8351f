package ratelimit

import (
	"context"
	"sync/atomic"
	"time"
)

// pause is how long Redis is left alone after a failure. Then one call asks it, and the others go on without it until
// that one has an answer, so that no more than one request a second waits for a Redis that is down.
const pause = time.Second

// Distributed counts over all nodes for as long as Redis answers. When it does not, each limit's OnFailure says what
// happens, and Redis is asked again after a second. A limit that is let pass has no decision.
type Distributed struct {
	shared Store
	local  *Memory
	until  atomic.Int64 // Unix nanoseconds before which shared is left alone, 0 while it answers
	now    func() time.Time
}

// NewDistributed returns a store that counts in shared, and in local while shared fails.
func NewDistributed(shared Store, local *Memory) *Distributed {
	return &Distributed{shared: shared, local: local, now: time.Now}
}

// Take returns ErrUnavailable when shared fails and a limit says Refuse.
func (s *Distributed) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	if s.mayAsk() {
		out, err := s.shared.Take(ctx, dst, takes)
		if err == nil {
			if s.until.Load() != 0 {
				s.until.Store(0)
			}
			return out, nil
		}
		if ctx.Err() != nil {
			// The caller went away, or has no time left; that says nothing about Redis, and a caller in a hurry must
			// not loosen everyone's limits.
			return dst, err
		}
		s.until.Store(s.now().Add(pause).UnixNano())
	}
	var room [8]Take
	locally := room[:0]
	for i := range takes {
		switch takes[i].OnFailure {
		case Refuse:
			return dst, ErrUnavailable
		case CountLocally:
			locally = append(locally, takes[i])
		}
	}
	if len(locally) == 0 {
		return dst, nil
	}
	return s.local.Take(ctx, dst, locally)
}

// mayAsk reports whether this call asks Redis: every call while it answers, after a pause the first.
func (s *Distributed) mayAsk() bool {
	until := s.until.Load()
	if until == 0 {
		return true
	}
	now := s.now()
	return now.UnixNano() >= until && s.until.CompareAndSwap(until, now.Add(pause).UnixNano())
}
