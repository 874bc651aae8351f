package cache

import (
	"encoding/binary"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
	"github.com/crossgate/crossgate/upstream"
)

// Answers to calls are kept as gRPC has them in HTTP/2: header, a message in its frame, and trailers, which say how the call
// ended. So nothing of an answer goes to the client before its trailers are there: what it says in the end decides whether it is
// kept, or something stale is given in its place.

const statusTrailer = http.TrailerPrefix + "Grpc-Status"

// prepare makes of a call's header the one of the call whose answer may be kept: it must be one that every client can read, and
// so is not compressed; and what waiting has taken of the time that the client gave is over.
func (l *lookup) prepare(h http.Header) {
	delete(h, "Grpc-Accept-Encoding")
	delete(h, "Grpc-Encoding") // of the message, which is not compressed: some backends answer in the same
	delete(h, "Grpc-Timeout")
	if d := l.request.Deadline; !d.IsZero() {
		h["Grpc-Timeout"] = []string{upstream.FormatTimeout(max(time.Until(d), 1))}
	}
}

// letGo passes on what was held back of an answer that is too large to be kept.
func (c *capture) letGo() {
	body := c.body
	c.held = false
	c.pass()
	if c.to != nil {
		c.begin(http.StatusOK)
		_, err := c.to.Write(body)
		c.lost = err != nil
	}
}

// settle decides what becomes of an answer that was held back.
func (c *capture) settle() {
	c.held = false
	code := c.split()
	// From here on the answer has the status that the code is to other protocols: the rules are the same.
	c.answer.status = transcoder.HTTPStatus(code)
	switch {
	case c.stale != nil && isFailure(c.status) && c.mayStandIn(c.stale, c.received):
		c.failed = true
		return
	case code == codes.Canceled, code == codes.DeadlineExceeded:
		// That may be for the one client alone: another goes in its place.
	case !c.soundCall(code) || !c.judge(&c.answer, c.request, c.request.Header, c.who):
		body := c.body
		c.pass()
		c.body = body
	default:
		c.keep = true
	}
	if c.to == nil {
		return
	}
	c.begin(http.StatusOK)
	if len(c.body) > 0 {
		writeBody(c.to, c.request, c.body)
	}
}

// split makes header and trailers of what was sent, which are as they are kept, and returns how the call ended. What the cache
// goes by may come in either.
func (c *capture) split() codes.Code {
	h := make(http.Header, len(c.sent))
	var trailer []field
	_, only := c.sent["Grpc-Status"] // PROTOCOL-HTTP2.md, Trailers-Only
	for name, values := range c.sent {
		trailing, ok := strings.CutPrefix(name, http.TrailerPrefix)
		switch {
		case name == "Trailer":
		case !ok && only && strings.HasPrefix(name, "Grpc-") && name != "Grpc-Encoding" && name != "Grpc-Accept-Encoding":
			trailer = append(trailer, field{http.TrailerPrefix + name, values})
		case !ok:
			h[name] = append(values[:len(values):len(values)], h[name]...)
		case c.decides(textproto.CanonicalMIMEHeaderKey(trailing)):
			name = textproto.CanonicalMIMEHeaderKey(trailing)
			h[name] = append(h[name], values...)
		case !isOfOneAnswer(textproto.CanonicalMIMEHeaderKey(trailing)):
			trailer = append(trailer, field{name, slices.Clone(values)})
		}
	}
	c.answer.header, c.answer.trailer = maps.Clone(h), trailer
	return codeOf(trailer)
}

// decides reports whether the cache goes by a header.
func (p *Policy) decides(name string) bool {
	switch name {
	case "Cache-Control", "Expires", "Age", "Vary", "Etag", "Last-Modified", "Set-Cookie":
		return true
	}
	return p.isTagHeader(name)
}

// soundCall reports whether an answer is one that may be given to any client: an error without a message, or one message that is
// not compressed.
func (c *capture) soundCall(code codes.Code) bool {
	return isSoundCall(code, c.body)
}

func isSoundCall(code codes.Code, body []byte) bool {
	if code != codes.OK {
		return len(body) == 0
	}
	return len(body) >= rpc.PrefixSize && body[0] == 0 && uint64(binary.BigEndian.Uint32(body[1:])) == uint64(len(body)-rpc.PrefixSize)
}

// codeOf returns the code in trailers; without one it is UNKNOWN.
func codeOf(trailer []field) codes.Code {
	for _, f := range trailer {
		if f.name == statusTrailer {
			return fault.CodeOfStatus(first(f.values))
		}
	}
	return codes.Unknown
}

// giveCall answers a call with an entry, whose header is there already.
func giveCall(w http.ResponseWriter, r *Request, e *entry) {
	w.WriteHeader(http.StatusOK)
	if len(e.body) > 0 {
		writeBody(w, r, e.body)
	}
	h := w.Header()
	for i := range e.trailer {
		h[e.trailer[i].name] = e.trailer[i].values
	}
}
