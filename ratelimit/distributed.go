package ratelimit

import (
	"context"
	"time"
)

// Distributed counts over all nodes for as long as Redis answers. When it does not, each limit's OnFailure says what
// happens, and Redis is asked again after a second.
type Distributed struct {
	shared Store
	local  *Memory
	gate
}

// NewDistributed returns a store that counts in shared, and in local while shared fails.
func NewDistributed(shared Store, local *Memory) *Distributed {
	return &Distributed{shared: shared, local: local, gate: gate{now: time.Now}}
}

// Take returns ErrUnavailable when shared fails and a limit says Refuse.
func (s *Distributed) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	if s.enter() {
		out, err := s.shared.Take(ctx, dst, takes)
		if err == nil {
			s.answered()
			return out, nil
		}
		if ctx.Err() != nil {
			// The caller went away, or has no time left; that says nothing about Redis, and a caller in a hurry must
			// not loosen everyone's limits.
			return dst, err
		}
		s.failed()
	}
	return alone(ctx, s.local, dst, takes)
}

// Return gives a place back to where it was taken.
func (s *Distributed) Return(takes []Take) {
	for i := range takes {
		if t := takes[i : i+1]; t[0].Place != 0 {
			s.shared.Return(t)
		} else {
			s.local.Return(t)
		}
	}
}

// alone decides without Redis.
func alone(ctx context.Context, local *Memory, dst []Decision, takes []Take) ([]Decision, error) {
	var room [8]Take
	counted := room[:0]
	for i := range takes {
		t := takes[i]
		takes[i].Place = 0
		switch t.OnFailure {
		case Refuse:
			return dst, ErrUnavailable
		case CountLocally:
			t.Limit = t.Limit.share(t.Share)
			counted = append(counted, t)
		}
	}
	var answers [8]Decision
	decisions, err := local.Take(ctx, answers[:0], counted)
	if err != nil {
		return dst, err
	}
	for i := range takes {
		if takes[i].OnFailure == CountLocally {
			dst, decisions = append(dst, decisions[0]), decisions[1:]
			continue
		}
		dst = append(dst, Decision{Allowed: true, Uncounted: true, Limit: takes[i].Limit.Burst, Remaining: takes[i].Limit.Burst})
	}
	return dst, nil
}
