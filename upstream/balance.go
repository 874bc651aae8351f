package upstream

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// policy is how an endpoint is chosen among several.
type policy uint8

const (
	leastRequest policy = iota
	roundRobin
	hashed
)

var policies = map[string]policy{"": leastRequest, "least_request": leastRequest, "round_robin": roundRobin, "hash": hashed}

// choose returns the index of an eligible endpoint, of which there is one at least.
func (p *Pool) choose(v *view, k Key) int {
	if v.eligible == 1 {
		return 0
	}
	if i, ok := v.ids[k.id]; ok {
		return i
	}
	switch {
	case p.policy == roundRobin:
		if v.slots != nil {
			return int(v.slots[p.count.Add(1)%uint32(len(v.slots))])
		}
		return int(p.count.Add(1) % uint32(v.eligible))
	case k.hashed && v.table != nil:
		return int(v.table[k.hash%maglevSize])
	}
	return v.leastOfTwo()
}

// leastOfTwo returns of two endpoints picked at random the one with fewer requests under way for its weight
// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
func (v *view) leastOfTwo() int {
	r := rand.Uint64()
	if v.slots == nil {
		a := below(uint32(r), v.eligible)
		b := below(uint32(r>>32), v.eligible-1)
		if b >= a {
			b++
		}
		if v.endpoints[b].active.Load() < v.endpoints[a].active.Load() {
			return b
		}
		return a
	}
	a, b := int(v.slots[below(uint32(r), len(v.slots))]), int(v.slots[below(uint32(r>>32), len(v.slots))])
	// The weights have had their say in who is picked: of two that have nothing to do it is the first, not the heavier one.
	if float64(v.endpoints[b].active.Load())*v.weights[a] < float64(v.endpoints[a].active.Load())*v.weights[b] {
		return b
	}
	return a
}

// below turns 32 random bits into a number below n.
func below(r uint32, n int) int {
	high, _ := bits.Mul32(r, uint32(n))
	return int(high)
}

// turn is the way of one request through the endpoints of a pool, from the one that was chosen for it to all others,
// twice. The first round is for those that are connected, so that no request waits for a backend that may not answer while
// another is there; the second for all.
type turn struct {
	pool  *Pool
	view  *view
	first int
	n     int
	key   Key
	after int  // how far behind the first the second is, 0 as long as it is not known
	fresh bool // the view is not the first one any more

	limited bool // what the try may take is less than what the caller would wait

	at    *atomic.Pointer[endpoint] // says where the request is, where another try of it is to be elsewhere
	avoid *endpoint                 // where another try of it is
}

// spent reports whether the request has been to all endpoints.
func (t *turn) spent() bool { return t.n >= len(t.view.endpoints) }

// apart begins two tries of a request: the one under way, and what makes another one elsewhere.
func (t *turn) apart() (one turn, other func() turn) {
	if t.view.eligible > 1 {
		t.eligible(1) // both go the same way
	}
	one = *t
	one.at = new(atomic.Pointer[endpoint])
	t.skip()
	return one, func() turn {
		another := *t
		another.avoid = one.at.Load()
		t.skip()
		return another
	}
}

// skip leaves the next endpoint to another try of the same request.
func (t *turn) skip() {
	if t.n+1 < len(t.view.endpoints) {
		t.n++
	}
}

// turn chooses an endpoint for a request. Of a pool that does not know its endpoints yet it waits for them, for as long as
// a connection may take. A request in the pool goes: turn, then next until it is answered, and for each try a ride: take before it, done after.
func (p *Pool) turn(ctx context.Context) turn {
	v := p.view.Load()
	if len(v.endpoints) == 0 {
		v = p.await(ctx)
	}
	t := turn{pool: p, view: v}
	t.choose(ctx)
	return t
}

func (t *turn) choose(ctx context.Context) {
	t.n, t.after = 0, 0
	if t.view.eligible == 0 {
		return
	}
	if t.pool.keyed {
		t.key, _ = ctx.Value(keyOfContext{}).(Key)
	}
	t.first = t.pool.choose(t.view, t.key)
}

// eligible returns which of the eligible endpoints is the nth to be tried. The second is any of the others, always the same for a
// key, so that they share what one leaves that cannot be connected to.
func (t *turn) eligible(n int) int {
	others := t.view.eligible - 1
	if n == 0 || others == 0 {
		return t.first
	}
	if t.after == 0 {
		r := rand.Uint32()
		switch {
		case t.key.id != "":
			r = uint32(hashOf(t.key.id))
		case t.key.hashed:
			r = uint32(t.key.hash >> 32)
		}
		t.after = 1 + below(r, others)
	}
	i := t.first + 1 + (t.after-1+n-1)%others
	if i > others {
		i -= t.view.eligible
	}
	return i
}

// next returns the endpoint to try next, nil when there is none left, and whether it is to be tried even if it is not
// connected.
func (t *turn) next(ctx context.Context) (e *endpoint, anyway bool) {
	for {
		e, anyway = t.following(ctx)
		if e != nil && e == t.avoid && len(t.view.endpoints) > 1 {
			continue
		}
		if t.at != nil {
			t.at.Store(e)
		}
		return e, anyway
	}
}

// following is next, whatever is to be avoided.
func (t *turn) following(ctx context.Context) (e *endpoint, anyway bool) {
	size := len(t.view.endpoints)
	if t.n == 2*size {
		// Those that it knows may all have gone meanwhile.
		v := t.pool.view.Load()
		if v == t.view || t.fresh || len(v.endpoints) == 0 {
			return nil, false
		}
		t.view, t.fresh = v, true
		t.choose(ctx)
		size = len(v.endpoints)
	}
	i, anyway := t.n, t.n >= size
	if anyway {
		i -= size
	}
	t.n++
	if i < t.view.eligible {
		i = t.eligible(i)
	}
	return t.view.endpoints[i], anyway
}

// await waits until the pool has learnt of its first endpoints.
func (p *Pool) await(ctx context.Context) *view {
	if p.learnt != nil {
		limit := time.NewTimer(p.config.ConnectTimeout.Std())
		defer limit.Stop()
		select {
		case <-p.learnt:
		case <-ctx.Done():
		case <-limit.C:
		}
	}
	return p.view.Load()
}
