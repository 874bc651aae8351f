package auth

import "sync/atomic"

// held counts the configurations that hold a thing open: a reload carries it over when nothing about it has changed.
type held struct{ holders atomic.Int32 }

func (h *held) hold() { h.holders.Add(1) }

// letGo reports whether nobody holds the thing any more.
func (h *held) letGo() bool { return h.holders.Add(-1) == 0 }

// again returns what one more configuration holds.
func again[T interface{ hold() }](of T) T {
	of.hold()
	return of
}
