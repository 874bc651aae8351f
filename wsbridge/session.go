package wsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// session is one open WebSocket. The goroutine of its request reads; everything else only queues frames for it.
type session struct {
	node    *Node
	route   *Route
	conn    *websocket.Conn
	id      string
	ticket  *admission.Ticket
	metrics Metrics
	user    string
	claims  json.RawMessage
	raw     bool
	queue   queue

	// Only the reading goroutine uses these.
	channels map[string]struct{}
	sequence uint64

	mu      sync.Mutex
	pending map[string]*pendingReply // by envelope id
	expiry  *time.Timer
	ping    *time.Timer
	ended   bool

	closeCode atomic.Int32
}

// pendingReply is a message of the client's that waits for the service.
type pendingReply struct {
	id    json.RawMessage
	timer *time.Timer
}

// serve reads until the session ends, and cleans up.
func (s *session) serve(ctx context.Context) {
	s.conn.SetReadLimit(s.route.maxMessage)
	if s.user != "" {
		s.node.join(ctx, s.node.keys.User(s.user), s)
	}
	s.startTimers()
	s.announce(ctx, bus.Connect, 0)
	code := s.readAll(ctx)
	s.finish(code)
}

func (s *session) readAll(ctx context.Context) websocket.StatusCode {
	for {
		kind, data, err := s.conn.Read(ctx)
		if err != nil {
			return s.codeOf(err)
		}
		s.metrics.MessageIn()
		s.postponePing()
		if s.raw {
			s.rawMessage(ctx, kind, data)
			continue
		}
		if kind != websocket.MessageText {
			s.conn.Close(websocket.StatusUnsupportedData, "this subprotocol has text frames only")
			return websocket.StatusUnsupportedData
		}
		s.handle(ctx, data)
	}
}

// codeOf finds out how a session ended.
func (s *session) codeOf(err error) websocket.StatusCode {
	if code := s.closeCode.Load(); code != 0 {
		return websocket.StatusCode(code)
	}
	if code := websocket.CloseStatus(err); code != -1 {
		return code
	}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return websocket.StatusMessageTooBig
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return websocket.StatusAbnormalClosure
	}
	return websocket.StatusAbnormalClosure
}

// handle answers one frame of the envelope protocol.
func (s *session) handle(ctx context.Context, data []byte) {
	r, err := parseRequest(data)
	if err != nil {
		s.refuse(r.ID, codeInvalidArgument, err.Error())
		return
	}
	if r.Type != "refresh" {
		if f := s.ticket.AdmitMessage(ctx, s.id); f != nil {
			s.refused(r.ID, f)
			return
		}
	}
	switch r.Type {
	case "message":
		s.message(ctx, &r)
	case "subscribe":
		s.subscribe(ctx, &r)
	case "unsubscribe":
		s.unsubscribe(&r)
	case "refresh":
		s.refresh(ctx, &r)
	case "ping":
		s.send(frame{payload: append(appendHead(nil, r.ID, "pong"), '}')})
	default:
		s.refuse(r.ID, codeInvalidArgument, "type: expected message, subscribe, unsubscribe, refresh or ping")
	}
}

func (s *session) refuse(id json.RawMessage, code, message string) {
	s.send(frame{payload: errorFrame(id, code, message)})
}

// refused words an admission's refusal.
func (s *session) refused(id json.RawMessage, f *admission.Refusal) {
	s.metrics.Refused(f)
	code := codeUnavailable
	switch f.Kind {
	case admission.Unauthenticated:
		code = codeUnauthenticated
	case admission.PermissionDenied:
		code = codePermissionDenied
	case admission.LimitExceeded:
		code = codeResourceExhausted
	}
	s.refuse(id, code, f.Reason)
}

func (s *session) message(ctx context.Context, r *request) {
	if r.Route == "" || len(r.Route) > 255 {
		s.refuse(r.ID, codeInvalidArgument, "route: expected the name of a route of the service, of at most 255 bytes")
		return
	}
	m := s.envelope(bus.Message)
	m.Route, m.Data = r.Route, r.Data
	s.deliver(ctx, m, r.ID)
}

func (s *session) rawMessage(ctx context.Context, kind websocket.MessageType, data []byte) {
	if f := s.ticket.AdmitMessage(ctx, s.id); f != nil {
		// A raw client has no place for an error: the message is dropped, and the metric says so.
		s.metrics.Refused(f)
		return
	}
	m := s.envelope(bus.Message)
	if kind == websocket.MessageText && json.Valid(data) {
		m.Data = data
	} else {
		m.DataBase64 = data
	}
	s.deliver(ctx, m, nil)
}

// deliver hands an envelope to the service. With an id, the client is told what became of it.
func (s *session) deliver(ctx context.Context, m *bus.Inbound, id json.RawMessage) {
	payload, err := json.Marshal(m)
	if err != nil {
		s.refuse(id, codeInvalidArgument, "data: "+err.Error())
		return
	}
	if s.route.atLeastOnce {
		if len(id) > 0 {
			s.expect(m.ID, id)
		}
		if err := s.node.bus.Enqueue(ctx, s.node.keys.Queue(s.route.service), payload); err != nil {
			s.forget(m.ID)
			s.refuse(id, codeUnavailable, "the message could not be queued; send it again")
			return
		}
		if len(id) > 0 {
			s.send(frame{payload: okFrame(id, "")})
		}
		return
	}
	if len(id) > 0 {
		s.expect(m.ID, id)
	}
	listeners, err := s.node.bus.Publish(ctx, s.node.keys.In(s.route.service), payload)
	if (err != nil || listeners == 0) && (len(id) == 0 || s.forget(m.ID)) {
		reason := "no instance of the service is listening"
		if err != nil {
			reason = "the bus is down"
		}
		s.refuse(id, codeUnavailable, reason)
	}
}

// expect waits for the service's answer to an envelope.
func (s *session) expect(envelope string, id json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &pendingReply{id: append(json.RawMessage(nil), id...)}
	p.timer = time.AfterFunc(s.route.replyTimeout, func() {
		if s.forget(envelope) {
			s.refuse(p.id, codeDeadlineExceeded, "the service did not reply in time")
		}
	})
	s.pending[envelope] = p
}

// forget stops waiting for an answer, and reports whether one was awaited.
func (s *session) forget(envelope string) bool { return s.take(envelope) != nil }

func (s *session) take(envelope string) *pendingReply {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[envelope]
	if p != nil {
		p.timer.Stop()
		delete(s.pending, envelope)
	}
	return p
}

// reply hands on what a service has sent to this connection.
func (s *session) reply(o *bus.Outbound) {
	if s.raw {
		switch {
		case o.DataBase64 != nil:
			s.send(frame{payload: o.DataBase64, binary: true})
		case o.Data != nil:
			s.send(frame{payload: o.Data})
		}
		return
	}
	if o.InReplyTo == "" {
		payload := string(o.Data)
		if o.DataBase64 != nil {
			payload = string(o.DataBase64)
		}
		s.send(frame{payload: messageFrame("", payload)})
		return
	}
	p := s.take(o.InReplyTo)
	switch {
	case p == nil:
		s.node.metrics.BusDropped("late_reply")
	case o.Error != nil:
		s.send(frame{payload: errorFrame(p.id, errorCode(o.Error.Code), o.Error.Message)})
	default:
		s.send(frame{payload: replyFrame(p.id, o.Data)})
	}
}

// errorCode keeps a service's error code when it is a plain word.
func errorCode(code string) string {
	if code == "" || len(code) > 64 {
		return "unknown"
	}
	for i := range len(code) {
		if c := code[i]; (c < 'a' || c > 'z') && c != '_' && (c < '0' || c > '9') {
			return "unknown"
		}
	}
	return code
}

func (s *session) subscribe(ctx context.Context, r *request) {
	if !validChannel(r.Channel) {
		s.refuse(r.ID, codeInvalidArgument, "channel: expected 1 to 255 printable ASCII characters without spaces")
		return
	}
	if _, ok := s.channels[r.Channel]; ok {
		s.send(frame{payload: okFrame(r.ID, r.Channel)})
		return
	}
	if !s.route.maySubscribe(r.Channel, s.ticket.Identity) {
		s.refuse(r.ID, codePermissionDenied, "not allowed to subscribe to this channel")
		return
	}
	if len(s.channels) >= s.route.maxSubscriptions {
		s.refuse(r.ID, codeResourceExhausted, "the connection has as many subscriptions as the route allows")
		return
	}
	key := s.node.keys.Channel(r.Channel)
	if err := s.node.join(ctx, key, s); err != nil {
		s.node.leave(key, s)
		s.refuse(r.ID, codeUnavailable, "the bus is down; subscribe again later")
		return
	}
	s.channels[r.Channel] = struct{}{}
	s.send(frame{payload: okFrame(r.ID, r.Channel)})
}

func (s *session) unsubscribe(r *request) {
	if _, ok := s.channels[r.Channel]; !ok {
		s.refuse(r.ID, codeNotFound, "not subscribed to this channel")
		return
	}
	delete(s.channels, r.Channel)
	s.node.leave(s.node.keys.Channel(r.Channel), s)
	s.send(frame{payload: okFrame(r.ID, r.Channel)})
}

func (s *session) refresh(ctx context.Context, r *request) {
	if _, f := s.ticket.Refresh(ctx, r.Token); f != nil {
		s.refused(r.ID, f)
		return
	}
	s.mu.Lock()
	s.setExpiry()
	s.mu.Unlock()
	s.send(frame{payload: okFrame(r.ID, "")})
}

func (s *session) envelope(kind string) *bus.Inbound {
	s.sequence++
	return &bus.Inbound{
		V: bus.Version, ID: s.id + "-" + strconv.FormatUint(s.sequence, 10), Type: kind, Connection: s.id,
		User: s.user, Claims: s.claims, ReplyTo: s.node.replyTo, Time: time.Now().UTC(),
	}
}

// announce tells the service of a connect or a disconnect. It reaches whoever listens; nobody is owed it.
func (s *session) announce(ctx context.Context, kind string, code websocket.StatusCode) {
	m := s.envelope(kind)
	m.Code = int(code)
	payload, err := json.Marshal(m)
	if err != nil {
		return
	}
	if s.route.atLeastOnce {
		_ = s.node.bus.Enqueue(ctx, s.node.keys.Queue(s.route.service), payload)
		return
	}
	_, _ = s.node.bus.Publish(ctx, s.node.keys.In(s.route.service), payload)
}

func (s *session) startTimers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setExpiry()
	s.ping = time.AfterFunc(s.route.pingInterval, s.pingNow)
}

// setExpiry closes the session when its identity ends. The caller holds the lock.
func (s *session) setExpiry() {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if exp := s.ticket.Identity.Expires; !exp.IsZero() && !s.ended {
		s.expiry = time.AfterFunc(time.Until(exp), func() { s.end(CloseTokenExpired, "the token has expired") })
	}
}

// postponePing puts the next ping off: a client that sends is alive.
func (s *session) postponePing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ping != nil && !s.ended && s.ping.Stop() {
		s.ping.Reset(s.route.pingInterval)
	}
}

// pingNow pings, and ends the session when no pong comes. It runs in the timer's own goroutine.
func (s *session) pingNow() {
	ctx, cancel := context.WithTimeout(context.Background(), s.route.pingTimeout)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		s.lost(CloseUnresponsive)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ping.Reset(s.route.pingInterval)
	}
}

// end closes the session with a code that the client gets, if it listens. It may wait for the client for some seconds.
func (s *session) end(code websocket.StatusCode, reason string) {
	s.closeCode.CompareAndSwap(0, int32(code))
	s.stopQueue()
	_ = s.conn.Close(code, reason)
}

// lost ends a session whose client does not answer any more.
func (s *session) lost(code websocket.StatusCode) {
	s.closeCode.CompareAndSwap(0, int32(code))
	_ = s.conn.CloseNow()
}

// finish undoes what serve did.
func (s *session) finish(code websocket.StatusCode) {
	s.stopQueue()
	s.mu.Lock()
	s.ended = true
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.ping.Stop()
	for _, p := range s.pending {
		p.timer.Stop()
	}
	clear(s.pending)
	s.mu.Unlock()
	for channel := range s.channels {
		s.node.leave(s.node.keys.Channel(channel), s)
	}
	if s.user != "" {
		s.node.leave(s.node.keys.User(s.user), s)
	}
	s.announce(context.Background(), bus.Disconnect, code)
	s.metrics.Closed(int(code))
	_ = s.conn.CloseNow()
}
