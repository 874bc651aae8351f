package gateway

import (
	"net/http"
	"strings"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/upstream"
)

// affinity tells a pool which endpoint a request belongs to.
type affinity struct {
	pool   *upstream.Pool
	kind   string // header, cookie, user or ip; empty where nothing is hashed
	name   string // of the header or cookie
	sticky *config.Sticky
}

var sameSites = map[string]http.SameSite{"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode}

// steer returns serve for requests to a pool, which it gives the request's key. Where the pool has no use for keys it is
// serve itself.
func steer(p *upstream.Pool, serve func(*exchange)) func(*exchange) {
	if p == nil || p.HashOn() == "" && p.Sticky() == nil {
		return serve
	}
	a := &affinity{pool: p, sticky: p.Sticky()}
	a.kind, a.name, _ = strings.Cut(p.HashOn(), ":")
	if a.kind == "header" {
		a.name = http.CanonicalHeaderKey(a.name)
	}
	return func(x *exchange) {
		a.apply(x)
		serve(x)
	}
}

func (a *affinity) apply(x *exchange) {
	var key upstream.Key
	if a.sticky != nil {
		key = a.stick(x)
	} else {
		key = upstream.KeyOf(a.value(x))
	}
	x.r = x.r.WithContext(upstream.WithKey(x.r.Context(), key))
}

// stick returns the key of the endpoint that the client's cookie names, and gives the client the cookie that it should
// have.
func (a *affinity) stick(x *exchange) upstream.Key {
	had := ""
	if c, err := x.r.Cookie(a.sticky.Cookie); err == nil {
		had = c.Value
	}
	key := a.pool.Stick(had, upstream.KeyOf(a.value(x)))
	if value := key.Cookie(); value != "" && value != had {
		http.SetCookie(&x.w, &http.Cookie{
			Name: a.sticky.Cookie, Value: value, Path: a.sticky.Path, MaxAge: int(a.sticky.TTL.Std().Seconds()),
			HttpOnly: true, Secure: a.sticky.Secure, SameSite: sameSites[a.sticky.SameSite],
		})
	}
	return key
}

// value returns what is hashed, empty where the request does not have it.
func (a *affinity) value(x *exchange) string {
	switch a.kind {
	case "header":
		return x.r.Header.Get(a.name)
	case "cookie":
		if c, err := x.r.Cookie(a.name); err == nil {
			return c.Value
		}
	case "user":
		return x.user
	case "ip":
		if x.request.Client.IsValid() {
			return x.request.Client.String()
		}
	}
	return ""
}
