package wsbridge

import (
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// session is one client that is connected. One goroutine reads; everything else only queues frames for the client.
type session struct {
	node    *Node
	route   *Route
	conn    conn
	wire    wire
	id      string
	ticket  *admission.Ticket
	metrics Metrics
	user    string
	raw     bool
	// deflates says that permessage-deflate was agreed on.
	deflates bool
	opened   time.Duration // as uptime

	identity atomic.Pointer[auth.Identity] // the ticket's, for who has not the turn

	// turn is held by who acts for the client: the reading goroutine while it handles a frame, or another one that goes on
	// with what a frame has begun.
	turn     sync.Mutex
	claims   json.RawMessage
	info     *json.RawMessage // what the service has said of the connection, for those who see it in a channel
	channels map[string]*line // nil for those without history
	sequence uint64
	left     bool // the channels have been left, for good

	closeCode atomic.Int32 // why this side closes; 0 while it does not

	mu      sync.Mutex
	pending map[string]*pendingReply // by envelope id
	expiry  *time.Timer
	beat    *time.Timer
	pinged  time.Duration // when a ping was sent that nothing has come since, as uptime; 0 for none
	ended   bool
}

// conn is what a session's client is connected by: a *websocket.Conn or *events.
type conn interface {
	// Close tells the client why, and may wait for it for some seconds.
	Close(code websocket.StatusCode, reason string) error
	CloseNow() error
}

// messageBuffers hold a client's message while it is handled.
var messageBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// keptBuffer is the largest buffer that is kept for the next message.
const keptBuffer = 64 << 10

// lingering is how long a client that is being closed has to say its part.
const lingering = 5 * time.Second

// begin announces the session. It runs in the request's goroutine, whose stack is large and soon gone.
func (s *session) begin(ctx context.Context) {
	s.keepClaims()
	if s.user != "" {
		// Without Redis it is subscribed to once Redis is there.
		_ = s.node.join(ctx, s.node.keys.User(s.user), s)
	}
	s.mu.Lock()
	s.setExpiry()
	s.mu.Unlock()
	channels, ok := s.welcome(ctx)
	if !ok {
		return
	}
	s.assign(ctx, channels)
	s.startBeat()
	s.endIfRevoked()
}

func (s *session) keepClaims() {
	s.claims = nil
	s.identity.Store(s.ticket.Identity)
	if claims := s.ticket.Identity.Claims; claims != nil {
		if text, err := json.Marshal(claims); err == nil {
			s.claims = text
		}
	}
}

// serve reads until the session ends, and cleans up.
func (s *session) serve(conn *websocket.Conn) {
	// Without a deadline: silence is the timers' affair, and to end a read is to close the connection.
	ctx := context.Background()
	for {
		s.wire.await()
		kind, message, err := conn.Reader(ctx)
		if err == nil {
			err = s.take(ctx, kind, message)
		}
		if err != nil {
			s.finish(s.codeOf(err))
			return
		}
	}
}

// take reads one message and handles it.
func (s *session) take(ctx context.Context, kind websocket.MessageType, message io.Reader) (failed error) {
	defer func() {
		if s.panicked(recover()) {
			failed = websocket.CloseError{Code: websocket.StatusInternalError, Reason: panicReason}
		}
	}()
	buffer := messageBuffers.Get().(*[]byte)
	data, err := readAll(message, (*buffer)[:0])
	if cap(data) <= keptBuffer {
		*buffer = data
	}
	defer messageBuffers.Put(buffer)
	if err != nil {
		return err
	}
	if s.deflates && s.wire.broken.Load() {
		return io.ErrUnexpectedEOF // the library takes what came of a compressed message for all of it
	}
	s.metrics.MessageIn()
	s.turn.Lock()
	defer s.turn.Unlock()
	switch {
	case kind == websocket.MessageText && !utf8.Valid(data):
		return websocket.CloseError{Code: websocket.StatusInvalidFramePayloadData, Reason: "text is to be UTF-8"}
	case s.raw:
		s.rawMessage(ctx, kind, data)
	case kind != websocket.MessageText:
		return websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: "this subprotocol has text frames only"}
	default:
		s.handle(ctx, data)
	}
	return nil
}

const panicReason = "the gateway failed"

// panicked reports whether a recovered value is one, and logs it. As net/http has a handler's panic end one request, one that is
// over a session ends the session, and not the process with all the others.
func (s *session) panicked(recovered any) bool {
	if recovered == nil {
		return false
	}
	s.node.logger.Error("a session ended in a panic", "connection", s.id, "panic", recovered, "stack", string(debug.Stack()))
	return true
}

func readAll(r io.Reader, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// codeOf finds out how a session ended. Where the client is at fault it is told, and heard out: to close a connection
// with input unread would take the reason from it (RFC 9112 section 9.6 has the same of HTTP).
func (s *session) codeOf(err error) websocket.StatusCode {
	var fault websocket.CloseError
	switch {
	case s.closeCode.Load() != 0:
		return websocket.StatusCode(s.closeCode.Load())
	case s.wire.broken.Load():
		return websocket.StatusAbnormalClosure
	case s.wire.failed.Load():
		return CloseUnresponsive
	case errors.Is(err, websocket.ErrMessageTooBig):
		s.limited(limitMessageSize)
		fault = websocket.CloseError{Code: websocket.StatusMessageTooBig, Reason: "the message is too large"}
	case s.deflates && errors.As(err, new(flate.CorruptInputError)):
		fault = websocket.CloseError{Code: websocket.StatusInvalidFramePayloadData, Reason: "broken compression"}
	case errors.As(err, &fault):
		if s.closedByClient(err) {
			return fault.Code
		}
	default:
		fault = websocket.CloseError{Code: websocket.StatusProtocolError, Reason: "a broken frame"}
	}
	s.wire.hush()
	_ = s.wire.SetReadDeadline(time.Now().Add(lingering))
	_ = s.conn.Close(fault.Code, fault.Reason)
	return fault.Code
}

// closedByClient tells a close frame of the client's from one that take asks for: the library wraps the former.
func (s *session) closedByClient(err error) bool {
	_, own := err.(websocket.CloseError) //nolint:errorlint // the wrapping is what tells
	return !own
}

func (s *session) send(frame []byte) {
	if s.compresses(frame) {
		frame = deflateFrame(frame)
	}
	s.sendNow(frame)
}

func (s *session) sendNow(frame []byte) {
	if s.wire.sendNow(frame) {
		s.metrics.MessageOut()
	}
}

// sendToFew sends a frame that goes to few sessions, or else to many.
func (s *session) sendToFew(frame *shared, areFew bool) {
	if areFew {
		s.sendNow(frame.of(s))
	} else {
		s.sendLater(frame.of(s))
	}
}

// sendLater is sendNow for a frame that goes to many sessions.
func (s *session) sendLater(frame []byte) {
	if s.wire.send(frame) {
		s.metrics.MessageOut()
	}
}

func (s *session) limited(by limit) { s.metrics.Limited(string(by)) }

// overflow ends a session for which too much waits.
func (s *session) overflow() {
	s.limited(limitQueueSize)
	s.end(CloseSlowConsumer, "slow consumer: more waits than the queue holds")
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
	if !s.node.replies.Load() {
		return
	}
	m := s.envelope(kind)
	m.Code = int(code)
	_, _ = s.hand(ctx, m.Append(nil), false)
}

// end closes the session with a code that the client gets, if it listens. It may wait for the client for some seconds.
func (s *session) end(code websocket.StatusCode, reason string) {
	s.closeCode.CompareAndSwap(0, int32(code))
	s.wire.hush()
	_ = s.conn.Close(code, reason)
}

// lost ends a session whose client does not answer any more, at once.
func (s *session) lost(code websocket.StatusCode) {
	s.closeCode.CompareAndSwap(0, int32(code))
	s.wire.abort()
}

// finish undoes what begin and the client's frames did.
func (s *session) finish(code websocket.StatusCode) {
	s.wire.hush()
	s.mu.Lock()
	s.ended = true
	if s.expiry != nil {
		s.expiry.Stop()
	}
	if s.beat != nil {
		s.beat.Stop()
	}
	for _, p := range s.pending {
		p.timer.Stop()
	}
	s.pending = nil
	s.mu.Unlock()
	s.turn.Lock()
	s.left = true
	for channel, l := range s.channels {
		s.depart(channel, true)
		s.leaveChannel(channel, l)
	}
	s.turn.Unlock()
	if s.user != "" {
		s.node.leave(s.node.keys.User(s.user), s)
	}
	s.announce(context.Background(), bus.Disconnect, code)
	s.metrics.Closed(countedCode(code))
	_ = s.conn.CloseNow()
}

// countedCode is the code that a session's end is counted under: of the codes that clients may make up, each would make
// a series.
func countedCode(code websocket.StatusCode) int {
	switch {
	case code < 3000, code == CloseTokenExpired, code == CloseRevoked, code == CloseRefused, code == CloseDisconnected, code == CloseSlowConsumer, code == CloseUnresponsive, code == CloseDraining:
		return int(code)
	}
	return 3000
}
