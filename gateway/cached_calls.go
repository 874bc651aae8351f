package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
	"github.com/crossgate/crossgate/upstream"
)

// cachedCalls are the unary calls of a method without side effects, whose answers are kept. Whatever protocol clients speak, they
// are asked for, and kept, as native gRPC has them, so that one is for all of them.
type cachedCalls struct {
	cached
	handler   *rpc.Handler
	backend   rpc.Backend
	maxAnswer int64
	timeout   time.Duration
	rest      func(*exchange) // what answers other requests
}

// overCalls returns what answers calls from what is kept of a pool's answers to one method, and others by rest.
func (k *kept) overCalls(p *upstream.Pool, h *rpc.Handler, b rpc.Backend, timeout time.Duration, rest func(*exchange)) func(*exchange) {
	c := &cachedCalls{handler: h, backend: b, maxAnswer: p.MaxMessageSize(), timeout: timeout, rest: rest}
	c.cached = cached{kept: k, upstream: p.Name(), serve: func(x *exchange) { x.code = h.Serve(&x.w, x.r, rpc.GRPC) }}
	return c.answer
}

func (c *cachedCalls) answer(x *exchange) {
	switch x.protocol {
	case rpc.GRPC:
		c.native(x)
	case rpc.GRPCWeb, rpc.GRPCWebText, rpc.Connect:
		// What changes the protocol stays as it is, and finds what is kept where the backend would be.
		x.code = c.handler.WithBackend(&asBackend{x, c}, c.maxAnswer).Serve(&x.w, x.r, x.protocol)
	default:
		c.rest(x)
	}
}

// native answers a call of gRPC.
func (c *cachedCalls) native(x *exchange) {
	timeout, err := transcoder.CallTimeout(x.r.Header, c.timeout)
	if err != nil || x.r.ProtoMajor < 2 || !rpc.IsProto(x.r.Header) {
		c.serve(x)
		return
	}
	deadline := deadlineIn(timeout)
	if !deadline.IsZero() {
		// A call of which no byte comes must end, too. It need not be lifted again: it is the call's.
		_ = http.NewResponseController(&x.w).SetReadDeadline(deadline)
	}
	frame, whole, err := rpc.ReadMessage(x.message[:0], x.r.Body, maxAsked)
	x.message = frame
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.fail(fault.ErrDeadline)
		return
	case !whole:
		x.r.Body = again(frame, x.r.Body, err)
		c.serve(x)
		return
	}
	if e := c.ask(x, &x.w, x.r, cache.Request{Message: frame, Call: true, Deadline: deadline}); e != nil {
		x.fail(e)
		return
	}
	x.code = codeOfCall(x.w.Header())
}

// deadlineIn is when a timeout, 0 for none, is over.
func deadlineIn(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

// codeOfCall returns how a call ended that was answered by a header.
func codeOfCall(h http.Header) codes.Code {
	for _, name := range [...]string{http.TrailerPrefix + "Grpc-Status", "Grpc-Status"} {
		if values := h[name]; len(values) > 0 {
			return fault.CodeOfStatus(values[0])
		}
	}
	return codes.Unknown
}

// again is a body of which the beginning has been read, and then err met, if it is one.
func again(begun []byte, rest io.ReadCloser, err error) io.ReadCloser {
	return &peeked{bytes.Clone(begun), rest, err}
}

// asBackend is what is kept as a call of another protocol than gRPC finds it. It implements rpc.Backend.
type asBackend struct {
	x     *exchange
	calls *cachedCalls
}

// RoundTrip implements rpc.Backend.
func (b *asBackend) RoundTrip(r *http.Request) (*http.Response, error) {
	x, c := b.x, b.calls
	if !rpc.IsProto(r.Header) {
		return c.backend.RoundTrip(r)
	}
	frame, whole, err := b.read(r)
	if x.message = frame; !whole {
		r.Body = again(frame, r.Body, err)
		return c.backend.RoundTrip(r)
	}
	timeout, _ := transcoder.CallTimeout(r.Header, 0) // which is there where there is one, and sound
	r.TLS, r.RemoteAddr = x.r.TLS, x.r.RemoteAddr
	w := &memory{header: http.Header{}, most: c.maxAnswer}
	if e := c.ask(x, w, r, cache.Request{Message: frame, Call: true, Deadline: deadlineIn(timeout)}); e != nil {
		return nil, e
	}
	return w.response()
}

// read reads the call's one message, and that the body ends after it.
func (b *asBackend) read(r *http.Request) (frame []byte, whole bool, err error) {
	if deadline, limited := r.Context().Deadline(); limited && b.x.protocol != rpc.Connect { // whose message has been read
		// The deadline is the context's, which ends no read.
		rc := http.NewResponseController(&b.x.w)
		_ = rc.SetReadDeadline(deadline)
		defer func() {
			if err == nil {
				_ = rc.SetReadDeadline(time.Time{})
			}
		}()
	}
	if frame, whole, err = rpc.ReadMessage(b.x.message[:0], r.Body, maxAsked); !whole {
		return frame, false, err
	}
	var more [1]byte
	n, err := io.ReadFull(r.Body, more[:])
	if errors.Is(err, io.EOF) {
		return frame, true, nil
	}
	return append(frame, more[:n]...), false, err
}

// memory is an answer to a call that is put together before it goes on.
type memory struct {
	header http.Header
	status int
	body   []byte
	most   int64 // bytes of its message
	over   bool
}

func (w *memory) Header() http.Header { return w.header }

func (w *memory) WriteHeader(status int) { w.status = status }

func (w *memory) Write(b []byte) (int, error) {
	if int64(len(w.body)+len(b)) > w.most+rpc.PrefixSize {
		w.over = true
		return 0, fault.ErrAnswerTooLarge
	}
	w.body = append(w.body, b...)
	return len(b), nil
}

// FlushError is what http.ResponseController calls.
func (w *memory) FlushError() error { return nil }

func (w *memory) response() (*http.Response, error) {
	if w.over {
		return nil, fault.ErrAnswerTooLarge
	}
	r := &http.Response{StatusCode: w.status, Header: w.header, Trailer: http.Header{}, Body: io.NopCloser(bytes.NewReader(w.body))}
	for name, values := range w.header {
		if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			r.Trailer[trailer] = values
			delete(w.header, name)
		}
	}
	return r, nil
}
