package ratelimit

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	// shards is how many locks share the buckets, so that requests seldom meet at one.
	shards = 64
	// sweep is how many old keys are looked at for each new one. Above 1, keys whose bucket is full again go faster than
	// new ones come, so that the store shrinks to what is in use.
	sweep = 2
	// shardKeys bounds a shard's memory: about a million keys in all. At the bound, buckets that are full again are
	// dropped, and others, arbitrary ones, until a quarter of the room is free: their owners start afresh, nobody is
	// refused for it, and a flood of new keys does not sweep the shard for each of them.
	shardKeys = 16 << 10
)

// Memory keeps buckets on this node. Create it with NewMemory.
type Memory struct {
	now    func() time.Duration // since some fixed moment
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	buckets map[string]*time.Duration // key to theoretical arrival time
	_       [40]byte                  // keeps two locks off one cache line
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	start := time.Now()
	return newMemory(func() time.Duration { return time.Since(start) })
}

func newMemory(now func() time.Duration) *Memory {
	m := &Memory{now: now, seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].buckets = map[string]*time.Duration{}
	}
	return m
}

// Take never returns an error.
func (m *Memory) Take(_ context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	var room [8]int
	locked := room[:0]
	for i := range takes {
		locked = append(locked, m.shardOf(takes[i].Key))
	}
	// Shards are locked in order, each once, so that two calls cannot wait for each other.
	slices.Sort(locked)
	locked = slices.Compact(locked)
	for _, i := range locked {
		m.shards[i].mu.Lock()
	}
	now := m.now()
	first, all := len(dst), true
	for i := range takes {
		t := &takes[i]
		var lead time.Duration
		if at := m.shards[m.shardOf(t.Key)].buckets[string(t.Key)]; at != nil {
			lead = *at - now
		}
		d, _ := decide(t.Limit, t.Cost, lead)
		all = all && d.Allowed
		dst = append(dst, d)
	}
	for i := range takes {
		t := &takes[i]
		if all {
			m.shards[m.shardOf(t.Key)].charge(t, now)
		} else if d := &dst[first+i]; d.Allowed {
			// Another limit refused: this one was not charged after all.
			d.Remaining = min(d.Limit, d.Remaining+t.Cost)
			d.Reset = max(0, d.Reset-t.Limit.interval()*time.Duration(t.Cost))
		}
	}
	for _, i := range locked {
		m.shards[i].mu.Unlock()
	}
	return dst, nil
}

func (m *Memory) shardOf(key []byte) int { return int(maphash.Bytes(m.seed, key) % shards) }

func (s *shard) charge(t *Take, now time.Duration) {
	at := s.buckets[string(t.Key)]
	if at == nil {
		s.makeRoom(now)
		at = new(time.Duration)
		s.buckets[string(t.Key)] = at
	}
	_, lead := decide(t.Limit, t.Cost, *at-now)
	*at = now + lead
}

func (s *shard) makeRoom(now time.Duration) {
	if len(s.buckets) < shardKeys {
		s.dropFull(now, sweep)
		return
	}
	s.dropFull(now, len(s.buckets))
	for key := range s.buckets {
		if len(s.buckets) <= shardKeys*3/4 {
			return
		}
		delete(s.buckets, key)
	}
}

// dropFull looks at n buckets, arbitrary ones, and drops those that are full again: a bucket that is not there is full.
func (s *shard) dropFull(now time.Duration, n int) {
	for key, at := range s.buckets {
		if n == 0 {
			return
		}
		n--
		if *at <= now {
			delete(s.buckets, key)
		}
	}
}
