package wsbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// SessionHeader names the session that a POST is of.
	SessionHeader = "Crossgate-Session"
	// SequenceHeader counts the POSTs of a session from 1, so that one which is sent again is taken once.
	SequenceHeader = "Crossgate-Sequence"
)

// maxPost is how large the body of a POST may be where a single message may not be larger.
const maxPost = 1 << 20

// maxHandedOver is how large a body may be that goes to another node, in base64.
const maxHandedOver = bus.MaxPayload/4*3 - 64<<10

var (
	errTooLargeToHand = fault.New(fault.MessageTooLarge, "the session is another node's, which takes less at a time")

	errNoSession    = fault.New(fault.SessionNotFound, "there is no such session (any more)")
	errOtherUser    = fault.New(fault.PermissionDenied, "the session is another user's")
	errNode         = fault.New(fault.DeadlineExceeded, "the session's node did not answer; send it again")
	errBusDown      = fault.New(fault.StoreUnavailable, "the session is another node's, which cannot be reached now; send it again")
	errPanic        = fault.New(fault.Internal, panicReason)
	errPostTooLarge = fault.New(fault.MessageTooLarge, "the body is larger than 1 MiB or the route's max_message_size")
)

// Post takes what a client of an event stream sends, on whichever node the stream is. An error has not been written.
func (n *Node) Post(w http.ResponseWriter, r *http.Request, ticket *admission.Ticket, route *Route) *fault.Error {
	if !route.origins.Allow(r) {
		return errOrigin
	}
	p, e := readPost(w, r, route)
	if e != nil {
		return e
	}
	p.Type, p.Route, p.User, p.Provider = bus.Post, route.name, ticket.Identity.User, ticket.Identity.Provider
	switch node := nodeOf(p.Session); node {
	case "":
		e = errNoSession
	case n.name:
		e = n.post(p)
	default:
		e = n.handOver(r.Context(), node, p)
	}
	if e == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return e
}

func readPost(w http.ResponseWriter, r *http.Request, route *Route) (*bus.Control, *fault.Error) {
	p := &bus.Control{}
	names := r.Header[SessionHeader]
	if len(names) != 1 {
		return nil, fault.New(fault.InvalidRequest, "expected one header "+SessionHeader)
	}
	p.Session = names[0]
	if values := r.Header[SequenceHeader]; len(values) > 0 {
		n, err := strconv.ParseUint(values[0], 10, 63)
		if len(values) > 1 || err != nil || n == 0 {
			return nil, fault.New(fault.InvalidRequest, SequenceHeader+": expected a number from 1")
		}
		p.Sequence = n
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/json", "application/x-ndjson":
	default:
		// A page of another origin may send other kinds without asking first (Fetch standard, CORS-safelisted request headers).
		return nil, fault.New(fault.UnsupportedMediaType, "content-type: expected application/json or application/x-ndjson")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, fault.New(fault.UnsupportedMediaType, "content-encoding: expected none")
	}
	limit := max(maxPost, route.maxMessage)
	if r.ContentLength > limit {
		return nil, errPostTooLarge
	}
	timed := &transcoder.TimedBody{Request: r, Writer: w, Deadline: time.Now().Add(route.pingTimeout)}
	defer timed.Release()
	data, err := readAll(http.MaxBytesReader(w, io.NopCloser(timed), limit), make([]byte, 0, max(0, min(r.ContentLength, maxPost))+1))
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return nil, own
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, errPostTooLarge
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || r.Context().Err() != nil {
			return nil, fault.ErrClientGone
		}
		return nil, &fault.Error{Reason: fault.InvalidRequest, Message: "the body could not be read", Cause: err}
	}
	body := bytes.TrimSpace(data)
	if len(body) == 0 || !utf8.Valid(body) {
		return nil, fault.New(fault.InvalidRequest, "the body: expected a message, in UTF-8")
	}
	p.DataBase64 = body
	return p, nil
}

// post has a session of this node take what was sent to it: all of it, or nothing.
func (n *Node) post(p *bus.Control) (failed *fault.Error) {
	n.mu.RLock()
	s := n.streams[p.Session]
	n.mu.RUnlock()
	if s == nil || s.route.name != p.Route {
		return errNoSession
	}
	defer func() {
		if s.panicked(recover()) {
			failed = errPanic
		}
	}()
	e := s.events()
	<-e.begun
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.left {
		return errNoSession
	}
	if id := s.identity.Load(); id.User != p.User || id.Provider != p.Provider {
		return errOtherUser
	}
	messages := splitPost(p.DataBase64)
	for _, m := range messages {
		if int64(len(m)) > s.route.maxMessage {
			s.limited(limitMessageSize)
			return fault.New(fault.MessageTooLarge, "a message is larger than the route's max_message_size")
		}
	}
	if p.Sequence != 0 {
		if p.Sequence <= e.posted {
			return nil // it was taken
		}
		if p.Sequence > e.posted+1 {
			return fault.Errorf(fault.SequenceGap, "%s: expected %d", SequenceHeader, e.posted+1)
		}
	}
	e.posted = max(e.posted, p.Sequence)
	for _, m := range messages {
		if s.wire.ended() {
			return nil // such as by what the answers to so many messages come to
		}
		s.metrics.MessageIn()
		// As for WebSocket, what was begun is not given up because the client goes away.
		s.handle(context.Background(), m)
	}
	return nil
}

// splitPost returns the messages of a body: it is one, or has one on each line.
func splitPost(body []byte) [][]byte {
	if json.Valid(body) {
		return [][]byte{body}
	}
	var list [][]byte
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			list = append(list, line)
		}
	}
	return list
}

// handOver has another node take a POST: balancers spread the requests of a client.
func (n *Node) handOver(ctx context.Context, node string, p *bus.Control) *fault.Error {
	if len(p.DataBase64) > maxHandedOver {
		return errTooLargeToHand
	}
	answers, missing, err := n.ask(ctx, n.keys.Peer(node), *p, func(*bus.Control) bool { return true })
	switch {
	case err != nil:
		return errBusDown
	case missing > 0:
		return errNode
	case len(answers) == 0:
		return errNoSession // nor is there such a node
	case answers[0].Fault == "":
		return nil
	}
	for _, r := range fault.All() {
		if r.String() == answers[0].Fault {
			return fault.New(r, answers[0].Message)
		}
	}
	return fault.New(fault.Internal, "the session's node refused")
}

// handed takes a POST that came to another node.
func (n *Node) handed(c *bus.Control) bus.Control {
	if e := n.post(c); e != nil {
		return bus.Control{Fault: e.Reason.String(), Message: e.Message}
	}
	return bus.Control{}
}
