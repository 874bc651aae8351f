package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// commandTimeout bounds a publish, and how long a subscription may take to be confirmed.
	commandTimeout = 3 * time.Second
	// quiet is how long nothing may be heard from Redis before it is pinged; as long again, and it is taken for dead.
	quiet = 3 * time.Second
	// retry is the pause between attempts to reach Redis.
	retry = 200 * time.Millisecond
	// batch is the most names in one SUBSCRIBE.
	batch = 512
	// queueLength is the length that a service's stream is kept to, about.
	queueLength = 1_000_000
)

// ErrDown is what calls return while Redis cannot be reached.
var ErrDown = errors.New("bus: redis cannot be reached")

// Handler gets what is published. It is called from the one goroutine that reads from Redis, and must not wait.
type Handler interface {
	// Receive gets a payload published on a channel. The payload is the callee's only during the call.
	Receive(channel string, payload []byte)
	// Subscribed says that a subscription stands from here on: for the first time, or again after the bus was down.
	Subscribed(channel string)
	// State says whether the subscriptions stand. While they do not, what is published is lost.
	State(up bool)
}

// Redis is a client of the bus. Its methods are safe for concurrent use. Create it with NewRedis.
type Redis struct {
	*Servers
	handler Handler

	mu       sync.Mutex
	names    map[string]*name
	dirty    []string // names whose subscription is to be changed
	wake     chan struct{}
	up       bool
	pubsub   *redis.PubSub // nil while down
	unheard  int           // SUBSCRIBE commands not confirmed yet, of all names
	stopping bool

	stop context.CancelFunc
	done sync.WaitGroup
}

// name is one channel that somebody wants, or whose commands are under way.
type name struct {
	wanted   int
	sent     bool // as far as Redis was told, this node is subscribed
	inFlight int  // SUBSCRIBE commands not confirmed yet
	waiters  []chan error
}

// NewRedis starts a client. Receive may be called as soon as something is subscribed to.
func NewRedis(servers *Servers, handler Handler) *Redis {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Redis{Servers: servers, handler: handler, names: map[string]*name{}, wake: make(chan struct{}, 1), stop: cancel}
	b.done.Go(func() { b.receiveLoop(ctx) })
	b.done.Go(func() { b.subscribeLoop(ctx) })
	return b
}

// Subscribe subscribes to a channel and returns when Redis has confirmed it. Each call is matched by one of
// Unsubscribe, also after an error. The subscription outlives a Redis that goes away.
func (b *Redis) Subscribe(ctx context.Context, channel string) error {
	b.mu.Lock()
	n := b.names[channel]
	if n == nil {
		n = new(name)
		b.names[channel] = n
	}
	n.wanted++
	if n.wanted == 1 && !n.sent {
		b.change(channel)
	}
	if n.sent && n.inFlight == 0 && b.up {
		b.mu.Unlock()
		return nil
	}
	if b.stopping || b.pubsub == nil {
		b.mu.Unlock()
		return ErrDown
	}
	confirmed := make(chan error, 1)
	n.waiters = append(n.waiters, confirmed)
	b.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	select {
	case err := <-confirmed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: the subscription was not confirmed in time", ErrDown)
	}
}

// Unsubscribe undoes one Subscribe.
func (b *Redis) Unsubscribe(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[channel]
	if n == nil || n.wanted == 0 {
		return
	}
	if n.wanted--; n.wanted == 0 {
		b.change(channel)
	}
}

// change has the subscribing goroutine look at a name. The caller holds the lock.
func (b *Redis) change(channel string) {
	b.dirty = append(b.dirty, channel)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// subscribeLoop tells Redis what is wanted, as many names at a time as have come up. It alone sends commands on the
// subscription, so that their order is that of the changes. It ends with Close.
func (b *Redis) subscribeLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		pubsub, add, drop := b.changes()
		if pubsub == nil {
			continue
		}
		// An error breaks the connection, which the receiving goroutine notices and mends.
		for len(add) > 0 {
			n := min(batch, len(add))
			_ = pubsub.Subscribe(ctx, add[:n]...)
			add = add[n:]
		}
		for len(drop) > 0 {
			n := min(batch, len(drop))
			_ = pubsub.Unsubscribe(ctx, drop[:n]...)
			drop = drop[n:]
		}
	}
}

func (b *Redis) changes() (pubsub *redis.PubSub, add, drop []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pubsub == nil {
		return nil, nil, nil // connect subscribes to all that is wanted
	}
	for _, channel := range b.dirty {
		n := b.names[channel]
		switch {
		case n == nil:
		case n.wanted > 0 && !n.sent:
			n.sent = true
			n.inFlight++
			b.unheard++
			add = append(add, channel)
		case n.wanted == 0 && n.sent:
			n.sent = false
			drop = append(drop, channel)
		}
		if n != nil && n.wanted == 0 && !n.sent && n.inFlight == 0 {
			delete(b.names, channel)
		}
	}
	b.dirty = b.dirty[:0]
	return b.pubsub, add, drop
}

// receiveLoop reads what is published, and connects again whenever the connection breaks. It waits for nothing but
// Redis: go-redis's own channel of messages would drop some when its reader is slow (its issues 887 and 2267).
func (b *Redis) receiveLoop(ctx context.Context) {
	for ctx.Err() == nil {
		pubsub, err := b.connect(ctx)
		if err == nil {
			b.receive(ctx, pubsub)
			b.disconnect(pubsub)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// connect opens a subscription to all that is wanted.
func (b *Redis) connect(ctx context.Context) (*redis.PubSub, error) {
	asking, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := b.one.client.Ping(asking).Err(); err != nil {
		return nil, err
	}
	pubsub := b.one.client.Subscribe(ctx)
	b.mu.Lock()
	b.pubsub = pubsub
	b.unheard = 0
	b.dirty = b.dirty[:0]
	for channel, n := range b.names {
		n.sent, n.inFlight = false, 0
		b.dirty = append(b.dirty, channel)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return pubsub, nil
}

func (b *Redis) disconnect(pubsub *redis.PubSub) {
	pubsub.Close()
	b.mu.Lock()
	wasUp := b.up
	b.up, b.pubsub = false, nil
	for _, n := range b.names {
		n.answer(ErrDown)
	}
	b.mu.Unlock()
	if wasUp {
		b.handler.State(false)
	}
}

// receive reads until the connection breaks.
func (b *Redis) receive(ctx context.Context, pubsub *redis.PubSub) {
	pinged := false
	for {
		m, err := pubsub.ReceiveTimeout(ctx, quiet)
		var timeout interface{ Timeout() bool }
		switch {
		case err == nil:
			pinged = false
		case errors.As(err, &timeout) && timeout.Timeout() && !pinged && ctx.Err() == nil:
			pinged = true
			if pubsub.Ping(ctx) != nil {
				return
			}
			continue
		default:
			return
		}
		switch m := m.(type) {
		case *redis.Message:
			b.handler.Receive(m.Channel, []byte(m.Payload))
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				b.confirmed(m.Channel)
			}
		}
	}
}

func (b *Redis) confirmed(channel string) {
	b.mu.Lock()
	stands := false
	n := b.names[channel]
	if n != nil && n.inFlight > 0 {
		b.unheard--
		n.inFlight--
		stands = n.inFlight == 0 && n.sent
	}
	b.mu.Unlock()
	if stands {
		b.handler.Subscribed(channel)
	}
	b.mu.Lock()
	if n != nil {
		if stands {
			n.answer(nil)
		}
		if n.wanted == 0 && !n.sent && n.inFlight == 0 && b.names[channel] == n {
			delete(b.names, channel)
		}
	}
	cameUp := !b.up && b.unheard == 0 && len(b.dirty) == 0
	b.up = b.up || cameUp
	b.mu.Unlock()
	if cameUp {
		b.handler.State(true)
	}
}

func (n *name) answer(err error) {
	for _, w := range n.waiters {
		w <- err
	}
	n.waiters = nil
}

// Close ends the client and waits until nothing of it runs. The Redis client stays the caller's.
func (b *Redis) Close() {
	b.mu.Lock()
	b.stopping = true
	pubsub := b.pubsub
	b.mu.Unlock()
	b.stop()
	if pubsub != nil {
		pubsub.Close()
	}
	b.done.Wait()
}
