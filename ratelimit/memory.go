package ratelimit

import (
	"context"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

const (
	// shards is how many locks share the buckets, so that requests seldom meet at one. Take keeps those it holds in the
	// bits of a uint64.
	shards = 64
	// sweep is how many old keys are looked at for each new one. Above 1, keys whose bucket is full again go faster than
	// new ones come, so that the store shrinks to what is in use.
	sweep = 2
	// shardKeys bounds a shard's memory: about a million keys in all, of 32 bytes.
	shardKeys = 16 << 10
	// sample is how many keys a shard at its bound looks at for the one that has the least to lose. Who wants to be
	// forgotten by a flood of new keys must have most of a million of them owe more than its own does.
	sample = 8
)

// Memory keeps buckets on this node. Create it with NewMemory.
type Memory struct {
	now    func() time.Duration // since 1970
	seeds  [2]maphash.Seed
	bound  int // of a shard's keys
	shards [shards]shard
}

// hashed is a key's hash under seeds that nobody knows: what callers choose is not kept, and takes up the same room
// however long it is.
type hashed [2]uint64

type shard struct {
	mu      sync.Mutex
	buckets map[hashed]bucket
	places  map[hashed]int // taken of concurrency limits; as many keys as things go on at most
	_       [40]byte       // keeps two locks off one cache line
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	start := time.Now()
	epoch := time.Duration(start.UnixNano())
	return newMemory(func() time.Duration { return epoch + time.Since(start) })
}

func newMemory(now func() time.Duration) *Memory {
	m := &Memory{now: now, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, bound: shardKeys}
	for i := range m.shards {
		m.shards[i].buckets = map[hashed]bucket{}
		m.shards[i].places = map[hashed]int{}
	}
	return m
}

func (m *Memory) hash(key []byte) hashed {
	return hashed{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
}

func (m *Memory) shard(k hashed) *shard { return &m.shards[k[0]%shards] }

// lock locks the shards of keys, each once and in order, so that two calls cannot wait for each other.
func (m *Memory) lock(keys []hashed) (locked uint64) {
	for _, k := range keys {
		locked |= 1 << (k[0] % shards)
	}
	for left := locked; left != 0; left &= left - 1 {
		m.shards[bits.TrailingZeros64(left)].mu.Lock()
	}
	return locked
}

func (m *Memory) unlock(locked uint64) {
	for ; locked != 0; locked &= locked - 1 {
		m.shards[bits.TrailingZeros64(locked)].mu.Unlock()
	}
}

// Take never returns an error.
func (m *Memory) Take(_ context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	var room [8]hashed
	var nextRoom [8]bucket
	keys, next := room[:0], nextRoom[:0]
	for i := range takes {
		keys = append(keys, m.hash(takes[i].Key))
	}
	locked := m.lock(keys)
	defer m.unlock(locked)
	now := m.now()
	first, all := len(dst), true
	for i := range takes {
		t := &takes[i]
		d, b := m.shard(keys[i]).decide(t, keys[i], t.Cost, now)
		all = all && (d.Allowed || t.DryRun)
		dst, next = append(dst, d), append(next, b)
	}
	for i := range takes {
		t, d := &takes[i], &dst[first+i]
		switch {
		case !d.Allowed:
		case all:
			m.shard(keys[i]).charge(t, keys[i], next[i], now, m.bound)
		default: // another limit refused: this one is not charged after all
			*d, _ = m.shard(keys[i]).decide(t, keys[i], 0, now)
		}
	}
	return dst, nil
}

// Return gives back what an allowed call has charged.
func (m *Memory) Return(takes []Take) {
	for i := range takes {
		t := &takes[i]
		k := m.hash(t.Key)
		s := m.shard(k)
		s.mu.Lock()
		if t.Limit.Kind == Concurrency {
			if s.places[k]--; s.places[k] <= 0 {
				delete(s.places, k)
			}
		} else if b, ok := s.buckets[k]; ok {
			s.buckets[k] = t.Limit.giveBack(t.Cost, b)
		}
		s.mu.Unlock()
	}
}

func (s *shard) decide(t *Take, k hashed, cost int, now time.Duration) (Decision, bucket) {
	if t.Limit.Kind != Concurrency {
		return t.Limit.decide(cost, s.buckets[k], now)
	}
	d := Decision{Limit: t.Limit.Burst}
	taken := s.places[k]
	if cost > 0 {
		taken++
	}
	if d.Allowed = taken <= t.Limit.Burst; !d.Allowed {
		d.RetryAfter = askAgain
	}
	d.Remaining = max(0, t.Limit.Burst-taken)
	return d, bucket{}
}

func (s *shard) charge(t *Take, k hashed, b bucket, now time.Duration, bound int) {
	if t.Limit.Kind == Concurrency {
		s.places[k]++
		return
	}
	if _, known := s.buckets[k]; !known {
		s.makeRoom(now, bound)
	}
	s.buckets[k] = b
}

// makeRoom looks at a few buckets, arbitrary ones, and drops those that are full again: a bucket that is not there is
// full. At the bound it drops one in any case: of those that it has seen the one whose owner gains the least.
func (s *shard) makeRoom(now time.Duration, bound int) {
	n := sweep
	full := len(s.buckets) >= bound
	if full {
		n = sample
	}
	var least hashed
	var owed time.Duration = -1
	for k, b := range s.buckets {
		if n == 0 {
			break
		}
		n--
		o := b.owed(now)
		if o <= 0 {
			delete(s.buckets, k)
			full = false
		} else if owed < 0 || o < owed {
			least, owed = k, o
		}
	}
	if full {
		delete(s.buckets, least)
	}
}
