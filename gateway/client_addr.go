package gateway

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/crossgate/crossgate/proxy"
)

// hops yields the addresses that a request came through, from the peer to the client. X-Forwarded-For, or where there is
// none Forwarded (RFC 7239), is read from its right end for as long as the hop that added the entry is a trusted proxy:
// what an untrusted client wrote there is never believed.
func hops(r *http.Request, trusted []netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return
		}
		addr := peer.Addr().Unmap()
		if !yield(addr) || len(trusted) == 0 || !contains(trusted, addr) {
			return
		}
		lines, entry := r.Header["X-Forwarded-For"], parseHop
		if lines == nil {
			lines, entry = r.Header["Forwarded"], forwardedFor
		}
		for i := len(lines) - 1; i >= 0; i-- {
			for rest, hop := lines[i], ""; rest != ""; {
				rest, hop = cutLast(rest)
				next, ok := entry(hop)
				if !ok || !yield(next) || !contains(trusted, next) {
					return
				}
			}
		}
	}
}

// cutLast cuts the last element off a list. Elements are separated by commas that are not in quotes; quotes are counted from
// the right, where a trusted proxy has written, so that one which a client has left open hides nothing.
func cutLast(list string) (rest, last string) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return list[:i], list[i+1:]
			}
		}
	}
	return "", list
}

// parseHop reads an address, which may have a port: some proxies write one into X-Forwarded-For, too.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var with netip.AddrPort
		with, err = netip.ParseAddrPort(s)
		addr = with.Addr()
	}
	return addr.Unmap().WithZone(""), err == nil
}

// forwardedFor reads the address of an element of Forwarded. One that says unknown, or hides it, has none.
func forwardedFor(element string) (netip.Addr, bool) {
	return parseHop(forwardedParameter(element, "for"))
}

// forwardedParameter returns the value of a parameter of an element of Forwarded, empty where there is none.
func forwardedParameter(element, name string) string {
	for pair := range strings.SplitSeq(element, ";") {
		if had, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && strings.EqualFold(had, name) {
			if quoted := len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"'; quoted {
				value = value[1 : len(value)-1]
			}
			if strings.ContainsAny(value, `"\`) {
				return ""
			}
			return value
		}
	}
	return ""
}

// seenBy returns the host and scheme that a client used, as a trusted proxy says, and empty what none does. hops is how many
// addresses are believed: the leftmost of these in Forwarded stands with them.
func seenBy(h http.Header, hops int) (host, scheme string) {
	host, scheme = firstSeen(h, hops)
	if scheme = strings.ToLower(scheme); scheme != "http" && scheme != "https" {
		scheme = ""
	}
	return host, scheme
}

func firstSeen(h http.Header, hops int) (host, scheme string) {
	host, scheme = single(h["X-Forwarded-Host"]), single(h["X-Forwarded-Proto"])
	lines := h["Forwarded"]
	if host != "" || scheme != "" || h["X-Forwarded-For"] != nil {
		return host, scheme
	}
	element := max(1, hops-1)
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, last := lines[i], ""; rest != ""; {
			rest, last = cutLast(rest)
			if element--; element == 0 {
				return forwardedParameter(last, "host"), forwardedParameter(last, "proto")
			}
		}
	}
	return "", ""
}

func single(values []string) string {
	if len(values) == 1 && !strings.Contains(values[0], ",") {
		return values[0]
	}
	return ""
}

// clientAddr is the address the request came from, the zero Addr where it is not known.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	var client netip.Addr
	for addr := range hops(r, trusted) {
		client = addr
	}
	return client
}

// keepOrigin has a call of gRPC say of where it came from what is believed only: nothing that a stranger says, and of the
// addresses that a trusted proxy names those that hops yields, without the peer's own.
func (x *exchange) keepOrigin() {
	if len(x.trusted) == 0 {
		proxy.DropOrigin(x.r.Header)
		return
	}
	x.hops = slices.AppendSeq(x.hops[:0], hops(x.r, x.trusted))
	switch h := x.r.Header; {
	case len(x.hops) == 0 || !contains(x.trusted, x.hops[0]):
		proxy.DropOrigin(h)
	case len(x.hops) == 1:
		delete(h, "X-Forwarded-For")
	default:
		text := ""
		for _, hop := range slices.Backward(x.hops[1:]) {
			if text != "" {
				text += ", "
			}
			text += hop.String()
		}
		h["X-Forwarded-For"] = []string{text}
	}
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
