package transcoder

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// The subprotocols by which a client says how the answers of a method come: as JSON in text frames, or as protobuf in
// binary ones. Without either they come as the client's own frames do.
const (
	SubprotocolJSON  = "crossgate.grpc.v1.json"
	SubprotocolProto = "crossgate.grpc.v1.proto"
)

// SocketOptions are a route's choices for methods behind a WebSocket.
type SocketOptions struct {
	// PingInterval is how often a client is pinged, PingTimeout how long it has to answer.
	PingInterval, PingTimeout time.Duration
}

// Socket is a gRPC method, of any kind, behind a WebSocket: each frame is a message, and the closing frame the status.
// It is immutable and safe for concurrent use.
type Socket struct {
	method  *Method
	options SocketOptions
	desc    *grpc.StreamDesc
	// Of frames that are protobuf, where a binding's path has variables: they become JSON, beside which those belong.
	whole   codec.Request
	printer codec.Response
}

// CompileSocket compiles a method behind a WebSocket at the path of a binding, or at the method's own path, whose binding
// has the whole message as the body.
func CompileSocket(d *descriptors.Method, b descriptors.Binding, o Options, so SocketOptions) (*Socket, error) {
	compile := Compile
	if b.Template == d.FullMethod {
		compile = func(d *descriptors.Method, _ descriptors.Binding, o Options) (*Method, error) {
			return CompileRPC(d, o)
		}
	}
	m, err := compile(d, b, o)
	if err != nil {
		return nil, err
	}
	s := &Socket{method: m, options: so, desc: m.stream}
	if s.desc == nil {
		s.desc = &grpc.StreamDesc{StreamName: string(d.Descriptor.Name())}
	}
	input := d.Descriptor.Input()
	if s.whole, err = m.options.Codec.CompileRequest(input, "*", m.options.JSON); err != nil {
		return nil, err
	}
	s.printer, err = m.options.Codec.CompileResponse(input, "", codec.Options{Resolver: m.options.JSON.Resolver})
	return s, err
}

// WithBackend returns the socket as another backend serves it. They share what is compiled.
func (s *Socket) WithBackend(b Backend) *Socket {
	other := *s
	other.method = s.method.WithBackend(b)
	return &other
}

// SocketMetrics counts for a route.
type SocketMetrics interface {
	Opened()
	Closed(code int)
	MessageIn()
	MessageOut()
}

// SocketCall is what one call over a WebSocket is given.
type SocketCall struct {
	// Admit decides about each message of the client's, one at a time.
	Admit   func(context.Context) error
	Metrics SocketMetrics
	// Life ends when the gateway goes away.
	Life context.Context
}

// Serve upgrades a request and serves the call to its end. Whoever calls it has checked the Origin.
func (s *Socket) Serve(w http.ResponseWriter, r *http.Request, vars routing.Vars, o SocketCall) {
	m := s.method
	timeout, err := CallTimeout(r.Header, m.options.Timeout)
	if err != nil {
		m.fail(w, r, &codec.Error{Reason: err.Error()})
		return
	}
	ctx, stop, err := m.callContext(r, timeout)
	defer stop()
	if err != nil {
		m.fail(w, r, err)
		return
	}
	params, err := m.params(nil, vars, r.URL.RawQuery, nil)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	first := make(chan []byte, 1)
	if !m.hasBody {
		// The request is whole already, and if it is none, then this is a plain HTTP error.
		wire, err := asMessage(m.appendRequest(nil, r, nil, params))
		if err != nil {
			m.fail(w, r, err)
			return
		}
		first <- wire
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{SubprotocolJSON, SubprotocolProto},
		InsecureSkipVerify: true, // the origin was checked, by the route's own rules
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	// What is too large is refused with a status, not by the library.
	conn.SetReadLimit(-1)
	c := &socketCall{Socket: s, given: o, conn: conn, params: params, first: first}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.binary.Store(conn.Subprotocol() == SubprotocolProto)
	c.fixed = conn.Subprotocol() != ""
	c.complete = !m.hasBody
	o.Metrics.Opened()
	o.Metrics.Closed(int(c.serve()))
}

var (
	errOneMessage = fault.New(fault.InvalidRequest, "the method takes one message, before the empty frame that ends the requests")
	errNoMessage  = fault.New(fault.InvalidRequest, "the path and the query are the whole message; expected no frames but the empty one")
	errAfterEnd   = fault.New(fault.InvalidRequest, "a message came after the one that ended the requests")
)
