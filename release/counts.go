package release

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"sync/atomic"
	"time"
)

// tally counts what has ended since it was last taken, from any goroutine.
type tally struct {
	requests, failures atomic.Uint32
	delays             [delayBuckets]atomic.Uint32
}

func (t *tally) observe(o Outcome, after time.Duration) {
	if o != Abandoned {
		t.requests.Add(1)
	}
	if o == Failed {
		t.failures.Add(1)
	}
	if after >= 0 {
		t.delays[bucketOf(after)].Add(1)
	}
}

// take returns what it has counted, and begins anew. A request that is counted meanwhile may be in this one by half.
func (t *tally) take() *counts {
	c := &counts{requests: int(t.requests.Swap(0)), failures: int(t.failures.Swap(0))}
	for b := range t.delays {
		if t.delays[b].Load() != 0 {
			c.delays[b] = int(t.delays[b].Swap(0))
		}
	}
	return c
}

// counts is what became of some requests.
type counts struct {
	requests, failures int
	delays             [delayBuckets]int // of those whose delay is known
}

func (c *counts) add(other *counts) {
	c.requests += other.requests
	c.failures += other.failures
	for b, n := range other.delays {
		c.delays[b] += n
	}
}

// timed returns of how many requests the delay is known.
func (c *counts) timed() int { return c.slower(0) }

// slower returns how many requests took longer than d, as far as buckets tell.
func (c *counts) slower(d time.Duration) int {
	n := 0
	for b := delayBuckets - 1; b >= 0 && bucketEnd(b) > d; b-- {
		n += c.delays[b]
	}
	return n
}

// p99 returns the 99th percentile of the delays, 0 where there are none: the end of the smallest bucket below which 99 of 100 are.
func (c *counts) p99() time.Duration {
	beyond := c.timed() / 100
	for b := delayBuckets - 1; b >= 0; b-- {
		if beyond -= c.delays[b]; beyond < 0 {
			return bucketEnd(b)
		}
	}
	return 0
}

// appendTo writes the counts as varints: requests, failures, how many buckets are not empty, and of each how many were passed over
// before it and what it has. That is some hundred bytes, and never above 2 KiB.
func (c *counts) appendTo(to []byte) []byte {
	filled := 0
	for _, n := range c.delays {
		if n > 0 {
			filled++
		}
	}
	for _, n := range [...]int{c.requests, c.failures, filled} {
		to = binary.AppendUvarint(to, uint64(n))
	}
	next := 0
	for b, n := range c.delays {
		if n > 0 {
			to = binary.AppendUvarint(to, uint64(b-next))
			to = binary.AppendUvarint(to, uint64(n))
			next = b + 1
		}
	}
	return to
}

// mostCounted is the most that one node can have counted: sums of any number of nodes do not overflow.
const mostCounted = 1 << 40

var errCounts = errors.New("release: not the counts of a node")

// parseCounts reads what appendTo has written, and returns what follows it.
func parseCounts(from []byte) (*counts, []byte, error) {
	ok := true
	number := func(most uint64) int {
		n, size := binary.Uvarint(from)
		if size <= 0 || n > most {
			ok = false
			return 0
		}
		from = from[size:]
		return int(n)
	}
	c := &counts{requests: number(mostCounted)}
	c.failures = number(uint64(c.requests))
	next := 0
	for range number(delayBuckets) {
		b := next + number(delayBuckets)
		n := number(mostCounted)
		if !ok || b >= delayBuckets {
			return nil, nil, errCounts
		}
		c.delays[b] = n
		next = b + 1
	}
	if !ok {
		return nil, nil, errCounts
	}
	return c, from, nil
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
