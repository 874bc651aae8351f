package upstream

import (
	"context"
	"fmt"

	"github.com/crossgate/crossgate/config"
)

// Key is what of a request decides which endpoint it goes to, for pools that hash or whose clients stay with an
// endpoint. Its zero value leaves the choice free.
type Key struct {
	hash   uint64
	hashed bool
	id     string // of an endpoint
}

// KeyOf returns the key of requests with a value, such as that of a header. Empty is none.
func KeyOf(value string) Key { return Key{hash: hashOf(value), hashed: value != ""} }

type keyOfContext struct{}

// WithKey returns a context in which requests have a key.
func WithKey(ctx context.Context, k Key) context.Context {
	return context.WithValue(ctx, keyOfContext{}, k)
}

// HashOn returns what the pool hashes, as balancing.hash_on has it; empty for nothing.
func (p *Pool) HashOn() string { return p.config.Balancing.HashOn }

// Sticky returns the cookie by which clients stay with their endpoint, nil where they do not.
func (p *Pool) Sticky() *config.Sticky { return p.config.Balancing.Sticky }

// Stick returns the key of requests that stay with an endpoint: that which cookie, the value of a client's cookie, names,
// where it is one that requests go to, and otherwise one that is chosen for k. The cookie is to be that key's [Key.Cookie].
func (p *Pool) Stick(cookie string, k Key) Key {
	v := p.view.Load()
	if _, ok := v.ids[cookie]; ok {
		return Key{id: cookie}
	}
	if v.eligible == 0 {
		return k
	}
	return Key{id: v.endpoints[p.choose(v, k)].id}
}

// Cookie returns the value by which a client comes back to its endpoint, empty where there is none.
func (k Key) Cookie() string { return k.id }

// idOf names an endpoint in cookies. It is the same on every node.
func idOf(upstream, address string) string {
	return fmt.Sprintf("%016x", hashOf(upstream+"\x00"+address))
}
