package admission

import (
	"net/http"
	"slices"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
)

// trusted are the web origins whose pages may have a browser send its cookies with requests that change something; nil where no
// page's origin matters, since the route takes no credential from a cookie, or says that it does not.
type trusted struct{ requests, upgrades Origins }

// compileTrusted lets those origins in that the route lets in by name anyway: by CORS with credentials, and to its WebSockets and
// what stands in for them.
func compileTrusted(r *config.Route, policy *auth.Policy) *trusted {
	if !policy.UsesCookies() || r.Auth.CrossOrigin == "allow" {
		return nil
	}
	var requests, upgrades []string
	if r.CORS != nil && r.CORS.Credentials {
		requests = r.CORS.Origins
	}
	switch {
	case r.WebSocket != nil:
		requests = slices.Concat(requests, r.WebSocket.Origins)
	case r.GRPC != nil && r.GRPC.WebSocket != nil:
		upgrades = r.GRPC.WebSocket.Origins
	}
	upgrades = slices.Concat(requests, upgrades)
	return &trusted{CompileOrigins(named(requests)), CompileOrigins(named(upgrades))}
}

// named leaves "*" out: who lets any page in has not said that any may act for the user.
func named(origins []string) []string {
	return slices.DeleteFunc(slices.Clone(origins), func(o string) bool { return o == "*" })
}

// Forged reports whether a page of another origin may have made a request that its cookies decide about.
func (r *Request) Forged() bool { return r.forged(new(trusted)) }

// forged reports whether a page of another origin may have made the browser send a request with its user's cookies. A request that
// only reads is none: what it reads stays hidden from the page (the Fetch standard's CORS protocol).
func (r *Request) forged(t *trusted) bool {
	origins := &t.upgrades
	if !r.Upgrade {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			return false
		}
		origins = &t.requests
	}
	switch site := r.Request.Header["Sec-Fetch-Site"]; {
	case len(site) > 1:
		return true
	case len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
		return false
	}
	// Browsers that send no Sec-Fetch-Site, and those that do not trust the connection, send Origin with what changes something,
	// and with upgrades. Who has neither may not be taken for a page of this origin.
	values := r.Request.Header["Origin"]
	return len(values) != 1 || !origins.covers(values[0], r.Authority)
}
