package cache

import (
	"context"
	"hash/maphash"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// Store is the memory that the answers of all routes share. Its methods are safe for concurrent use.
type Store struct {
	metrics *telemetry.Telemetry
	now     func() time.Time
	seed    maphash.Seed
	memory  *otter.Cache[uint64, *resource]
	index   index
	purges  purgeLog
	flights flights
	shared  *shared // nil where nothing is shared
	tier    *tier   // and so is this

	filling    atomic.Int64 // bytes of bodies that are on their way
	following  sync.Once
	life       context.Context // ends with Close
	end        context.CancelFunc
	mu         sync.Mutex
	closed     bool
	refreshing int
	background sync.WaitGroup
}

// resource is what there is under one key: an answer, or one for each of several kinds of request that Vary tells apart. It is
// immutable.
type resource struct {
	key      string
	uri      string
	variants []*entry
	// pass, where it is set, is until when requests do not wait for one another: what they got last could not be kept.
	pass time.Time
}

// maxVariants is how many answers there are under one key, at most; the oldest goes first.
const maxVariants = 32

// NewStore returns a store of at most maxMemory bytes.
func NewStore(maxMemory int64, t *telemetry.Telemetry) *Store {
	s := &Store{metrics: t, now: time.Now, seed: maphash.MakeSeed()}
	s.life, s.end = context.WithCancel(context.Background())
	s.index.keys = map[string]*hashes{}
	s.flights.under = map[string]*flight{}
	s.memory = otter.Must(&otter.Options[uint64, *resource]{
		MaximumWeight:    uint64(maxMemory),
		Weigher:          func(_ uint64, r *resource) uint32 { return uint32(min(r.size(), 1<<31)) },
		OnAtomicDeletion: s.deleted,
	})
	t.DescribeCache(func() (int, uint64) { return s.memory.EstimatedSize(), s.memory.WeightedSize() })
	return s
}

// Configure applies what a reload may change.
func (s *Store) Configure(cfg *config.CacheStore) {
	s.memory.SetMaximum(uint64(cfg.MaxMemory))
	if s.tier != nil {
		limits := cfg.Redis
		s.tier.limits.Store(&limits)
	}
}

// Close waits until nothing is fetched in the background any more.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.background.Wait()
	s.memory.StopAllGoroutines()
}

// enter reports whether one more answer may be fetched in the background; leave says that one was.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.refreshing == refreshing {
		return false
	}
	s.refreshing++
	s.background.Add(1)
	return true
}

func (s *Store) leave() {
	s.mu.Lock()
	s.refreshing--
	s.mu.Unlock()
	s.background.Done()
}

// survive is deferred where no server recovers.
func (s *Store) survive() {
	if broken := recover(); broken != nil && broken != http.ErrAbortHandler {
		s.metrics.Logger.Error("cache: a fetch in the background broke off", "panic", broken, "stack", string(debug.Stack()))
	}
}

// deleted runs while the entry's bucket is locked. A resource that takes the place of another has the same key, and so the
// same URI.
func (s *Store) deleted(e otter.DeletionEvent[uint64, *resource]) {
	if e.Cause != otter.CauseReplacement {
		s.index.remove(e.Value.uri, e.Key)
	}
	if e.WasEvicted() {
		s.metrics.CacheEvictions.Inc()
	}
}

func (r *resource) size() int {
	n := entryOverhead/2 + len(r.key) + 2*len(r.uri)
	for _, e := range r.variants {
		n += e.size()
	}
	return n
}

// find returns what there is under a key, nil for nothing.
func (s *Store) find(key []byte) *resource {
	r, ok := s.memory.GetIfPresent(maphash.Bytes(s.seed, key))
	if !ok || r.key != string(key) {
		return nil
	}
	return r
}

// put keeps an entry, unless it was purged since it was asked for.
func (s *Store) put(key []byte, uri string, e *entry) {
	s.change(key, uri, func(r *resource) {
		variants := make([]*entry, 0, len(r.variants)+1)
		variants = append(variants, e)
		for _, old := range r.variants {
			if !sameVariant(old, e) && len(variants) < maxVariants {
				variants = append(variants, old)
			}
		}
		r.variants, r.pass = variants, time.Time{}
	})
	if s.purges.hit(e.began, uri, e.tags) {
		s.drop(key)
	}
}

// passFor is how long requests for what could not be kept do not wait for one another.
const passFor = 30 * time.Second

// giveUp notes that what is under a key cannot be kept.
func (s *Store) giveUp(key []byte, uri string) {
	until := s.now().Add(passFor)
	s.change(key, uri, func(r *resource) { r.pass = until })
}

func (s *Store) change(key []byte, uri string, change func(*resource)) {
	hash := maphash.Bytes(s.seed, key)
	s.memory.Compute(hash, func(old *resource, found bool) (*resource, otter.ComputeOp) {
		next := &resource{key: string(key), uri: uri}
		if found && old.key == next.key {
			next.variants, next.pass = old.variants, old.pass
		} else {
			if found { // two keys with one hash
				s.index.remove(old.uri, hash)
			}
			s.index.add(uri, hash)
		}
		change(next)
		return next, otter.WriteOp
	})
}

func (s *Store) drop(key []byte) { s.memory.Invalidate(maphash.Bytes(s.seed, key)) }
