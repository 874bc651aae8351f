package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// Pool is the backends of one upstream. Its methods are safe for concurrent use.
type Pool struct {
	name      string
	config    config.Upstream
	tls       *clientTLS
	endpoints []*endpoint
	turn      atomic.Uint32
	holders   atomic.Int32 // sets that have this pool
}

func open(cfg *config.Upstream, prev *Pool) (*Pool, error) {
	tls, err := loadTLS(cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	if prev != nil && config.Same(prev.config, *cfg) && prev.tls.same(tls) && prev.retain() {
		return prev, nil
	}
	p := &Pool{name: cfg.Name, config: *cfg, tls: tls}
	p.holders.Store(1)
	for _, address := range cfg.Endpoints {
		e, err := newEndpoint(address, cfg, tls)
		if err != nil {
			p.release()
			return nil, fmt.Errorf("upstream %s: endpoint %s: %w", cfg.Name, address, err)
		}
		p.endpoints = append(p.endpoints, e)
	}
	return p, nil
}

// retain counts one more holder, unless the last one has let go already.
func (p *Pool) retain() bool {
	for {
		n := p.holders.Load()
		if n == 0 {
			return false
		}
		if p.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *Pool) release() {
	if p.holders.Add(-1) > 0 {
		return
	}
	for _, e := range p.endpoints {
		e.close()
	}
}

// Name returns the upstream's name.
func (p *Pool) Name() string { return p.name }

// MaxMessageSize returns the most bytes that a backend's message may have.
func (p *Pool) MaxMessageSize() int64 { return int64(p.config.MaxMessageSize) }

// Call is one unary call: see unary.Call.
type Call = unary.Call

// Reply is what a unary call answers with. Its zero value is empty; it may be used again, by one call at a time, after
// Reset.
type Reply = unary.Reply

// Invoke makes a unary call. When a backend cannot be reached, or says that it has not begun with the call, the call
// goes to the next one. The error is a gRPC status.
func (p *Pool) Invoke(ctx context.Context, call *Call, reply *Reply) error {
	if d, ok := ctx.Deadline(); ok && (call.Deadline.IsZero() || d.Before(call.Deadline)) {
		call.Deadline = d
	}
	var last error
	for first, n := p.first(), 0; n < 2*len(p.endpoints); n++ {
		e := p.endpoints[(first+n)%len(p.endpoints)]
		l, c := e.line()
		// The first round is for those that are connected, so that no call waits for a backend that may not answer while
		// another is there; the second for all.
		if n < len(p.endpoints) && (c == nil || e.isDown()) {
			l.connect()
			continue
		}
		if c == nil {
			var err error
			if c, err = l.wait(ctx, call.Deadline); err != nil {
				if ended := callEnded(ctx, call); ended != nil {
					return ended
				}
				e.failed()
				last = err
				continue
			}
			e.downUntil.Store(0)
		}
		err := c.Invoke(ctx, call, reply)
		if !unary.NotSent(err) {
			return err
		}
		reply.Reset()
		last = err
	}
	return p.unreachable(last)
}

// callEnded is the status of a call that nobody waits for any more, nil for one that somebody does.
func callEnded(ctx context.Context, call *Call) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.ErrClientGone
	case ctx.Err() != nil, !call.Deadline.IsZero() && !time.Now().Before(call.Deadline):
		return fault.ErrDeadline
	}
	return nil
}

// NewStream opens a stream of a method. Its messages are mem.Buffers: SendMsg takes a mem.Buffer that stays the
// caller's, RecvMsg a *mem.Buffer, nil before the call, whose result the caller frees. The stream is given up when ctx
// ends, which it must, or when RecvMsg has returned an error.
func (p *Pool) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error) {
	var err error
	for first, n := p.first(), 0; n < 2*len(p.endpoints); n++ {
		e, c := p.at(first, n)
		if c == nil {
			continue
		}
		var s grpc.ClientStream
		if s, err = c.NewStream(ctx, desc, method); err == nil {
			return stream{s, ctx}, nil
		}
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return nil, callError(ctx, err)
		}
		e.failed()
	}
	return nil, p.unreachable(err)
}

// stream is a grpc.ClientStream whose errors are fit to be shown.
type stream struct {
	grpc.ClientStream
	call context.Context // the caller's; grpc-go ends its own with the stream
}

func (s stream) RecvMsg(m any) error { return callError(s.call, s.ClientStream.RecvMsg(m)) }
func (s stream) SendMsg(m any) error { return callError(s.call, s.ClientStream.SendMsg(m)) }

// FormatTimeout returns a duration as a value of grpc-timeout (PROTOCOL-HTTP2.md) for the headers of RoundTrip.
func FormatTimeout(d time.Duration) string { return string(unary.AppendTimeout(nil, d)) }

// RoundTrip passes an HTTP/2 request through to a backend and returns its answer, both untouched. Scheme and host of
// r.URL are set. When a backend cannot be connected to, the request goes to the next one.
func (p *Pool) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	if body != nil {
		r = r.WithContext(r.Context())
	}
	var err error
	for first, n := p.first(), 0; n < 2*len(p.endpoints); n++ {
		e, c := p.at(first, n)
		if c == nil {
			continue
		}
		r.URL.Scheme, r.URL.Host = e.scheme, e.address
		if body != nil {
			r.Body = &sentBody{body: body}
		}
		var answer *http.Response
		if answer, err = e.transport.RoundTrip(r); err == nil {
			return answer, nil
		}
		var failed *connectError
		if !errors.As(err, &failed) || r.Context().Err() != nil {
			return nil, err
		}
		e.failed()
	}
	return nil, p.unreachable(err)
}

// first returns whose turn it is.
func (p *Pool) first() int { return int(p.turn.Add(1) % uint32(len(p.endpoints))) }

// at returns the endpoint and the connection to try after n others, nil to pass them over. The first round is for
// those that are connected, so that no call waits for a backend that may not answer while another is there; the second
// for all.
func (p *Pool) at(first, n int) (*endpoint, *grpc.ClientConn) {
	e := p.endpoints[(first+n)%len(p.endpoints)]
	c, ready := e.conn()
	if n < len(p.endpoints) && (!ready || e.isDown()) {
		return e, nil
	}
	return e, c
}

// Watch calls ready each time a connection to a backend has come up, first for those that are up already, until ctx
// ends. It keeps connections from going idle meanwhile.
func (p *Pool) Watch(ctx context.Context, ready func()) {
	done := make(chan struct{})
	for _, e := range p.endpoints {
		go func() {
			defer func() { done <- struct{}{} }()
			e.watch(ctx, ready)
		}()
	}
	for range p.endpoints {
		<-done
	}
}

// Conn returns the pool as a connection of generated clients, such as that of server reflection.
func (p *Pool) Conn() grpc.ClientConnInterface { return conn{p} }

type conn struct{ p *Pool }

func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.p.anyConn().Invoke(ctx, method, args, reply, opts...)
}

func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.p.anyConn().NewStream(ctx, desc, method, opts...)
}

// anyConn returns a connection that is up, or else just the next one.
func (p *Pool) anyConn() *grpc.ClientConn {
	for first, n := p.first(), 0; ; n++ {
		if _, c := p.at(first, n); c != nil {
			return c
		}
	}
}

// downFor is how long a backend that could not be reached is passed over.
const downFor = time.Second
