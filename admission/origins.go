package admission

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins are web origins whose pages may do what pages of others may not. The zero Origins has none.
type Origins struct {
	any   bool
	list  []string
	below []subdomains
}

// subdomains are the origins of one scheme, and port, at every name below one.
type subdomains struct{ before, after string }

// CompileOrigins compiles scheme://host[:port], scheme://*.host[:port] for every name below host, or "*" for any origin.
func CompileOrigins(list []string) Origins {
	o := Origins{any: slices.Contains(list, "*")}
	for _, one := range list {
		one = strings.ToLower(one)
		if scheme, host, ok := strings.Cut(one, "://*"); ok {
			o.below = append(o.below, subdomains{scheme + "://", host})
		} else {
			o.list = append(o.list, one)
		}
	}
	return o
}

// Any reports whether every origin is among them.
func (o *Origins) Any() bool { return o.any }

// Has reports whether an origin, as a browser sends it in lower case (RFC 6454 section 6.2), is among them.
func (o *Origins) Has(origin string) bool {
	if o.any || slices.Contains(o.list, origin) {
		return true
	}
	for _, b := range o.below {
		rest, ok := strings.CutPrefix(origin, b.before)
		if !ok {
			continue
		}
		// A name only: nothing that a reader of URLs could take for the end of the host.
		if name, ok := strings.CutSuffix(rest, b.after); ok && name != "" && !strings.ContainsFunc(name, notInName) {
			return true
		}
	}
	return false
}

func notInName(r rune) bool {
	return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

// Allow reports whether the page that sent r may open a session. Browsers send no preflight before one and take no answer for a
// no (RFC 6455 section 10.2), so the gateway has to check the Origin header, which a browser always sends and a page cannot
// choose. Without it the client is no browser. The gateway's own origin is always allowed.
func (o *Origins) Allow(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 || o.any {
		return true
	}
	return len(values) == 1 && o.covers(values[0], r.Host)
}

// covers reports whether an origin, as a header has it, is among them or is that of the authority itself, which a request went to.
func (o *Origins) covers(origin, authority string) bool {
	origin = strings.ToLower(origin)
	if o.Has(origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, authority)
}
