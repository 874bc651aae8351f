package wsbridge

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Metrics are the counters of one route.
type Metrics interface {
	Opened()
	Closed(code int)
	MessageIn()
	MessageOut()
	Refused(*admission.Refusal)
}

// NodeMetrics are the counters of the node.
type NodeMetrics interface {
	BusState(up bool)
	// BusDropped counts a message that nobody got: late_reply, unknown_connection, malformed.
	BusDropped(reason string)
}

// Options are what a node needs.
type Options struct {
	Redis  redis.UniversalClient
	Prefix string // of the bus's keys
	Logger *slog.Logger
	// Metrics counts for the node.
	Metrics NodeMetrics
}

// Bus is what a node needs of the bus. *bus.Redis is one.
type Bus interface {
	Publish(ctx context.Context, channel string, payload []byte) (int64, error)
	Enqueue(ctx context.Context, stream string, envelope []byte) error
	Subscribe(ctx context.Context, channel string) error
	Unsubscribe(channel string)
	Close()
}

// Node is this process's end of the bridge. Its methods are safe for concurrent use.
type Node struct {
	bus     Bus
	keys    bus.Keys
	name    string
	replyTo string
	up      atomic.Bool // the bus's subscriptions stand
	logger  *slog.Logger
	metrics NodeMetrics
	hub     *hub

	mu       sync.RWMutex
	sessions map[string]*session
	draining bool
	work     sync.WaitGroup // sessions, and the goroutines that write for them
}

// NewNode starts a node on a Redis, which need not be up.
func NewNode(o Options) *Node {
	n := &Node{
		keys:     bus.Keys{Prefix: o.Prefix},
		logger:   o.Logger,
		metrics:  o.Metrics,
		hub:      newHub(),
		sessions: map[string]*session{},
	}
	n.name = uuid.NewString()
	n.replyTo = n.keys.Node(n.name)
	b := bus.NewRedis(o.Redis, n)
	n.bus = b
	for _, channel := range []string{n.replyTo, n.keys.All()} {
		// What is not confirmed now is subscribed to when Redis is there.
		_ = b.Subscribe(context.Background(), channel)
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

// Serve upgrades an admitted request and serves its session to the end. The ticket is the session's from now on.
func (n *Node) Serve(w http.ResponseWriter, r *http.Request, ticket *admission.Ticket, route *Route, metrics Metrics) {
	if !route.allowsOrigin(r) {
		http.Error(w, "this origin may not connect", http.StatusForbidden)
		return
	}
	n.mu.Lock()
	if n.draining {
		n.mu.Unlock()
		http.Error(w, "the gateway is going away", http.StatusServiceUnavailable)
		return
	}
	n.work.Add(1)
	n.mu.Unlock()
	defer n.work.Done()

	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // the origin was checked above, by the route's own rules
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	s := &session{
		node: n, route: route, conn: conn, id: uuid.NewString(), ticket: ticket, metrics: metrics,
		user: ticket.Identity.User, raw: route.raw && conn.Subprotocol() == "",
		channels: map[string]struct{}{}, pending: map[string]*pendingReply{},
	}
	if ticket.Identity.Claims != nil {
		if claims, err := json.Marshal(ticket.Identity.Claims); err == nil {
			s.claims = claims
		}
	}
	n.mu.Lock()
	n.sessions[s.id] = s
	late := n.draining
	n.mu.Unlock()
	metrics.Opened()
	if late {
		n.spawn(func() { s.end(CloseDraining, "the gateway is going away") })
	}
	// Not the request's context: it ends when the handler's connection is taken over by nobody.
	s.serve(context.WithoutCancel(r.Context()))
	n.mu.Lock()
	delete(n.sessions, s.id)
	n.mu.Unlock()
}

// spawn runs f in a goroutine that Close waits for.
func (n *Node) spawn(f func()) {
	n.work.Add(1)
	go func() {
		defer n.work.Done()
		f()
	}()
}

// join has a session get what is published on a channel of the bus, once it returns nil. It is undone by leave, also
// after an error.
func (n *Node) join(ctx context.Context, channel string, s *session) error {
	n.hub.add(channel, s)
	return n.bus.Subscribe(ctx, channel)
}

func (n *Node) leave(channel string, s *session) {
	n.hub.remove(channel, s)
	n.bus.Unsubscribe(channel)
}

// Receive hands a payload of the bus to the sessions it is for. A frame is encoded once for all of them.
func (n *Node) Receive(channel, payload string) {
	switch {
	case channel == n.replyTo:
		n.direct(payload)
	case channel == n.keys.All():
		m := newBroadcast("", payload)
		n.mu.RLock()
		defer n.mu.RUnlock()
		for _, s := range n.sessions {
			m.to(s)
		}
	default:
		name, isChannel := strings.CutPrefix(channel, n.keys.Channel(""))
		if !isChannel {
			name = ""
		}
		m := newBroadcast(name, payload)
		n.hub.each(channel, m.to)
	}
}

func (n *Node) direct(payload string) {
	o, err := bus.ParseOutbound([]byte(payload))
	if err != nil {
		n.metrics.BusDropped("malformed")
		return
	}
	n.mu.RLock()
	s := n.sessions[o.Connection]
	n.mu.RUnlock()
	if s == nil {
		n.metrics.BusDropped("unknown_connection")
		return
	}
	s.reply(o)
}

// broadcast is one payload for many sessions.
type broadcast struct {
	channel, payload string
	envelope         []byte // made when the first session needs it
	raw              []byte
}

func newBroadcast(channel, payload string) *broadcast {
	return &broadcast{channel: channel, payload: payload}
}

func (b *broadcast) to(s *session) {
	if s.raw {
		if b.raw == nil {
			b.raw = []byte(b.payload)
		}
		s.send(frame{payload: b.raw, binary: !json.Valid(b.raw)})
		return
	}
	if b.envelope == nil {
		b.envelope = messageFrame(b.channel, b.payload)
	}
	s.send(frame{payload: b.envelope})
}

// State tells every session whether the bus is there.
func (n *Node) State(up bool) {
	n.up.Store(up)
	n.metrics.BusState(up)
	if up {
		n.logger.Info("bus is up")
	} else {
		n.logger.Warn("bus is down: sessions stay open, subscriptions come back with it")
	}
	f := frame{payload: busFrame(up)}
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, s := range n.sessions {
		if !s.raw {
			s.send(f)
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
			s.send(frame{payload: goawayFrame(after.Milliseconds())})
		}
		closing.Go(func() {
			timer := time.NewTimer(after)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			s.flushed(ctx)
			s.end(CloseDraining, "the gateway is going away")
		})
	}
	closing.Wait()
}

// Close ends every session and waits until nothing of the node runs.
func (n *Node) Close() {
	n.mu.Lock()
	n.draining = true
	for _, s := range n.sessions {
		s.closeCode.CompareAndSwap(0, int32(CloseDraining))
		n.spawn(func() { _ = s.conn.CloseNow() })
	}
	n.mu.Unlock()
	n.work.Wait()
	n.bus.Close()
}
