package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// cacheTime is the longest that a verified token is believed without verifying it again.
	cacheTime = 5 * time.Minute
	// cacheShards is how many locks share the cache.
	cacheShards = 16
	// shardTokens bounds a shard: 64k tokens in all.
	shardTokens = 4096
)

// tokenCache remembers verified tokens by their SHA-256: about the cost of hashing a token in place of checking its
// signature. An entry ends with its token, after the cache's life, or when the keys change.
type tokenCache struct {
	life   time.Duration
	shards [cacheShards]tokenShard
}

type tokenShard struct {
	mu     sync.Mutex
	tokens map[digest]cachedToken
	_      [48]byte // keeps two locks off one cache line
}

type cachedToken struct {
	identity   *Identity
	generation uint64
	until      time.Time
}

func newTokenCache(life time.Duration) *tokenCache {
	c := &tokenCache{life: life}
	for i := range c.shards {
		c.shards[i].tokens = map[digest]cachedToken{}
	}
	return c
}

// digest is the SHA-256 of a credential, by which it is known here.
type digest [sha256.Size]byte

// digestOf hashes a credential; one of an ordinary length is copied to the stack for it, and not to the heap.
func digestOf(credential string) digest {
	var room [2048]byte
	return sha256.Sum256(append(room[:0], credential...))
}

func (c *tokenCache) shard(d *digest) *tokenShard {
	return &c.shards[binary.LittleEndian.Uint64(d[:])%cacheShards]
}

func (c *tokenCache) get(d digest, generation uint64, now time.Time) *Identity {
	s := c.shard(&d)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[d]
	if !ok || t.generation != generation || !now.Before(t.until) {
		return nil
	}
	return t.identity
}

func (c *tokenCache) put(d digest, generation uint64, id *Identity, now time.Time) {
	until := now.Add(c.life)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	s := c.shard(&d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) >= shardTokens {
		// Verified tokens are few for each user: a full shard is rare enough to start over.
		clear(s.tokens)
	}
	s.tokens[d] = cachedToken{id, generation, until}
}
