package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/upstream"
)

// call is one call of a client and what becomes of it at the backend, where it is gRPC whatever the client speaks.
type call struct {
	handler *Handler
	w       http.ResponseWriter
	rc      *http.ResponseController
	r       *http.Request
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration // 0 for none
	stop    context.CancelFunc

	deadline time.Time              // zero for none
	body     *transcoder.DuplexBody // nil where the request's body is not read while an answer is written
	answer   *http.Response
}

// begin starts a call. Its deadline is the nearer of the caller's and the route's.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, timeout time.Duration) *call {
	c := &call{handler: h, w: w, rc: http.NewResponseController(w), r: r, timeout: timeout, stop: func() {}}
	c.ctx, c.cancel = context.WithCancelCause(r.Context())
	if timeout > 0 {
		c.deadline = time.Now().Add(timeout)
		c.ctx, c.stop = context.WithDeadline(c.ctx, c.deadline.Add(deadlineGrace))
	}
	return c
}

// duplex returns the request's body to be sent while an answer is written.
func (c *call) duplex() io.ReadCloser {
	c.body, c.w = transcoder.NewDuplexBody(c.w, c.r)
	c.rc = http.NewResponseController(c.w)
	return c.body
}

// end lets go of everything.
func (c *call) end() {
	c.cancel(context.Canceled)
	c.stop()
	if c.answer != nil {
		_ = c.answer.Body.Close()
	}
	if c.body != nil {
		c.body.End()
	}
}

// fail gives the call up for a reason of ours.
func (c *call) fail(why error) { c.cancel(transcoder.AsStatus(why)) }

// send makes the call. It returns nil when the backend has answered in gRPC.
func (c *call) send(header http.Header, body io.ReadCloser) error {
	header["Te"] = teTrailers
	delete(header, "Grpc-Timeout")
	if c.timeout > 0 {
		header["Grpc-Timeout"] = []string{upstream.FormatTimeout(c.timeout)}
	}
	answer, err := c.roundTrip(header, body)
	if err != nil {
		return c.failure(err)
	}
	c.answer = answer
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc") {
		e := fault.Errorf(fault.UpstreamAnswerInvalid, "the backend answered HTTP %d without gRPC", answer.StatusCode)
		e.Code = fault.CodeOfHTTP(answer.StatusCode)
		return e
	}
	return nil
}

// roundTrip asks the backend, with messages that hold to the method's rules.
func (c *call) roundTrip(header http.Header, body io.ReadCloser) (*http.Response, error) {
	if c.handler.options.Rules != nil {
		rest := &checked{ReadCloser: body, call: c, encoding: header.Get("Grpc-Encoding")}
		// A stream's first message may be long in coming, and the backend may be the one to begin.
		if !c.handler.method.Descriptor.IsStreamingClient() {
			if err := rest.first(); err != nil {
				return nil, err
			}
		}
		body = rest
	}
	return c.handler.options.Backend.RoundTrip((&http.Request{
		Method:        http.MethodPost,
		URL:           &url.URL{Path: c.r.URL.Path, RawPath: c.r.URL.RawPath},
		Host:          c.r.Host,
		Header:        header,
		Body:          body,
		ContentLength: -1,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
	}).WithContext(c.ctx))
}

var teTrailers = []string{"trailers"}

// failure says why a call ended without the backend's status.
func (c *call) failure(err error) error {
	if own, ok := errors.AsType[*fault.Error](context.Cause(c.ctx)); ok {
		return own
	}
	switch {
	case errors.Is(c.ctx.Err(), context.DeadlineExceeded), c.timeout > 0 && time.Until(c.deadline) < deadlineSlack:
		return fault.ErrDeadline
	case c.ctx.Err() != nil:
		return fault.ErrClientGone
	}
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	return fault.ErrDisconnected
}

const (
	// deadlineGrace is how much longer than the deadline that it was told a backend is waited for: what it says of a
	// missed deadline says more than what we can.
	deadlineGrace = 50 * time.Millisecond
	// deadlineSlack is how much sooner than ours a backend's clock may find that the same deadline has passed. It then
	// resets the stream.
	deadlineSlack = 20 * time.Millisecond
)

// header returns the request headers that are metadata. Those that are about the connection to the client or the
// message on it stay behind.
func (c *call) header() http.Header {
	header := make(http.Header, len(c.r.Header)+2)
	for name, values := range c.r.Header {
		if !isOfHop(name) && !isOfMessage(name) {
			header[name] = values
		}
	}
	// In HTTP/1.1 there may be more such names (RFC 9110 section 7.6.1).
	for _, line := range c.r.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(header, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	return header
}

// isOfHop reports headers that concern one connection only (RFC 9110 section 7.6.1).
func isOfHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te":
		return true
	}
	return false
}

// isOfMessage reports headers that say how a message stands in HTTP or in a protocol. Each protocol has its own.
func isOfMessage(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Expect", "Trailer", "X-Grpc-Web":
		return true
	}
	for _, prefix := range [...]string{"Content-", "Grpc-", "Connect-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// trailersOnly reports whether the backend's answer is a status alone (PROTOCOL-HTTP2.md, Trailers-Only).
func (c *call) trailersOnly() bool {
	_, only := c.answer.Header["Grpc-Status"]
	return only
}

// trailer returns what ended the call at the backend, as trailers. err is how reading the answer ended.
func (c *call) trailer(err error) http.Header {
	switch {
	case err != nil:
		return trailerOf(c.failure(err))
	case c.trailersOnly():
		only := make(http.Header, len(c.answer.Header))
		for name, values := range c.answer.Header {
			if !isOfHop(name) && !isOfAnswer(name) && name != "Grpc-Encoding" && name != "Grpc-Accept-Encoding" {
				only[name] = values
			}
		}
		return only
	case c.answer.Trailer["Grpc-Status"] == nil:
		return trailerOf(fault.New(fault.UpstreamAnswerInvalid, "the backend ended the stream without a status"))
	}
	return c.answer.Trailer
}

// relay hands the answer's body on as it comes, so that no message waits for the next one.
func (c *call) relay(take func([]byte) error) error {
	buf := transcoder.NewPiece()
	lost := false
	defer func() {
		if !lost { // else HTTP/2's server may still be reading what it could not write
			buf.Release()
		}
	}()
	for pieces := 0; ; pieces++ {
		if pieces == 1 { // the answers of most calls are one, whose write does not wait
			defer transcoder.LimitWrites(c.ctx, c.rc)()
		}
		n, err := c.answer.Body.Read(buf[:])
		if n > 0 {
			if err := take(buf[:n]); err != nil {
				lost = true
				return err
			}
			if err := c.rc.Flush(); err != nil {
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

// returnHeader makes response headers of the backend's header metadata, of gRPC's own fields too where the client knows
// them. What this gateway has said already stays, and who may read the answer in a browser is the route's to say.
func (c *call) returnHeader(grpc bool) {
	to := c.w.Header()
	for name, values := range c.answer.Header {
		switch {
		case isOfHop(name), isOfAnswer(name), strings.HasPrefix(name, "Access-Control-"), !grpc && isGRPC(name):
		case name == "Vary":
			to[name] = append(to[name], values...)
		case to[name] == nil:
			to[name] = values
		}
	}
}

// isOfAnswer reports headers of an answer that this gateway's own has anew.
func isOfAnswer(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Trailer", "Date":
		return true
	}
	return false
}
