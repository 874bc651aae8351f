package admission

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/crossgate/crossgate/auth"
)

// part is one of the things by which requests are counted together.
type part struct {
	kind keyKind
	name string // of a header, a claim or a variable
}

type keyKind uint8

const (
	perIP keyKind = iota
	perUser
	perKey
	perConnection
	perRoute
	perMethod
	perHeader
	perClaim
	perPath
)

var keyKinds = map[string]keyKind{
	"ip": perIP, "user": perUser, "key": perKey, "connection": perConnection, "route": perRoute, "method": perMethod,
	"header": perHeader, "claim": perClaim, "path": perPath,
}

func compileParts(per []string) []part {
	var parts []part
	for _, p := range per {
		kind, name, _ := strings.Cut(p, ":")
		one := part{keyKinds[kind], name}
		if one.kind == perHeader {
			one.name = textproto.CanonicalMIMEHeaderKey(name)
		}
		parts = append(parts, one)
	}
	return parts
}

// needsIdentity reports whether the rule counts by who the caller is.
func (r *rule) needsIdentity() bool {
	for _, p := range r.parts {
		if p.kind == perUser || p.kind == perKey || p.kind == perClaim {
			return true
		}
	}
	return false
}

// appendKey appends the name of the rule's bucket for this caller: of each part a byte that tells its kind, its length and
// its bytes, so that no choice of a caller's can name the bucket of another rule or kind. In place of what the caller
// does not have stands its address.
func (r *rule) appendKey(b []byte, t *Ticket, h http.Header, connection string) []byte {
	b = appendText(b, 'b', r.bucket)
	for i := range r.parts {
		var ok bool
		if b, ok = r.parts[i].append(b, t, h, connection); !ok {
			b = appendAddr(b, t.subscriber(r.bits))
		}
	}
	return b
}

func (p *part) append(b []byte, t *Ticket, h http.Header, connection string) ([]byte, bool) {
	id := t.Identity
	switch p.kind {
	case perRoute:
		return b, true
	case perMethod:
		method := t.Route.method
		if method == "" {
			method = t.method
		}
		return appendText(b, 'm', method), true
	case perUser:
		if id.Authenticated() && id.User != "" {
			return appendText(appendText(b, 'u', id.Provider), 'u', id.User), true
		}
	case perKey:
		if id.Authenticated() && id.KeyID != "" {
			return appendText(appendText(b, 'k', id.Provider), 'k', id.KeyID), true
		}
	case perClaim:
		if b, ok := p.appendClaim(b, id); ok {
			return b, true
		}
	case perPath:
		if value := t.Vars.Get(p.name); value != "" {
			return appendText(b, 'p', value), true
		}
	case perConnection:
		if connection != "" {
			return appendText(b, 'c', connection), true
		}
	case perHeader:
		value := one(h[p.name])
		if h == nil {
			value = t.header.get(p.name)
		}
		if value != "" {
			return appendText(b, 'h', value[:min(len(value), maxKeyHeader)]), true
		}
	}
	return b, false
}

func (p *part) appendClaim(b []byte, id *auth.Identity) ([]byte, bool) {
	if !id.Authenticated() {
		return b, false
	}
	switch value, ok := id.Claim(p.name); v := value.(type) {
	case string:
		return appendText(appendText(b, 'l', id.Provider), 'l', v), v != ""
	default:
		if !ok || v == nil {
			return b, false
		}
		return appendText(appendText(b, 'l', id.Provider), 'l', fmt.Sprint(v)), true
	}
}

func appendText(b []byte, kind byte, s string) []byte {
	return append(binary.AppendUvarint(append(b, kind), uint64(len(s))), s...)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(append(b, '4'), four[:]...)
	}
	six := a.As16()
	return append(append(b, '6'), six[:]...)
}

// Subscriber returns the address that the client is counted by: one subscriber has an IPv4 address, or a /64 of IPv6 at
// least (RFC 6177).
func (t *Ticket) Subscriber() netip.Addr { return t.subscriber(64) }

func (t *Ticket) subscriber(bits int) netip.Addr {
	// An IPv4 client of a listener for both is ::ffff:192.0.2.1: all of IPv4 is in that one /64.
	client := t.Client.Unmap()
	if client.Is6() {
		if p, err := client.Prefix(bits); err == nil {
			return p.Addr()
		}
	}
	return client
}

// maxKeyHeader bounds what is looked at of a header.
const maxKeyHeader = 256

// keyHeaders are the headers of an upgrade by which the messages of its session are counted.
type keyHeaders []struct{ name, value string }

func (l *limits) keep(h http.Header) keyHeaders {
	var kept keyHeaders
	for _, groups := range [...][]group{l.early, l.late} {
		for _, g := range groups {
			for _, r := range g.rules {
				for _, p := range r.parts {
					if p.kind == perHeader {
						kept = append(kept, struct{ name, value string }{p.name, one(h[p.name])})
					}
				}
			}
		}
	}
	return kept
}

func (k keyHeaders) get(name string) string {
	for _, h := range k {
		if h.name == name {
			return h.value
		}
	}
	return ""
}
