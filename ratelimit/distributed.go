package ratelimit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// pause is how long Redis is left alone after a failure, so that not every request waits for its deadline.
const pause = time.Second

// Distributed counts over all nodes for as long as Redis answers. When it does not, each limit's OnFailure says what
// happens, and Redis is asked again after a second.
type Distributed struct {
	shared Store
	local  *Memory
	until  atomic.Int64 // Unix nanoseconds before which shared is left alone
	now    func() time.Time
}

// NewDistributed returns a store that counts in shared, and in local while shared fails.
func NewDistributed(shared Store, local *Memory) *Distributed {
	return &Distributed{shared: shared, local: local, now: time.Now}
}

// Take returns ErrUnavailable when shared fails and a limit says Refuse.
func (s *Distributed) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	if s.now().UnixNano() >= s.until.Load() {
		out, err := s.shared.Take(ctx, dst, takes)
		if err == nil {
			return out, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			// The caller went away; that says nothing about Redis.
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
