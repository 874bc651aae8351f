package wsbridge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// MaxReason is how long the reason of a closing frame may be (RFC 6455 section 5.5).
const MaxReason = 123

// Disconnect closes a connection or, where that is empty, every connection of a user, on whichever nodes they are. Code 0 is
// CloseDisconnected. It returns how many connections that were, and how many nodes have not answered.
func (n *Node) Disconnect(ctx context.Context, connection, user string, code int, reason string) (closed, missing int, err error) {
	answers, missing, err := n.ask(ctx, n.keys.Control(), bus.Control{Type: bus.Close, Connection: connection, User: user, Code: code, Reason: reason},
		func(a *bus.Control) bool { return connection != "" && a.Count > 0 })
	for _, a := range answers {
		closed += a.Count
	}
	return closed, missing, err
}

// ValidCloseCode reports whether a session may be closed with a code by who is not the gateway itself (RFC 6455 section 7.4).
func ValidCloseCode(code int) bool { return code == 1000 || code >= 3000 && code <= 4999 }

// closeConnections obeys a Close and returns how many connections it closes. Later commands find them no more.
func (n *Node) closeConnections(c *bus.Control) int {
	sessions := n.matching(c)
	for _, s := range sessions {
		s.closeCode.CompareAndSwap(0, int32(dismissal(c.Code)))
		s.spawn(func() { s.dismiss(c.Code, c.Reason) })
	}
	return len(sessions)
}

// dismissal is the code with which a session closes that a service or an operator closes with a code.
func dismissal(code int) websocket.StatusCode {
	if !ValidCloseCode(code) {
		return CloseDisconnected
	}
	return websocket.StatusCode(code)
}

// dismiss ends the session for a service or an operator.
func (s *session) dismiss(code int, reason string) {
	s.end(dismissal(code), closeReason(reason))
}

// dismissLater is dismiss once the client has what waits for it, or will not take it. It does not wait.
func (s *session) dismissLater(c *bus.Closing) {
	s.spawn(func() {
		timer := time.NewTimer(lingering)
		defer timer.Stop()
		select {
		case <-s.wire.flushed():
		case <-timer.C:
		}
		s.dismiss(c.Code, c.Reason)
	})
}

// Send sends a payload, JSON or bytes, to a connection wherever it is, and reports whether it is anywhere.
func (n *Node) Send(ctx context.Context, connection string, data, bytes []byte) (found bool, missing int, err error) {
	answers, missing, err := n.ask(ctx, n.keys.Control(), bus.Control{Type: bus.Send, Connection: connection, Data: data, DataBase64: bytes},
		func(a *bus.Control) bool { return a.Count > 0 })
	return len(answers) > 0 && answers[len(answers)-1].Count > 0, missing, err
}

// sendTo obeys a Send.
func (n *Node) sendTo(c *bus.Control) int {
	for _, s := range n.matching(c) {
		s.reply(&bus.Outbound{Connection: c.Connection, Data: c.Data, DataBase64: c.DataBase64})
		return 1
	}
	return 0
}

// SendUser publishes a payload to every session of a user, and returns how many nodes have one.
func (n *Node) SendUser(ctx context.Context, user string, payload []byte) (int64, error) {
	return n.bus.Publish(ctx, n.keys.User(user), payload)
}

// SendAll publishes a payload to every session, and returns how many nodes there are.
func (n *Node) SendAll(ctx context.Context, payload []byte) (int64, error) {
	return n.bus.Publish(ctx, n.keys.All(), payload)
}

// SendChannel publishes a payload to the subscribers of a channel. Where h has a size it is kept, once however often the same
// id comes, and the position is where.
func (n *Node) SendChannel(ctx context.Context, channel string, payload []byte, h bus.History, id string) (bus.Position, error) {
	if h.Size > 0 {
		return n.bus.PublishKept(ctx, n.keys, channel, payload, h, id)
	}
	_, err := n.bus.Publish(ctx, n.keys.Channel(channel), payload)
	return bus.Position{}, err
}

// Filter chooses among the connections of all nodes. Its empty fields choose all.
type Filter struct {
	Connection string
	User       string
	Channel    string
}

// List returns up to limit connections whose id comes after another, ordered by id, and how many nodes have not answered.
// Only that of a Filter with a Connection has its channels.
func (n *Node) List(ctx context.Context, f Filter, limit int, after string) (list []bus.Connection, more bool, missing int, err error) {
	answers, missing, err := n.ask(ctx, n.keys.Control(),
		bus.Control{Type: bus.List, Connection: f.Connection, User: f.User, Channel: f.Channel, Limit: limit + 1, After: after},
		func(a *bus.Control) bool { return f.Connection != "" && len(a.Connections) > 0 })
	for _, a := range answers {
		list = append(list, a.Connections...)
	}
	slices.SortFunc(list, func(a, b bus.Connection) int { return cmp.Compare(a.ID, b.ID) })
	if len(list) > limit {
		list, more = list[:limit], true
	}
	return list, more, missing, err
}

// maxListed is the most connections that a node describes at a time.
const maxListed = 1001

// describe obeys a List.
func (n *Node) describe(c *bus.Control) []bus.Connection {
	sessions := slices.DeleteFunc(n.matching(c), func(s *session) bool { return s.id <= c.After })
	slices.SortFunc(sessions, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	sessions = sessions[:min(len(sessions), maxListed, max(c.Limit, 1))]
	list := make([]bus.Connection, len(sessions))
	for i, s := range sessions {
		list[i] = s.describe()
		if c.Connection != "" {
			list[i].Channels = s.subscriptions()
		}
	}
	return list
}

// matching returns the sessions of this node that a command is about, and that are not being closed. A Close or a Send that
// names nobody is about none.
func (n *Node) matching(c *bus.Control) []*session {
	var found []*session
	fits := func(s *session) bool {
		return s.closeCode.Load() == 0 && (c.Connection == "" || s.id == c.Connection) && (c.User == "" || s.user == c.User)
	}
	add := func(s *session) {
		if fits(s) {
			found = append(found, s)
		}
	}
	switch {
	case c.Connection == "" && c.User == "" && c.Type != bus.List:
	case c.Channel != "":
		key := n.keys.Channel(c.Channel)
		n.hub.each(key, func(s *session, _ bool) { add(s) })
		if l := n.lines.of(key); l != nil {
			l.each(add)
		}
	case c.Connection != "":
		n.mu.RLock()
		defer n.mu.RUnlock()
		if s := n.sessions[c.Connection]; s != nil {
			add(s)
		}
	case c.User != "":
		n.hub.each(n.keys.User(c.User), func(s *session, _ bool) { add(s) })
	default:
		n.mu.RLock()
		defer n.mu.RUnlock()
		for _, s := range n.sessions {
			add(s)
		}
	}
	return found
}

// describe says what others may know of the session.
func (s *session) describe() bus.Connection {
	c := bus.Connection{
		ID: s.id, Node: s.node.name, Route: s.route.name, User: s.user, Address: s.ticket.Client.Unmap().String(),
		Transport: s.transport(), Connected: started.Add(s.opened).UTC(), Queued: s.wire.waiting(),
	}
	if id := s.identity.Load(); id != nil {
		c.Provider, c.Roles, c.Expires = id.Provider, id.Roles, id.Expires
	}
	return c
}

// subscriptions returns the names of the session's channels. It waits for who has the turn.
func (s *session) subscriptions() []string {
	s.turn.Lock()
	defer s.turn.Unlock()
	names := make([]string, 0, len(s.channels))
	for name := range s.channels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// transport names how the client is connected.
func (s *session) transport() string {
	switch {
	case s.raw:
		return "websocket-raw"
	case s.events() != nil:
		return "sse"
	}
	return "websocket"
}
