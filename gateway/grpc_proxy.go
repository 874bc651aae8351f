package gateway

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/upstream"
)

// grpcProxy hands a native gRPC call to a backend and its answer back, bytes untouched: messages, compression,
// metadata and trailers pass as they came. Only hop-by-hop headers stay behind, and the deadline becomes the nearer
// of the caller's and the route's.
type grpcProxy struct {
	pool       *upstream.Pool
	timeout    time.Duration // 0 for none
	maxMessage int64
}

// isGRPC reports whether r is a call of the gRPC protocol itself (not gRPC-Web).
func isGRPC(r *http.Request) bool {
	if r.ProtoMajor != 2 || r.Method != http.MethodPost {
		return false
	}
	t := contentType(r)
	rest, ok := strings.CutPrefix(t, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

func contentType(r *http.Request) string {
	if v := r.Header["Content-Type"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// hopByHop are the headers that concern one connection only (RFC 9110 section 7.6.1). HTTP/2 has no others.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te"}

func (p *grpcProxy) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	timeout, err := transcoder.CallTimeout(r.Header, p.timeout)
	if err != nil {
		writeGRPCError(w, fault.New(fault.InvalidRequest, err.Error()))
		return
	}
	header := maps.Clone(r.Header)
	for _, name := range hopByHop {
		delete(header, name)
	}
	header.Set("Te", "trailers")
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, timeout)
		defer stop()
		header.Set("Grpc-Timeout", transcoder.FormatTimeout(timeout))
	}

	body := &frameLimiter{body: r.Body, max: p.maxMessage, over: cancel}
	out := (&http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath},
		Host:          r.Host,
		Header:        header,
		Body:          body,
		ContentLength: -1,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
	}).WithContext(ctx)
	answer, err := p.pool.RoundTrip(out)
	if err != nil {
		writeGRPCError(w, proxyFailure(ctx, body, err))
		return
	}
	defer answer.Body.Close()
	if ct := answer.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/grpc") {
		// PROTOCOL-HTTP2.md: a response that is no gRPC is read from its HTTP status.
		writeGRPCError(w, notGRPC(answer.StatusCode))
		return
	}
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	w.WriteHeader(answer.StatusCode)
	if _, trailersOnly := answer.Header["Grpc-Status"]; trailersOnly {
		return
	}
	// The headers go out at once: a stream's first message may be long in coming.
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	if err := copyFlushing(w, rc, answer.Body); err != nil {
		transcoder.SetGRPCStatus(h, http.TrailerPrefix, proxyFailure(ctx, body, err).GRPCStatus())
		return
	}
	for name, values := range answer.Trailer {
		h[http.TrailerPrefix+name] = values
	}
	if answer.Trailer["Grpc-Status"] == nil {
		transcoder.SetGRPCStatus(h, http.TrailerPrefix, fault.New(fault.UpstreamAnswerInvalid, "the backend ended the stream without a status").GRPCStatus())
	}
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// copyFlushing copies as bytes come, so that no message waits for the next one.
func copyFlushing(w io.Writer, rc *http.ResponseController, r io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
			if err := rc.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// proxyFailure says why a call ended without the backend's status.
func proxyFailure(ctx context.Context, body *frameLimiter, err error) *fault.Error {
	var own *fault.Error
	switch {
	case body.tooLarge():
		return errMessageTooLarge
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.DeadlineExceeded, "the deadline passed before the backend answered")
	case ctx.Err() != nil:
		return fault.New(fault.ClientGone, "the client went away")
	case errors.As(err, &own):
		return own
	}
	return fault.New(fault.UpstreamDisconnected, "the connection to the backend broke")
}

// grpcStatus returns the HTTP status that a gRPC answer's own status amounts to, for metrics and logs: on the wire every
// gRPC answer is 200.
func grpcStatus(h http.Header, answered int) int {
	for _, name := range []string{"Grpc-Status", http.TrailerPrefix + "Grpc-Status"} {
		if v := h[name]; len(v) > 0 {
			if code, err := strconv.ParseUint(v[0], 10, 32); err == nil {
				return transcoder.HTTPStatus(codes.Code(code))
			}
		}
	}
	return answered
}
