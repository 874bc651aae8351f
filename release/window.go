package release

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A window is what became of a variant's requests of late, in slots of equal length: the one that requests are counted in,
// and windowSlots-1 that are over. It slides by a slot at a time, and never grows.
const windowSlots = 12

// window takes requests from any goroutine; slide and read are one goroutine's. A request that is counted while its slot ends
// may be lost or counted in the next: shares of thousands do not change by that.
type window struct {
	current atomic.Uint32
	slots   [windowSlots]slot
	ends    time.Time // when the slot in use is over
}

type slot struct {
	requests, failures atomic.Uint32
	delays             [delayBuckets]atomic.Uint32
}

func (w *window) observe(o Outcome, after time.Duration) {
	s := &w.slots[w.current.Load()]
	if o != Abandoned {
		s.requests.Add(1)
	}
	if o == Failed {
		s.failures.Add(1)
	}
	if after >= 0 {
		s.delays[bucketOf(after)].Add(1)
	}
}

// slide drops what is older than length.
func (w *window) slide(now time.Time, length time.Duration) {
	each := length / (windowSlots - 1)
	switch {
	case w.ends.IsZero():
		w.ends = now.Add(each)
	case now.Sub(w.ends) > length:
		w.clear()
		w.ends = now.Add(each)
	}
	for !now.Before(w.ends) {
		next := (w.current.Load() + 1) % windowSlots
		w.slots[next].clear()
		w.current.Store(next)
		w.ends = w.ends.Add(each)
	}
}

func (w *window) clear() {
	for i := range w.slots {
		w.slots[i].clear()
	}
}

func (s *slot) clear() {
	s.requests.Store(0)
	s.failures.Store(0)
	for i := range s.delays {
		s.delays[i].Store(0)
	}
}

// sample is what a window amounts to.
type sample struct {
	requests, failures int
	timed              int           // requests whose delay is known
	p99                time.Duration // of those
}

func (w *window) read() sample {
	var s sample
	var delays [delayBuckets]int
	for i := range w.slots {
		one := &w.slots[i]
		s.requests += int(one.requests.Load())
		s.failures += int(one.failures.Load())
		for b := range delays {
			n := int(one.delays[b].Load())
			delays[b] += n
			s.timed += n
		}
	}
	// The smallest bucket below whose end 99 of 100 are.
	beyond := s.timed / 100
	for b := delayBuckets - 1; b >= 0 && s.timed > 0; b-- {
		if beyond -= delays[b]; beyond < 0 {
			s.p99 = bucketEnd(b)
			break
		}
	}
	return s
}

// Delays are counted in buckets that are an eighth of their size wide, from delayUnit to over two minutes.
const (
	delayUnit    = 32 * time.Microsecond
	delayBuckets = 160
)

func bucketOf(d time.Duration) int {
	n := uint64(d / delayUnit)
	if n < 8 {
		return int(n)
	}
	exponent := bits.Len64(n) - 4
	return min(exponent*8+int(n>>exponent), delayBuckets-1)
}

// bucketEnd returns the delay at which a bucket ends.
func bucketEnd(b int) time.Duration {
	if b < 8 {
		return time.Duration(b+1) * delayUnit
	}
	exponent := b/8 - 1
	return time.Duration(b%8+9) << exponent * delayUnit
}
