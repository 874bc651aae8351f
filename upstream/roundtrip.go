package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// FormatTimeout returns a duration as a value of grpc-timeout (PROTOCOL-HTTP2.md) for the headers of RoundTrip.
func FormatTimeout(d time.Duration) string { return string(unary.AppendTimeout(nil, d)) }

// RoundTrip passes a request through to a backend and returns its answer, both untouched: over HTTP/2 in a pool of
// protocol grpc, else as the upstream's http_version says. Scheme and host of r.URL are set. When a backend cannot be
// connected to, the request goes to the next one. A request that met a kept connection which the backend has closed is sent
// again on another if it is idempotent and has no body.
func (p *Pool) RoundTrip(r *http.Request) (*http.Response, error) {
	t := p.turn(r.Context())
	return t.roundTrip(r)
}

// roundTrip passes a request to the next endpoint that can be connected to, when the pool lets it in.
func (t *turn) roundTrip(r *http.Request) (*http.Response, error) {
	g := t.pool.gate
	if g != nil {
		if err := g.enter(r.Context(), deadlineOf(r.Context())); err != nil {
			return nil, err
		}
	}
	answer, err := t.pass(r, g)
	if err != nil && g != nil {
		g.leave(0, unjudged)
	}
	return answer, err
}

func (t *turn) pass(r *http.Request, g *gate) (*http.Response, error) {
	ctx, body := r.Context(), r.Body
	if body != nil {
		r = r.WithContext(ctx)
	}
	var last error
	for {
		e, anyway := t.next(ctx)
		if e == nil {
			return nil, t.pool.unreachable(last)
		}
		if !e.reachable() && !anyway {
			continue
		}
		ride, ok := e.take()
		if !ok {
			continue
		}
		r.URL.Scheme, r.URL.Host = e.scheme, e.address
		var sent *sentBody
		if body != nil {
			sent = &sentBody{body: body}
			r.Body = sent
		}
		answer, err := e.transportFor(r).RoundTrip(r)
		if err == nil {
			ride.judge(g, sent, outcomeOfHeaders(answer))
			ride.gate = g
			ride.follow(answer)
			return answer, nil
		}
		if failed := (*connectError)(nil); !errors.As(err, &failed) || ctx.Err() != nil {
			switch {
			case errors.Is(context.Cause(ctx), errTryTimeout):
				ride.judge(g, sent, endedByTimeout)
				ride.done(gatewayFailed)
			case ctx.Err() != nil:
				ride.judge(g, sent, outcomeOfContext(ctx))
				ride.done(outcomeOfContext(ctx))
			case sent.isBroken():
				ride.done(unjudged)
			default:
				ride.done(disconnected)
			}
			return nil, err
		}
		e.failed()
		ride.done(disconnected)
		last = err
	}
}

// judge has the gate learn how long the backend took since it had all of the request: what its caller takes to send it, and to
// read the answer, is not up to the backend.
func (r ride) judge(g *gate, sent *sentBody, o outcome) {
	if g == nil || g.adaptive == nil || o == unjudged {
		return
	}
	if from, whole := sent.since(r.start); whole {
		g.judge(time.Since(from), o)
	}
}

// follow counts an answer among the requests of its endpoint until its body has ended.
func (r ride) follow(answer *http.Response) {
	if !r.endpoint.tracked {
		return
	}
	b := &trackedBody{ReadCloser: answer.Body, ride: r, answer: answer}
	if w, ok := answer.Body.(io.Writer); ok { // of a connection that changes its protocol
		answer.Body = &trackedConn{b, w}
		return
	}
	answer.Body = b
}

// trackedBody is the body of an answer that counts among the requests of its endpoint.
type trackedBody struct {
	io.ReadCloser
	ride   ride
	answer *http.Response
	ended  atomic.Bool
}

// trackedConn is the body of an answer that can be written to.
type trackedConn struct {
	*trackedBody
	io.Writer
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.end(b.judge())
	case b.answer.Request.Context().Err() != nil:
		b.end(outcomeOfContext(b.answer.Request.Context()))
	default:
		b.end(disconnected)
	}
	return n, err
}

func (b *trackedBody) Close() error {
	err := b.ReadCloser.Close()
	o := b.judge()
	if o == succeeded && isGRPC(b.answer) {
		o = unjudged // the status was not read
	}
	b.end(o)
	return err
}

// judge returns what an answer amounts to that came to its end.
func (b *trackedBody) judge() outcome {
	if isGRPC(b.answer) {
		for _, h := range [...]http.Header{b.answer.Header, b.answer.Trailer} {
			if text := h.Get("Grpc-Status"); text != "" {
				code, err := strconv.ParseUint(text, 10, 32)
				if err != nil {
					return failed
				}
				return outcomeOfCode(codes.Code(code))
			}
		}
	}
	return outcomeOfHTTP(b.answer.StatusCode)
}

func (b *trackedBody) end(o outcome) {
	if !b.ended.Swap(true) {
		b.ride.done(o)
	}
}

func isGRPC(answer *http.Response) bool {
	return strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc")
}
