package gateway

import (
	"net/http"
	"strings"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// metadataPrefix begins request headers that a transcoded call has as metadata under the rest of their name.
const metadataPrefix = "Grpc-Metadata-"

// change does to the request's headers, and to those of the answer, what admission has decided.
func (x *exchange) change(c *auth.Changes) {
	if c == nil {
		return
	}
	h := x.r.Header
	for _, name := range c.Remove {
		drop(h, name)
		drop(x.r.Trailer, name)
	}
	for i := range c.Request {
		x.tell(&c.Request[i])
	}
	for i := range c.Answer {
		c.Answer[i].Apply(x.w.Header())
	}
}

// transcoded reports whether the target makes metadata of headers, of those only that it is told to.
func (x *exchange) transcoded() bool {
	return x.protocol == rpc.None && (x.target.kind == "rest" || x.target.ownPath() || x.target.kind == "websocket")
}

// tell changes a header that the backend gets. A transcoded call has it as metadata, whatever the route forwards.
func (x *exchange) tell(c *auth.HeaderChange) {
	h, name := x.r.Header, c.Name
	if x.transcoded() {
		name = metadataPrefix + name
	}
	there := len(h[c.Name]) > 0 || len(h[name]) > 0
	if c.How == auth.IfAbsent && there || c.How == auth.IfPresent && !there {
		return
	}
	if c.How != auth.Append {
		drop(h, c.Name)
	}
	had := h[name]
	h[name] = append(had[:len(had):len(had)], c.Value)
}

// drop takes a header from the caller's, by each name that a backend may take for it: as metadata, and with underscores for hyphens,
// which servers that hand headers on as environment variables do not tell apart. Nor may Connection name it, for it would
// be dropped on the way then (RFC 9110 section 7.6.1), together with the gateway's own.
func drop(h http.Header, name string) {
	for had := range h {
		if sameHeader(had, name) || len(had) > len(metadataPrefix) && strings.EqualFold(had[:len(metadataPrefix)], metadataPrefix) && sameHeader(had[len(metadataPrefix):], name) {
			delete(h, had)
		}
	}
	lines := h["Connection"]
	for i, line := range lines {
		if !strings.Contains(strings.ToLower(line), strings.ToLower(name)) {
			continue
		}
		var kept []string
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.TrimSpace(token); !sameHeader(token, name) {
				kept = append(kept, token)
			}
		}
		lines[i] = strings.Join(kept, ", ")
	}
}

// sameHeader reports whether two names are one to a backend that has no hyphens in them.
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x == '_' {
			x = '-'
		}
		if y == '_' {
			y = '-'
		}
		if x|0x20 != y|0x20 && x != y {
			return false
		}
	}
	return true
}

// deny refuses in the words of an authorisation service: as they are where the caller speaks plain HTTP, else as a status
// of the caller's protocol.
func (x *exchange) deny(d *auth.Denied) {
	h := x.w.Header()
	for i := range d.Header {
		d.Header[i].Apply(h)
	}
	if x.protocol != rpc.None {
		message := d.Body
		if message == "" {
			message = x.refusal.Reason
		}
		e := fault.New(reasonOf(x.refusal.Kind), message)
		e.Code = fault.CodeOfHTTP(d.Status)
		x.fail(e)
		return
	}
	if d.Body == "" && len(d.Header) == 0 {
		e := fault.New(reasonOf(x.refusal.Kind), x.refusal.Reason)
		if e.Reason.HTTPStatus() == d.Status {
			x.fail(e)
			return
		}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	x.w.WriteHeader(d.Status)
	if x.r.Method != http.MethodHead && d.Status != http.StatusNotModified {
		_, _ = x.w.Write([]byte(d.Body))
	}
}
