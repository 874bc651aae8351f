package wsbridge

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Metrics are the counters of one route.
type Metrics interface {
	Opened()
	Closed(code int)
	MessageIn()
	MessageOut()
	Refused(*admission.Refusal)
	// Noted gets what limits decided about a message where that is not simply to let it pass.
	Noted([]admission.Charge)
	// Limited counts what one of the session's limits has refused.
	Limited(limit string)
}

// NodeMetrics are the counters of the node.
type NodeMetrics interface {
	BusState(up bool)
	// BusDropped counts a message that nobody got: late_reply, unknown_connection, malformed.
	BusDropped(reason string)
	// Present counts those who are present in channels, up and down; PresenceSwept those of nodes that are gone, which this
	// node has taken out; PresenceFailed what Redis did not take, and is told again.
	Present(change int)
	PresenceSwept(connections int)
	PresenceFailed()
}

// Options are what a node needs.
type Options struct {
	Redis  *bus.Servers
	Prefix string // of the bus's keys
	Logger *slog.Logger
	// Metrics counts for the node.
	Metrics NodeMetrics
	// Revocations is what admission refuses by; the node keeps it up to date. Nil for a set of the node's own.
	Revocations *auth.Revocations
}

// Bus is what a node needs of the bus. *bus.Redis is one.
type Bus interface {
	Publish(ctx context.Context, channel string, payload []byte) (int64, error)
	Enqueue(ctx context.Context, keys bus.Keys, service string, e *bus.Entry, q bus.Queue) (bus.Queued, error)
	ReadHistory(ctx context.Context, keys bus.Keys, channel string, since bus.Position, ttl time.Duration) (bus.Page, error)
	PublishKept(ctx context.Context, keys bus.Keys, channel string, payload []byte, h bus.History, id string) (bus.Position, error)
	Subscribe(ctx context.Context, channel string) error
	Unsubscribe(channel string)
	Standing(channel string) *atomic.Bool
	Revoke(ctx context.Context, key string, r bus.Revocation) error
	Revoked(ctx context.Context, key string) ([]bus.Revocation, error)
	Close()
}

// Node is this process's end of the bridge. Its methods are safe for concurrent use.
type Node struct {
	bus      Bus
	keys     bus.Keys
	name     string
	replyTo  string
	channels string        // what the bus's names of channels begin with
	up       atomic.Bool   // the bus's subscriptions stand
	replies  *atomic.Bool  // the one that replies come by does
	down     atomic.Bool   // sessions were told that they do not
	firstUp  chan struct{} // closed when they do for the first time
	upOnce   sync.Once
	logger   *slog.Logger
	metrics  NodeMetrics
	hub      *hub
	lines    lines
	ctx      context.Context // of what runs for no session; ends with Close
	stop     context.CancelFunc
	settler  settler
	census   census
	rolls    *rolls

	questions questions
	refusals  refusals

	revocations *auth.Revocations

	mu       sync.RWMutex
	sessions map[string]*session
	streams  map[string]*session // those without WebSocket, by the name that their POSTs have
	draining bool
	work     sync.WaitGroup // sessions, and the goroutines that write for them
}

// joining is how long a node that starts waits for the bus, so that its first clients find it up.
const joining = time.Second

// NewNode starts a node on a Redis, which need not be up: the node joins the bus when it can.
func NewNode(o Options) *Node {
	n := &Node{
		keys:     bus.Keys{Prefix: o.Prefix},
		logger:   o.Logger,
		metrics:  o.Metrics,
		hub:      newHub(),
		sessions: map[string]*session{},
		firstUp:  make(chan struct{}),
		lines:    lines{lines: map[string]*line{}},

		revocations: o.Revocations,
	}
	if n.revocations == nil {
		n.revocations = new(auth.Revocations)
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.name = uuid.NewString()
	n.replyTo, n.channels = n.keys.Node(n.name), n.keys.Channel("")
	n.rolls = newRolls(n, o.Redis)
	b := bus.NewRedis(o.Redis, n)
	n.bus = b
	for _, channel := range []string{n.replyTo, n.keys.All(), n.keys.Control(), n.keys.Peer(n.name)} {
		// What is not confirmed now is subscribed to when Redis is there.
		_ = b.Subscribe(context.Background(), channel)
	}
	n.replies = b.Standing(n.replyTo)
	timer := time.NewTimer(joining)
	defer timer.Stop()
	select {
	case <-n.firstUp:
		n.loadRevocations()
	case <-timer.C:
	}
	return n
}

// Name returns the node's name on the bus.
func (n *Node) Name() string { return n.name }

// BusUp reports whether the subscriptions of the bus stand.
func (n *Node) BusUp() bool { return n.up.Load() }

// Connections returns how many sessions are open.
func (n *Node) Connections() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.sessions)
}

// Serve upgrades an admitted request and returns; its session is served from then on without the request. The ticket is
// the session's. An error has not been written.
func (n *Node) Serve(w http.ResponseWriter, r *http.Request, ticket *admission.Ticket, route *Route, metrics Metrics) *fault.Error {
	s, e := n.newSession(r, ticket, route, metrics)
	if e != nil {
		return e
	}
	conn, err := websocket.Accept(&upgrade{w, &s.wire}, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // the origin was checked above, by the route's own rules
		CompressionMode:    route.compression,
	})
	if err != nil {
		n.discount(s)
		return nil // Accept has answered
	}
	conn.SetReadLimit(route.maxMessage)
	s.deflates = w.Header()[extensionsHeader] != nil
	s.conn, s.raw = conn, route.raw && conn.Subprotocol() == ""
	n.open(r.Context(), s)
	go func() {
		defer n.discount(s)
		s.serve(conn)
		n.remove(s)
	}()
	return nil
}

// newSession counts a session that is about to be opened, if it may be. What it counts discount gives back.
func (n *Node) newSession(r *http.Request, ticket *admission.Ticket, route *Route, metrics Metrics) (*session, *fault.Error) {
	if !route.origins.Allow(r) {
		return nil, errOrigin
	}
	n.mu.Lock()
	if n.draining {
		n.mu.Unlock()
		return nil, fault.ErrShuttingDown
	}
	n.work.Add(1)
	n.mu.Unlock()
	s := &session{node: n, route: route, id: uuid.NewString(), ticket: ticket, metrics: metrics, user: ticket.Identity.User, opened: uptime()}
	if over := n.census.enter(route, s.user, ticket.Subscriber()); over != "" {
		n.work.Done()
		metrics.Limited(string(over))
		return nil, over.tooMany()
	}
	s.wire.limit, s.wire.timeout = route.queueSize, route.pingTimeout
	s.wire.spawn, s.wire.overflow = n.spawn, s.overflow
	return s, nil
}

var errOrigin = fault.New(fault.PermissionDenied, "this origin may not connect")

// discount ends what newSession has begun.
func (n *Node) discount(s *session) {
	n.census.leave(s.route, s.user, s.ticket.Subscriber())
	s.ticket.Release()
	n.work.Done()
}

// open has everybody know of a session that is connected.
func (n *Node) open(ctx context.Context, s *session) {
	s.metrics.Opened()
	n.mu.Lock()
	n.sessions[s.id] = s
	late := n.draining    // and Drain has not seen the session
	down := n.down.Load() // and neither has State
	n.mu.Unlock()
	if down && !s.raw {
		s.send(busFrame(false))
	}
	if n.settler.opened() {
		n.spawnOpen(func() { n.settler.settle(n.ctx.Done()) })
	}
	s.begin(ctx)
	if late {
		n.spawn(func() { s.end(CloseDraining, "the gateway is going away") })
	}
}

func (n *Node) remove(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sessions, s.id)
}

// spawn runs f in a goroutine that Close waits for.
func (n *Node) spawn(f func()) {
	n.work.Add(1)
	go func() {
		defer n.work.Done()
		f()
	}()
}

// spawnOpen is spawn for who is not a session's, unless the node is closed.
func (n *Node) spawnOpen(f func()) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.ctx.Err() == nil {
		n.spawn(f)
	}
}

// join has a session get what is published on a channel of the bus, once it returns nil. It is undone by leave, also
// after an error.
func (n *Node) join(ctx context.Context, channel string, s *session) error {
	n.hub.add(channel, s, nil)
	return n.bus.Subscribe(ctx, channel)
}

func (n *Node) leave(channel string, s *session) {
	n.hub.remove(channel, s)
	n.bus.Unsubscribe(channel)
}

// Denied implements bus.Handler.
func (n *Node) Denied(channel string) {
	n.logger.Error("redis refuses a subscription: give its user the channel (ACL SETUSER … &CHANNEL)", "channel", channel)
}

// State tells every session whether the bus is there.
func (n *Node) State(up bool) {
	n.up.Store(up)
	n.upOnce.Do(func() { close(n.firstUp) })
	n.metrics.BusState(up)
	if up {
		n.spawnOpen(n.loadRevocations)
		n.logger.Info("bus is up")
	} else {
		n.logger.Warn("bus is down: sessions stay open, subscriptions come back with it")
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if wasDown := n.down.Swap(!up); up && !wasDown {
		return // up for the first time: nobody was told that it is down
	}
	f := busFrame(up)
	for _, s := range n.sessions {
		if !s.raw {
			s.sendLater(f)
		}
	}
}

// Drain takes no more sessions, tells each client to reconnect after a random part of spread, and closes those that are
// still there after that time or when ctx ends.
func (n *Node) Drain(ctx context.Context, spread time.Duration) {
	n.mu.Lock()
	n.draining = true
	var all []*session
	for _, s := range n.sessions {
		all = append(all, s)
	}
	n.mu.Unlock()
	if len(all) == 0 {
		return
	}
	var closing sync.WaitGroup
	for _, s := range all {
		after := time.Duration(rand.Int64N(int64(spread) + 1))
		if !s.raw {
			s.send(goawayFrame(after.Milliseconds()))
		}
		closing.Go(func() {
			timer := time.NewTimer(after)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			select {
			case <-s.wire.flushed():
			case <-ctx.Done():
			}
			s.end(CloseDraining, "the gateway is going away")
		})
	}
	closing.Wait()
}

// Close ends every session and waits until nothing of the node runs.
func (n *Node) Close() {
	n.mu.Lock()
	n.draining = true
	n.stop()
	for _, s := range n.sessions {
		s.closeCode.CompareAndSwap(0, int32(CloseDraining))
		n.spawn(func() { _ = s.conn.CloseNow() })
	}
	n.mu.Unlock()
	n.work.Wait()
	n.rolls.close()
	n.bus.Close()
}
