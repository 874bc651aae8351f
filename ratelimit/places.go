package ratelimit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// placeLease is how long a place of a concurrency limit stays taken that nobody renews: the node that had it is dead.
	placeLease = 30 * time.Second
	// renewals is how often a node renews a place in that time, so that two may fail.
	renewals = 3
	// backlog is how much may wait to be given back. What does not fit lapses with its lease, or as the bucket fills.
	backlog = 8192
	// batch is how much is sent to Redis at once.
	batch = 256
)

// places are what this node has taken of concurrency limits in Redis. One goroutine renews them, and gives back what is
// no longer used: a request does not wait for that. It starts with the first thing to do.
type places struct {
	store *Redis
	node  string
	lease time.Duration
	last  atomic.Uint64
	back  chan giveBack

	mu      sync.Mutex
	held    map[uint64]string // place to key
	running bool
	closed  chan struct{}
	work    sync.WaitGroup
}

// giveBack is a place, or events of a rate or a quota, that go back to a key.
type giveBack struct {
	key   string
	place uint64 // 0 for events
	kind  string
	cost  int
	unit  string
}

func newPlaces(store *Redis) *places {
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails
	return &places{store: store, lease: placeLease, node: hex.EncodeToString(id[:]) + "/", back: make(chan giveBack, backlog),
		held: map[uint64]string{}, closed: make(chan struct{})}
}

func (p *places) next() uint64 { return p.last.Add(1) }

func (p *places) member(place uint64) string { return p.node + strconv.FormatUint(place, 36) }

// hold notes the places that an allowed call has got.
func (p *places) hold(takes []Take, decisions []Decision) {
	for i := range takes {
		if takes[i].Limit.Kind == Concurrency && decisions[i].Allowed {
			key := p.store.key(&takes[i])
			p.mu.Lock()
			p.held[takes[i].Place] = key
			p.start()
			p.mu.Unlock()
		}
	}
}

// start has the goroutine run. The caller holds mu.
func (p *places) start() {
	select {
	case <-p.closed:
	default:
		if !p.running {
			p.running = true
			p.work.Go(p.run)
		}
	}
}

func (p *places) giveBack(b giveBack) {
	p.mu.Lock()
	delete(p.held, b.place)
	p.start()
	p.mu.Unlock()
	select {
	case p.back <- b:
	default:
	}
}

// close gives back what waits for it.
func (p *places) close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	p.work.Wait()
}

func (p *places) run() {
	renew := time.NewTicker(p.lease / renewals)
	defer renew.Stop()
	for {
		select {
		case b := <-p.back:
			p.send(b)
		case <-renew.C:
			p.renew()
		case <-p.closed:
			for len(p.back) > 0 {
				if !p.send(<-p.back) {
					return // the rest lapses
				}
			}
			return
		}
	}
}

// send gives back one thing, and with it what else waits.
func (p *places) send(first giveBack) bool {
	return p.pipelined(func(ctx context.Context, pipe redis.Pipeliner) {
		for n, b := 1, first; ; n++ {
			if b.place != 0 {
				pipe.ZRem(ctx, b.key, p.member(b.place))
			} else {
				returnScript.Eval(ctx, pipe, []string{b.key}, b.kind, b.cost, b.unit)
			}
			if n == batch {
				return
			}
			select {
			case b = <-p.back:
			default:
				return
			}
		}
	})
}

// renewScript leases a place from now on, by the clock that takes it back.
var renewScript = redis.NewScript(`
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1] * 1000000 + t[2] + ARGV[2] * 1000, ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// renew leases what is held for longer. A place that lapsed all the same, while Redis was away, is taken again: what
// goes on is not ended for it.
func (p *places) renew() {
	p.mu.Lock()
	held := make(map[uint64]string, len(p.held))
	for place, key := range p.held {
		held[place] = key
	}
	p.mu.Unlock()
	if len(held) == 0 {
		return
	}
	p.pipelined(func(ctx context.Context, pipe redis.Pipeliner) {
		for place, key := range held {
			renewScript.Eval(ctx, pipe, []string{key}, p.member(place), p.lease.Milliseconds())
		}
	})
	// What was given back meanwhile must not stay.
	p.mu.Lock()
	defer p.mu.Unlock()
	for place, key := range held {
		if _, still := p.held[place]; !still {
			select {
			case p.back <- giveBack{key: key, place: place}:
			default:
			}
		}
	}
}

// pipelined sends commands, and waits for their answers no longer than a second. It reports whether Redis answered.
func (p *places) pipelined(fill func(context.Context, redis.Pipeliner)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	pipe := p.store.client.Pipeline()
	fill(ctx, pipe)
	_, err := pipe.Exec(ctx)
	return err == nil || ctx.Err() == nil && isAnswer(err)
}

// isAnswer tells what Redis says from what the network does.
func isAnswer(err error) bool {
	_, ok := err.(redis.Error)
	return ok
}
