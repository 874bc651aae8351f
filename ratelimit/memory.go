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
	// shardKeys bounds a shard's memory: about a million keys in all, of some 40 bytes.
	shardKeys = 16 << 10
	// sample is how many keys a shard at its bound looks at for the one that has the least to lose. Who wants to be
	// forgotten by a flood of new keys must have most of a million of them owe more than its own does.
	sample = 8
)

// Memory keeps buckets on this node. Create it with NewMemory.
type Memory struct {
	now    func() time.Duration // since 1970
	seed   maphash.Seed
	bound  int // of a shard's keys
	shards [shards]shard
}

// hashed is a key's hash under a seed that nobody knows: what callers choose is not kept, and takes up the same room
// however long it is. Two of a million keys share a bucket with a chance of one in ten million, and nobody can choose which.
type hashed uint64

type shard struct {
	mu sync.Mutex
	// at is where in buckets a key's bucket is, and free what is not in use there: so a bucket is changed in its place, and
	// the garbage collector has no pointers to follow.
	at      map[hashed]uint32
	buckets []bucket
	free    []uint32
	places  map[hashed]int // taken of concurrency limits; as many keys as things go on at most
	_       [56]byte       // keeps two locks off one cache line
}

// unknown is where the bucket is of a key that the shard does not have.
const unknown = ^uint32(0)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	start := time.Now()
	epoch := time.Duration(start.UnixNano())
	return newMemory(func() time.Duration { return epoch + time.Since(start) })
}

func newMemory(now func() time.Duration) *Memory {
	m := &Memory{now: now, seed: maphash.MakeSeed(), bound: shardKeys}
	for i := range m.shards {
		m.shards[i].at = map[hashed]uint32{}
		m.shards[i].places = map[hashed]int{}
	}
	return m
}

func (m *Memory) hash(key []byte) hashed { return hashed(maphash.Bytes(m.seed, key)) }

func (m *Memory) shard(k hashed) *shard { return &m.shards[k%shards] }

// lock locks the shards of keys, each once and in order, so that two calls cannot wait for each other.
func (m *Memory) lock(keys []hashed) (locked uint64) {
	for _, k := range keys {
		locked |= 1 << (k % shards)
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
	var nextRoom [8]change
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
		d, c := m.shard(keys[i]).decide(t, keys[i], t.Cost, now)
		all = all && (d.Allowed || t.DryRun)
		dst, next = append(dst, d), append(next, c)
	}
	added := false
	for i := range takes {
		t, d := &takes[i], &dst[first+i]
		switch {
		case !d.Allowed:
		case !all: // another limit refused: this one is not charged after all
			*d, _ = m.shard(keys[i]).decide(t, keys[i], 0, now)
		case next[i].at == unknown:
			added = true
		default:
			m.shard(keys[i]).buckets[next[i].at] = next[i].bucket
		}
	}
	if added { // at last, as room for a key is made with the bucket of another
		for i := range takes {
			if dst[first+i].Allowed && all && next[i].at == unknown {
				m.shard(keys[i]).charge(&takes[i], keys[i], next[i].bucket, now, m.bound)
			}
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
		} else if at, ok := s.at[k]; ok {
			s.buckets[at] = t.Limit.giveBack(t.Cost, s.buckets[at])
		}
		s.mu.Unlock()
	}
}

// change is what a bucket becomes, and where it is.
type change struct {
	bucket
	at uint32
}

func (s *shard) decide(t *Take, k hashed, cost int, now time.Duration) (Decision, change) {
	if t.Limit.Kind != Concurrency {
		c := change{at: unknown}
		if at, ok := s.at[k]; ok {
			c = change{s.buckets[at], at}
		}
		d, b := t.Limit.decide(cost, c.bucket, now)
		c.bucket = b
		return d, c
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
	return d, change{at: unknown}
}

// charge begins a bucket, or takes a place.
func (s *shard) charge(t *Take, k hashed, b bucket, now time.Duration, bound int) {
	if t.Limit.Kind == Concurrency {
		s.places[k]++
		return
	}
	s.buckets[s.add(k, now, bound)] = b
}

// add gives a key a bucket.
func (s *shard) add(k hashed, now time.Duration, bound int) uint32 {
	s.makeRoom(now, bound)
	at := uint32(len(s.buckets))
	if n := len(s.free); n > 0 {
		at, s.free = s.free[n-1], s.free[:n-1]
	} else {
		s.buckets = append(s.buckets, bucket{})
	}
	s.at[k] = at
	return at
}

func (s *shard) drop(k hashed, at uint32) {
	delete(s.at, k)
	s.free = append(s.free, at)
}

// makeRoom looks at a few buckets, arbitrary ones, and drops those that are full again: a bucket that is not there is
// full. At the bound it drops one in any case: of those that it has seen the one whose owner gains the least.
func (s *shard) makeRoom(now time.Duration, bound int) {
	n := sweep
	full := len(s.at) >= bound
	if full {
		n = sample
	}
	var least hashed
	var owed time.Duration = -1
	for k, at := range s.at {
		if n == 0 {
			break
		}
		n--
		o := s.buckets[at].owed(now)
		if o <= 0 {
			s.drop(k, at)
			full = false
		} else if owed < 0 || o < owed {
			least, owed = k, o
		}
	}
	if full {
		s.drop(least, s.at[least])
	}
}
