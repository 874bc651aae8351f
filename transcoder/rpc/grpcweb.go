package rpc

import (
	"encoding/base64"
	"math"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// serveGRPCWeb serves a call of gRPC-Web (PROTOCOL-WEB.md): gRPC whose trailers are the body's last frame, and all of
// whose body may be in base64. It needs no HTTP/2 and so no browser's help.
func (h *Handler) serveGRPCWeb(w http.ResponseWriter, r *http.Request) codes.Code {
	a := newWebAnswer(w, r)
	timeout, err := transcoder.CallTimeout(r.Header, h.options.Timeout)
	if err != nil {
		return a.refuse(fault.New(fault.InvalidRequest, err.Error()))
	}
	c := h.begin(w, r, timeout)
	defer c.end()
	p, codec := parseContentType(r.Header["Content-Type"][0])
	header := c.header()
	header["Content-Type"] = []string{"application/grpc"}
	if codec != "" {
		header["Content-Type"][0] += "+" + codec
	}
	for _, name := range [...]string{"Grpc-Encoding", "Grpc-Accept-Encoding"} {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	sent := c.duplex()
	a.w = c.w
	body := &passing{Reader: sent, Closer: sent, call: c, frames: frames{max: h.options.MaxMessage, known: flagCompressed}, strict: true}
	if p == GRPCWebText {
		body.Reader = newBase64Body(sent, c.fail)
	}
	if err := c.send(header, body); err != nil {
		return a.refuse(err)
	}
	if c.trailersOnly() {
		return a.end(c.trailer(nil))
	}
	c.returnHeader(true)
	a.begin()
	if c.rc.Flush() != nil {
		return codes.Canceled
	}
	answered := frames{max: math.MaxUint32, known: 0xff}
	err = c.relay(func(b []byte) error {
		answered.scan(b)
		return a.write(b)
	})
	trailer := c.trailer(err)
	if !answered.whole() {
		// Whatever came next would be taken for the rest of the message.
		return codeOf(trailer)
	}
	return a.end(trailer)
}

// webAnswer writes an answer of gRPC-Web, in base64 or not.
type webAnswer struct {
	w       http.ResponseWriter
	text    bool
	codec   string // "+proto", or nothing
	started bool
	buf     []byte
}

// newWebAnswer chooses what the client's Accept names, else what its request is in.
func newWebAnswer(w http.ResponseWriter, r *http.Request) *webAnswer {
	a := &webAnswer{w: w}
	if values := r.Header["Content-Type"]; len(values) > 0 {
		p, codec := parseContentType(values[0])
		a.text = p == GRPCWebText
		if codec != "" {
			a.codec = "+" + codec
		}
	}
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "application/grpc-web") {
			a.text = strings.Contains(accept, "application/grpc-web-text")
		}
	}
	return a
}

func (a *webAnswer) begin() {
	kind := "application/grpc-web"
	if a.text {
		kind = "application/grpc-web-text"
	}
	a.w.Header()["Content-Type"] = []string{kind + a.codec}
	a.w.WriteHeader(http.StatusOK)
	a.started = true
}

// write sends bytes of frames. In base64 each piece has its own padding, as PROTOCOL-WEB.md lets servers do, so that
// none waits for the next.
func (a *webAnswer) write(b []byte) error {
	if a.text {
		a.buf = base64.StdEncoding.AppendEncode(a.buf[:0], b)
		b = a.buf
	}
	_, err := a.w.Write(b)
	return err
}

// end sends the trailers, in a body of their own where nothing was sent before.
func (a *webAnswer) end(trailer http.Header) codes.Code {
	if !a.started {
		a.begin()
	}
	_ = a.write(appendTrailers(nil, trailer))
	return codeOf(trailer)
}

func (a *webAnswer) refuse(err error) codes.Code { return a.end(trailerOf(err)) }

// appendTrailers appends the frame that ends a body of gRPC-Web.
func appendTrailers(dst []byte, trailer http.Header) []byte {
	var block strings.Builder
	for name, values := range trailer {
		for _, v := range values {
			block.WriteString(strings.ToLower(name))
			block.WriteString(": ")
			block.WriteString(v)
			block.WriteString("\r\n")
		}
	}
	return append(appendPrefix(dst, flagTrailers, block.Len()), block.String()...)
}
