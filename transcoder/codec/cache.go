package codec

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache is a small map that is read without a lock and copied to be written. It stops growing at maxCached: the keys
// come from input, and what is not in it is only slower.
type cache[K comparable, V any] struct {
	mu sync.Mutex
	m  atomic.Pointer[map[K]V]
}

const maxCached = 1024

// load returns the map to read from; nil is an empty one.
func (c *cache[K, V]) load() map[K]V {
	if m := c.m.Load(); m != nil {
		return *m
	}
	return nil
}

func (c *cache[K, V]) store(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.load()
	if len(old) >= maxCached {
		return
	}
	m := make(map[K]V, len(old)+1)
	maps.Copy(m, old)
	m[k] = v
	c.m.Store(&m)
}
