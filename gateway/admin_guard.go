package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// adminGuard decides who may call the admin listener.
//
// With a token, a call that changes something must carry it. Without one the listener is on loopback, and what must
// still be kept out is a web page in a browser on this machine: a request with an Origin, or one whose Host is no
// loopback name (DNS rebinding), changes nothing.
type adminGuard struct {
	token [sha256.Size]byte
	open  bool // no token
}

func newAdminGuard(token string) adminGuard {
	return adminGuard{token: sha256.Sum256([]byte(token)), open: token == ""}
}

// change wraps a handler that changes something.
func (g adminGuard) change(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if g.open {
			if r.Header["Origin"] != nil || !isLoopbackHost(r.Host) {
				transcoder.WriteError(w, r, fault.New(fault.PermissionDenied, "without an admin token only local tools may change something, not web pages"))
				return
			}
			next(w, r)
			return
		}
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="crossgate admin"`)
			transcoder.WriteError(w, r, fault.New(fault.Unauthenticated, "this call needs the admin token as Authorization: Bearer"))
			return
		}
		next(w, r)
	}
}

func isLoopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}
