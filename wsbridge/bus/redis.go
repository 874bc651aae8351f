package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// commandTimeout bounds a command, and how long a subscription may take to be confirmed.
	commandTimeout = 3 * time.Second
	// quiet is how long nothing may be heard from Redis before it is pinged; as long again, and it is taken for dead.
	quiet = 3 * time.Second
	// retry is the pause between attempts to reach Redis.
	retry = 200 * time.Millisecond
	// batch is the most names in one SUBSCRIBE.
	batch = 512
	// review is how often names are looked for where they ought to be, on a cluster whose slots may move.
	review = 10 * time.Second
)

// ErrDown is what calls return while Redis cannot be reached.
var ErrDown = errors.New("bus: redis cannot be reached")

// ErrRefused is returned for a channel that Redis does not let its user subscribe to (ACL). It is asked for again after a
// while, as long as somebody wants it.
var ErrRefused = errors.New("bus: redis refuses a subscription to the channel")

// Handler gets what is published. It is called from the goroutines that read from Redis, one for each server, and must
// not wait.
type Handler interface {
	// Receive gets a payload published on a channel. The payload is the callee's only during the call.
	Receive(channel string, payload []byte)
	// Subscribed says that a subscription stands from here on: for the first time, or again after it was lost.
	Subscribed(channel string)
	// Denied says that Redis does not let its user subscribe to a channel, once for each time that it stood before or was
	// new.
	Denied(channel string)
	// State says whether all subscriptions stand. While they do not, some of what is published is lost.
	State(up bool)
}

// Redis is a client of the bus. It has one subscription of a channel, however many want it. Its methods are safe for
// concurrent use. Create it with NewRedis.
type Redis struct {
	*Servers
	handler Handler
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	wake    chan struct{} // there are names without a link

	mu       sync.Mutex
	names    map[string]*name
	links    map[linkKey]*link
	homeless []*name // that have no link
	placing  int     // that are being given one
	stopping bool

	telling sync.Mutex // held while the handler is told of the state
	told    bool
}

// linkKey names a server: its place in Servers, and the address where it is one of a cluster.
type linkKey struct {
	server  *server
	address string
}

// name is one channel that somebody wants, or whose commands are under way.
type name struct {
	channel  string
	wanted   int
	link     *link
	lost     bool // it stood before
	refused  bool // Redis has said no, and is not asked again yet
	alone    bool // it is asked for by itself: of several, an error does not say which it is about
	told     bool // the handler knows that it is refused
	sent     bool // as far as Redis was told, this node is subscribed
	inFlight int  // SUBSCRIBE commands not confirmed yet
	leaving  int  // UNSUBSCRIBE commands not confirmed yet
	waiters  []chan error
	stands   atomic.Bool
}

// NewRedis starts a client. Receive may be called as soon as something is subscribed to.
func NewRedis(servers *Servers, handler Handler) *Redis {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Redis{
		Servers: servers, handler: handler, ctx: ctx, stop: cancel, wake: make(chan struct{}, 1),
		names: map[string]*name{}, links: map[linkKey]*link{},
	}
	b.done.Go(b.place)
	return b
}

// Subscribe subscribes to a channel and returns when Redis has confirmed it. Each call is matched by one of
// Unsubscribe, also after an error. The subscription outlives a Redis that goes away.
func (b *Redis) Subscribe(ctx context.Context, channel string) error {
	b.mu.Lock()
	n := b.name(channel)
	n.wanted++
	if n.refused || n.wanted == 1 && !n.sent {
		n.refused = false
		b.change(n)
	}
	if n.stands.Load() {
		b.mu.Unlock()
		return nil
	}
	if b.stopping || n.down() {
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

// down reports whether a subscription is not to be had at the moment, as far as is known.
func (n *name) down() bool {
	if n.link == nil {
		return n.lost
	}
	return n.link.down
}

// name returns the name of a channel. The caller holds the lock.
func (b *Redis) name(channel string) *name {
	n := b.names[channel]
	if n == nil {
		n = &name{channel: channel}
		b.names[channel] = n
	}
	return n
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
		b.change(n)
	}
}

// Standing returns what says, from now on, whether the subscription of a channel that was subscribed to stands.
func (b *Redis) Standing(channel string) *atomic.Bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &b.name(channel).stands
}

// change has a name's subscription looked at. The caller holds the lock.
func (b *Redis) change(n *name) {
	switch {
	case n.link != nil:
		n.link.dirty = append(n.link.dirty, n)
		wake(n.link.wake)
	case n.wanted > 0:
		b.homeless = append(b.homeless, n)
		wake(b.wake)
	default:
		b.forget(n)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// forget drops a name that nobody wants and Redis has nothing to say of any more. The caller holds the lock.
func (b *Redis) forget(n *name) {
	if n.wanted == 0 && !n.sent && n.inFlight == 0 && n.leaving == 0 && b.names[n.channel] == n {
		delete(b.names, n.channel)
	}
}

// connected makes a link's new connection known, and has all that is wanted of it subscribed to.
func (b *Redis) connected(l *link, c *conn) {
	b.mu.Lock()
	l.conn, l.down, l.unheard, l.dirty, l.foreign, l.asked = c, false, 0, l.dirty[:0], nil, nil
	for _, n := range b.names {
		if n.link == l {
			n.sent, n.inFlight, n.leaving, n.refused = false, 0, 0, false
			l.dirty = append(l.dirty, n)
		}
	}
	b.mu.Unlock()
	wake(l.wake)
}

// commands appends the commands that a link's changes come to.
func (b *Redis) commands(l *link, c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var add, drop []string
	var alone [][]string
	for _, n := range l.dirty {
		switch {
		case n.link != l:
		case n.wanted > 0 && !n.sent && !n.refused:
			n.sent = true
			n.inFlight++
			l.unheard++
			if n.alone {
				alone = append(alone, []string{n.channel})
			} else {
				add = append(add, n.channel)
			}
		case n.wanted == 0 && n.sent:
			n.sent = false
			n.stands.Store(false)
			n.leaving++
			drop = append(drop, n.channel)
		}
		b.forget(n)
	}
	for _, channels := range append(l.key.server.batches(add), alone...) {
		l.asked = append(l.asked, asked{channels: channels})
		l.key.server.command(c, "SUBSCRIBE", channels)
	}
	for _, channels := range l.key.server.batches(append(drop, l.foreign...)) {
		l.key.server.command(c, "UNSUBSCRIBE", channels)
	}
	l.dirty, l.foreign = l.dirty[:0], nil
	if l.pinging {
		l.pinging = false
		c.command("PING")
	}
}

// ping has Redis say something. The writing goroutine sends it, with whatever else there is.
func (b *Redis) ping(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.pinging = true
	wake(l.wake)
}

func (b *Redis) confirmed(l *link, channel string) {
	b.mu.Lock()
	if len(l.asked) > 0 {
		if l.asked[0].heard++; l.asked[0].heard == len(l.asked[0].channels) {
			l.asked = l.asked[1:]
		}
	}
	n := b.names[channel]
	if n == nil || n.link != l || n.inFlight == 0 {
		b.mu.Unlock()
		return
	}
	l.unheard--
	n.inFlight--
	stands := n.inFlight == 0 && n.sent
	b.mu.Unlock()
	if stands {
		b.handler.Subscribed(channel)
	}
	b.mu.Lock()
	if stands && n.link == l {
		n.lost, n.alone, n.told = false, false, false
		n.stands.Store(true)
		n.answer(nil)
	}
	b.forget(n)
	b.mu.Unlock()
	b.tell()
}

// left is told that a subscription has ended: because nobody wants it any more, or because its slot has left the server.
func (b *Redis) left(l *link, channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[channel]
	switch {
	case n == nil || n.link != l:
	case n.leaving > 0:
		n.leaving--
		b.forget(n)
	case n.sent:
		n.evict()
		l.key.server.stale.Store(true)
		b.change(n)
	}
}

// evict takes a name from its link, which has lost it.
func (n *name) evict() {
	n.link, n.sent, n.inFlight, n.leaving, n.lost = nil, false, 0, 0, true
	n.stands.Store(false)
	n.answer(ErrDown)
}

// lost is told that a link's connection has broken, or was not to be had.
func (b *Redis) lost(l *link) {
	b.mu.Lock()
	l.conn, l.down = nil, true
	for _, n := range b.names {
		if n.link == l {
			n.lost = true
			n.stands.Store(false)
			n.answer(ErrDown)
		}
	}
	b.mu.Unlock()
	b.tell()
}

func (n *name) answer(err error) {
	for _, w := range n.waiters {
		w <- err
	}
	n.waiters = nil
}

// tell tells the handler whether everything stands, where that has changed. What is new, and has yet to stand, changes
// nothing.
func (b *Redis) tell() {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.mu.Lock()
	up := len(b.links) > 0 && (b.told || len(b.homeless) == 0 && b.placing == 0)
	for _, l := range b.links {
		up = up && !l.down && (b.told || l.sound())
	}
	b.mu.Unlock()
	if up != b.told {
		b.told = up
		b.handler.State(up)
	}
}

// Close ends the client and waits until nothing of it runs. The servers stay the caller's.
func (b *Redis) Close() {
	b.mu.Lock()
	b.stopping = true
	b.mu.Unlock()
	b.stop()
	b.done.Wait()
}
