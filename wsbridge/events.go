package wsbridge

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/fault"
)

// events is how a client without WebSocket is connected: what is sent to it goes down as an event stream (HTML standard,
// section 9.2), and what it sends comes up by POST.
type events struct {
	wire *wire
	// name is what its POSTs name the session by: this node, and what nobody can guess. The id will not do, which services and
	// other clients may know.
	name    string
	closing atomic.Bool
	begun   chan struct{} // closed once the session has begun: the first POST may come before
	posted  uint64        // the highest sequence that was taken; who acts for the client has it
}

// ServeEvents answers an admitted request with an event stream, and returns when the session has ended. An error has not been
// written.
func (n *Node) ServeEvents(w http.ResponseWriter, r *http.Request, ticket *admission.Ticket, route *Route, metrics Metrics) *fault.Error {
	s, e := n.newSession(r, ticket, route, metrics)
	if e != nil {
		return e
	}
	defer n.discount(s)
	down := newDownstream(w, route.pingTimeout)
	stream := &events{wire: &s.wire, name: n.name + "." + rand.Text(), begun: make(chan struct{})}
	s.conn, s.wire.Conn = stream, down
	n.addStream(stream.name, s)
	defer n.removeStream(stream.name)
	if err := down.begin(r.ProtoMajor == 1, stream.name); err != nil {
		s.left = true
		close(stream.begun)
		return nil
	}
	n.open(r.Context(), s)
	close(stream.begun)
	select {
	case <-down.closed:
	case <-r.Context().Done():
	}
	s.wire.hush()
	_ = s.wire.Close() // waits for a write, which knows more of the end
	code := websocket.StatusAbnormalClosure
	switch {
	case s.closeCode.Load() != 0:
		code = websocket.StatusCode(s.closeCode.Load())
	case down.late.Load():
		code = CloseUnresponsive
	}
	s.finish(code)
	n.remove(s)
	// What the server still has to write, the end of the body, must not wait for a client that does not read.
	_ = down.control.SetWriteDeadline(time.Now().Add(lastWrites))
	return nil
}

// events returns how the session is connected if that is without WebSocket, else nil.
func (s *session) events() *events {
	e, _ := s.conn.(*events)
	return e
}

// Close ends the stream with an event that says why.
func (e *events) Close(code websocket.StatusCode, reason string) error {
	if !e.closing.CompareAndSwap(false, true) {
		return nil
	}
	if _, err := e.wire.Write(closeFrame(code, reason)); err == nil {
		patience := time.NewTimer(lingering)
		defer patience.Stop()
		select {
		case <-e.wire.flushed():
		case <-patience.C:
		}
	}
	return e.wire.Close()
}

// CloseNow implements conn.
func (e *events) CloseNow() error { return e.wire.Close() }

// nodeOf returns the node that the name of a session names, "" for what is no such name.
func nodeOf(session string) string {
	node, _, _ := strings.Cut(session, ".")
	if uuid.Validate(node) != nil {
		return ""
	}
	return node
}

func (n *Node) addStream(name string, s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams == nil {
		n.streams = map[string]*session{}
	}
	n.streams[name] = s
}

func (n *Node) removeStream(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.streams, name)
}
