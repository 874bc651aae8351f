package cache

import "sync"

// index knows the keys of a URI.
type index struct {
	mu   sync.Mutex
	keys map[string]*hashes
}

// hashes are those of a URI's keys: mostly one, and as many as there are messages where they tell answers apart.
type hashes struct {
	one  uint64
	more map[uint64]struct{} // nil where there is just one, else all of them
}

func (x *index) add(uri string, hash uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.keys[uri]
	switch {
	case h == nil:
		x.keys[uri] = &hashes{one: hash}
		return
	case h.more == nil:
		h.more = map[uint64]struct{}{h.one: {}}
	}
	h.more[hash] = struct{}{}
}

func (x *index) remove(uri string, hash uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.keys[uri]
	switch {
	case h == nil:
	case h.more == nil && h.one == hash:
		delete(x.keys, uri)
	case h.more != nil:
		if delete(h.more, hash); len(h.more) == 0 {
			delete(x.keys, uri)
		}
	}
}

func (x *index) of(uri string) []uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.keys[uri]
	switch {
	case h == nil:
		return nil
	case h.more == nil:
		return []uint64{h.one}
	}
	list := make([]uint64, 0, len(h.more))
	for hash := range h.more {
		list = append(list, hash)
	}
	return list
}
