package proxy

import (
	"cmp"
	"net/http"
	"net/netip"
	"strings"
)

// origins says which headers tell the backend where a request came from.
type origins struct{ xForwarded, forwarded bool }

// DropOrigin takes out what a client who is no trusted proxy says about where its request came from.
func DropOrigin(h http.Header) {
	for name := range h {
		if saysOrigin(name) {
			delete(h, name)
		}
	}
}

// saysOrigin knows the headers by which proxies tell where a request came from.
func saysOrigin(name string) bool {
	name = hyphened(name)
	return strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip"
}

// setOrigin tells the backend where the request came from, as far as it is known: what a trusted proxy says of scheme and
// host is believed, as is the address that it names.
func (x *exchange) setOrigin(h http.Header) {
	if !x.handler.origins.xForwarded && !x.handler.origins.forwarded {
		return
	}
	firstHost, firstScheme := cmp.Or(x.call.Host, x.call.request.Host), x.call.scheme()
	delete(h, "Forwarded")
	if x.handler.origins.forwarded {
		h["Forwarded"] = x.one(x.call.forwarded(firstHost, firstScheme))
	}
	if x.handler.origins.xForwarded {
		h["X-Forwarded-For"] = x.one(x.call.forwardedFor())
		h["X-Forwarded-Host"] = x.one(firstHost)
		h["X-Forwarded-Proto"] = x.one(firstScheme)
	}
}

func (c *Call) clientIP() string {
	if len(c.Hops) == 0 {
		return ""
	}
	return c.Hops[0].String()
}

// scheme is what the client used.
func (c *Call) scheme() string { return cmp.Or(c.Scheme, c.ownScheme()) }

// ownScheme is what the request came here by.
func (c *Call) ownScheme() string {
	if c.request.TLS != nil {
		return "https"
	}
	return "http"
}

// forwardedFor is X-Forwarded-For: the addresses of the client and of the proxies that are trusted.
func (c *Call) forwardedFor() string {
	if len(c.Hops) == 1 {
		return c.Hops[0].String()
	}
	var b []byte
	for i, hop := range c.Hops {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = hop.AppendTo(b)
	}
	return string(b)
}

// forwarded is Forwarded (RFC 7239): an element for each hop, the first of which has the host and scheme that the client
// used, and the last those by which the request came here.
func (c *Call) forwarded(firstHost, firstScheme string) string {
	var b []byte
	for i, hop := range c.Hops {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendNode(append(b, "for="...), hop)
		switch i {
		case 0:
			b = appendSeen(b, firstHost, firstScheme)
		case len(c.Hops) - 1:
			b = appendSeen(b, c.request.Host, c.ownScheme())
		}
	}
	return string(b)
}

func appendNode(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		return a.AppendTo(b)
	}
	return append(a.AppendTo(append(b, `"[`...)), `]"`...)
}

func appendSeen(b []byte, host, scheme string) []byte {
	b = appendValue(append(b, ";host="...), host)
	return appendValue(append(b, ";proto="...), scheme)
}

// appendValue appends a token, or a quoted string where s is none (RFC 9110 section 5.6).
func appendValue(b []byte, s string) []byte {
	token := s != ""
	for i := range len(s) {
		c := s[i]
		token = token && ('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0)
	}
	if token {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
