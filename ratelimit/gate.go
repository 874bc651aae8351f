package ratelimit

import (
	"sync/atomic"
	"time"
)

// pause is how long Redis is left alone after a failure. Then one call asks it, and the others go on without it until
// that one has an answer, so that no more than one request a second waits for a Redis that is down.
const pause = time.Second

// gate keeps calls from a Redis that does not answer.
type gate struct {
	until atomic.Int64 // Unix nanoseconds before which it is shut, 0 while Redis answers
	now   func() time.Time
}

// enter reports whether this call asks Redis: every call while it answers, after a pause the first.
func (g *gate) enter() bool {
	until := g.until.Load()
	if until == 0 {
		return true
	}
	now := g.now()
	return now.UnixNano() >= until && g.until.CompareAndSwap(until, now.Add(pause).UnixNano())
}

func (g *gate) answered() {
	if g.until.Load() != 0 {
		g.until.Store(0)
	}
}

func (g *gate) failed() { g.until.Store(g.now().Add(pause).UnixNano()) }
