package gateway

import (
	"iter"
	"net/http"
	"net/netip"
	"strings"
)

// hops yields the addresses that a request came through, from the peer to the client. X-Forwarded-For is read from its
// right end for as long as the hop that added the entry is a trusted proxy: what an untrusted client wrote there is never
// believed.
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
		lines := r.Header["X-Forwarded-For"]
		for i := len(lines) - 1; i >= 0; i-- {
			rest := lines[i]
			for rest != "" {
				var hop string
				if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
					rest, hop = rest[:comma], rest[comma+1:]
				} else {
					rest, hop = "", rest
				}
				next, err := netip.ParseAddr(strings.TrimSpace(hop))
				if err != nil {
					return
				}
				addr = next.Unmap()
				if !yield(addr) || !contains(trusted, addr) {
					return
				}
			}
		}
	}
}

// clientAddr is the address the request came from, the zero Addr where it is not known.
func clientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	var client netip.Addr
	for addr := range hops(r, trusted) {
		client = addr
	}
	return client
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
