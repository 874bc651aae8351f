package proxy

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// exchange is one request on its way to the backend, and its answer on the way back. What a request needs of memory is in
// here, in one piece; the transport may hold on to it for longer than the request lasts, so it is not used again.
type exchange struct {
	handler *Handler
	call    *Call
	w       http.ResponseWriter
	r       *http.Request // the client's
	upgrade string        // what the client asks to upgrade to
	url     url.URL
	body    body
	trace   httptrace.ClientTrace
	values  [8]string // of headers, each a slice of one
	used    int
	lost    bool // a write of the answer failed

	mu       sync.Mutex
	answered bool // with the last answer, or given up
}

// one returns a header's values: just s.
func (x *exchange) one(s string) []string {
	if x.used == len(x.values) {
		return []string{s}
	}
	x.used++
	x.values[x.used-1] = s
	return x.values[x.used-1 : x.used : x.used]
}

// Serve passes a request on and its answer back. The error is what the caller is to be told; nothing was written then.
// Where the backend breaks off in the middle of its answer it panics with http.ErrAbortHandler, so that the client sees its
// connection or stream break off, too. r and its header are changed.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, call *Call) *fault.Error {
	call.request = r
	x := &exchange{handler: h, call: call, w: w, r: r}
	path, e := h.path(call.Path)
	switch {
	case e != nil:
		return e
	case badQuery(r.URL.RawQuery):
		return fault.New(fault.InvalidRequest, "the query has a space or a #, which must be percent-encoded")
	case r.Method == http.MethodTrace:
		// It would show the client what the gateway tells the backend (RFC 9110 section 9.3.8).
		return fault.New(fault.MethodNotAllowed, "TRACE is not passed on")
	case r.ContentLength > h.options.MaxBody:
		return errTooLarge
	}
	x.url.RawQuery, x.url.ForceQuery = r.URL.RawQuery, r.URL.ForceQuery
	if e := setPath(&x.url, path); e != nil {
		return e
	}
	ctx := r.Context()
	if h.options.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.options.Timeout)
		defer cancel()
	}
	out := r.WithContext(x.traced(ctx))
	out.URL, out.RequestURI, out.Close, out.TransferEncoding = &x.url, "", false, nil
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	if !h.keepHost {
		out.Host = h.host
	}
	x.header(out.Header)
	out.Body, out.ContentLength, out.Trailer = nil, 0, nil
	if r.ContentLength != 0 && r.Body != http.NoBody {
		x.body.left, x.body.request, x.body.handler = h.options.MaxBody, r, h
		out.Trailer = x.body.announce() // before anybody reads the body, which fills in r's
		duplex, to := transcoder.NewDuplexBody(w, r)
		defer duplex.End()
		x.w, x.body.from = to, duplex
		out.Body, out.ContentLength = &x.body, r.ContentLength
	}
	answer, err := h.options.Backend.RoundTrip(out)
	x.mu.Lock()
	x.answered = true
	x.mu.Unlock()
	if err != nil {
		return x.failure(ctx, err)
	}
	return x.answer(ctx, answer)
}

// header makes what the backend gets of what the client sent.
func (x *exchange) header(h http.Header) {
	x.upgrade = x.handler.upgradeOf(x.r)
	trailers := hasToken(h["Te"], "trailers")
	stripConnection(h)
	if !x.call.Trusted {
		DropOrigin(h)
	}
	x.handler.dropMistaken(h)
	if trailers {
		h["Te"] = trailersOnly
	}
	if x.upgrade != "" {
		h["Connection"], h["Upgrade"] = connectionUpgrade, x.one(x.upgrade)
	}
	h["X-Request-Id"] = x.one(x.call.RequestID)
	x.setOrigin(h)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or the transport would name itself
	}
	if via := x.handler.via; via != "" {
		h["Via"] = appendVia(h["Via"], x.r.ProtoMajor, x.r.ProtoMinor, via)
	}
	x.handler.request.apply(h, x.call)
}

var (
	trailersOnly      = []string{"trailers"}
	connectionUpgrade = []string{"Upgrade"}
)

// appendVia adds the protocol in which a message came and the name of who took it (RFC 9110 section 7.6.3).
func appendVia(values []string, major, minor int, name string) []string {
	version := "1.1"
	switch {
	case major == 2:
		version = "2"
	case minor == 0:
		version = "1.0"
	}
	return append(values[:len(values):len(values)], version+" "+name)
}

// traced has answers of status 1xx passed on as they come (RFC 9110 section 15.2).
func (x *exchange) traced(ctx context.Context) context.Context {
	if !x.r.ProtoAtLeast(1, 1) {
		return ctx
	}
	x.trace.Got1xxResponse = x.early
	return httptrace.WithClientTrace(ctx, &x.trace)
}

// early passes on an answer before the last one. 100 is not passed on but made: the server says it when the body is asked
// for, which the transport does when the backend has said it.
func (x *exchange) early(status int, header textproto.MIMEHeader) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered || status == http.StatusContinue {
		return nil
	}
	h := x.w.Header()
	mine := maps.Clone(h)
	clear(h)
	maps.Copy(h, header)
	stripConnection(h)
	x.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, mine)
	return nil
}
