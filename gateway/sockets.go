package gateway

import (
	"context"
	"sync"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// sockets counts the gRPC calls that WebSockets carry, and the upgraded connections of http routes: net/http does not wait for connections that it has handed over.
type sockets struct {
	life context.Context // of every such call
	end  context.CancelFunc

	mu     sync.Mutex
	open   sync.WaitGroup
	closed bool // no more are taken
}

func newSockets() *sockets {
	s := new(sockets)
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// enter counts one more call, unless the gateway is going away.
func (s *sockets) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open.Add(1)
	}
	return !s.closed
}

func (s *sockets) leave() { s.open.Done() }

// drain takes no more calls, waits for those there are until ctx ends, and then ends them.
func (s *sockets) drain(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.end)
	defer stop()
	s.open.Wait()
}

// close ends every call.
func (s *sockets) close() {
	s.end()
	s.drain(s.life)
}

// serveSocket answers an upgrade with a call of a gRPC method.
func serveSocket(s *transcoder.Socket, origins admission.Origins, metrics socketMetrics, all *sockets) func(*exchange) {
	return func(x *exchange) {
		if !origins.Allow(x.r) {
			x.fail(fault.New(fault.PermissionDenied, "this origin may not connect"))
			return
		}
		if !all.enter() {
			x.fail(fault.ErrShuttingDown)
			return
		}
		defer all.leave()
		s.Serve(&x.w, x.r, x.ticket.Vars, transcoder.SocketCall{Admit: x.admitMessage, Metrics: callMetrics{metrics, x}, Life: all.life})
	}
}

// admitMessage charges one message of a call over a WebSocket.
func (x *exchange) admitMessage(ctx context.Context) error {
	f := x.ticket.AdmitMessage(ctx, x.id)
	if x.ticket.Noted {
		noteLimits(x.target.route.metrics, x.ticket.Limits)
	}
	if f == nil {
		return nil
	}
	x.target.route.metrics.Refused(refusalOf(f.Kind))
	return faultOf(f)
}

// callMetrics note how the call of an exchange was closed.
type callMetrics struct {
	socketMetrics
	exchange *exchange
}

// Closed is called in the exchange's goroutine.
func (m callMetrics) Closed(code int) {
	m.exchange.closed = code
	m.socketMetrics.Closed(code)
}
