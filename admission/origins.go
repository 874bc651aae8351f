package admission

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins are the web origins whose pages may open a WebSocket. Browsers send no preflight before one and take no answer
// for a no (RFC 6455 section 10.2), so the gateway has to check. The zero Origins allows the gateway's own.
type Origins struct {
	any  bool
	list []string
}

// CompileOrigins compiles scheme://host[:port], or "*" for any.
func CompileOrigins(list []string) Origins {
	o := Origins{any: slices.Contains(list, "*")}
	for _, one := range list {
		o.list = append(o.list, strings.ToLower(one))
	}
	return o
}

// Allow checks the Origin header, which a browser always sends and a page cannot choose. Without it the client is no
// browser. The gateway's own origin is always allowed.
func (o Origins) Allow(r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 || o.any {
		return true
	}
	if len(values) > 1 {
		return false
	}
	origin := strings.ToLower(values[0])
	if slices.Contains(o.list, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
