package config

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
)

func (v *validator) routes() {
	for i := range v.config.Routes {
		v.pace.Step()
		r := &v.config.Routes[i]
		if v.broken[r] {
			continue
		}
		v.exactlyOne(r.Pos, "routes",
			choice{"grpc", r.GRPC != nil}, choice{"http", r.HTTP != nil}, choice{"websocket", r.WebSocket != nil},
			choice{"redirect", r.Redirect != nil}, choice{"respond", r.Respond != nil}, choice{"docs", r.Docs != nil},
			choice{"client", r.Client != nil}, choice{"login", r.Login != nil})
		v.match(&r.Match)
		if r.GRPC == nil && (r.HTTP != nil || r.WebSocket != nil || r.Redirect != nil || r.Respond != nil || r.Client != nil) &&
			r.Match.Path == "" && r.Match.PathPrefix == "" && r.Match.Template == "" {
			v.errorf(r.Match.Pos, "match: path, path_prefix or template is needed; only a grpc route can do without")
		}
		if r.Match.Template != "" && (r.GRPC != nil || r.Docs != nil || r.Login != nil) {
			v.errorf(v.at(&r.Match.Template, r.Match.Pos), "template: is for routes of one path; a grpc route has the templates of its methods, docs and login routes have their own paths")
		}
		if r.HTTP != nil {
			v.http(r)
		}
		if r.Redirect != nil {
			v.redirect(r.Redirect)
		}
		if r.GRPC != nil {
			v.grpc(r.GRPC)
		}
		if r.WebSocket != nil {
			v.webSocket(r.WebSocket)
		}
		if r.Respond != nil {
			v.respond(r.Respond)
		}
		if r.Docs != nil {
			v.docs(r)
		}
		if r.Login != nil {
			v.loginRoute(r)
		}
		if r.CORS != nil {
			v.cors(r.CORS)
		}
		if a := r.Auth; a != nil {
			v.words(a.Require, a.Pos, "require", func(string) error { return nil })
			v.issuers(a)
		}
		v.securityHeaders(r.SecurityHeaders)
		v.authorize(r.Authorize)
		v.forwardIdentity(r)
		if e := r.ExternalAuth; e != nil {
			v.words(e.Headers, e.Pos, "headers", func(s string) error { return checkHeaderName(strings.TrimSuffix(s, "*")) })
		}
		v.rateLimits(r.RateLimits, ofRequests)
		v.compression(&r.Compression)
		if r.Cache != nil {
			v.cache(r)
		}
		v.resilience(r)
	}
}

func (v *validator) match(m *Match) {
	switch given := []bool{m.Path != "", m.PathPrefix != "", m.Template != ""}; {
	case given[0] && given[1]:
		v.errorf(m.Pos, "match: path and path_prefix exclude each other")
	case given[2] && (given[0] || given[1]):
		v.errorf(m.Pos, "match: template excludes path and path_prefix")
	}
	if m.Path != "" {
		v.check(&m.Path, m.Pos, "path", checkPath(m.Path))
	}
	if p := m.PathPrefix; p != "" {
		err := checkPath(p)
		if err == nil && !strings.HasSuffix(p, "/") {
			err = fmt.Errorf("%s does not end with /; write %s, and path for %s itself", quote(p), quote(p+"/"), quote(p))
		}
		v.check(&m.PathPrefix, m.Pos, "path_prefix", err)
	}
	v.words(m.Hosts, m.Pos, "hosts", checkHostPattern)
	v.words(m.Methods, m.Pos, "methods", checkMethod)
	v.headers(m)
}

func (v *validator) headers(m *Match) {
	seen := make(map[string]string, len(m.Headers))
	// In order, so that of two spellings of a name it is always the same one that is refused.
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		pos := v.at(mapKey{&m.Headers, name}, m.Pos)
		if err := checkHeaderName(name); err != nil {
			v.errorf(pos, "headers: %w", err)
			continue
		}
		canonical := http.CanonicalHeaderKey(name)
		switch first, twice := seen[canonical]; {
		case twice:
			v.errorf(pos, "headers: %s and %s are the same header", quote(first), quote(name))
		case canonical == "Host":
			v.errorf(pos, "headers: for the host use hosts")
		default:
			if err := checkHeaderValue(name, m.Headers[name]); err != nil {
				v.errorf(pos, "headers: %w", err)
			}
		}
		seen[canonical] = name
	}
}

func (v *validator) grpc(g *GRPCRoute) {
	v.words(g.Services, g.Pos, "services", checkServicePattern)
	v.words(g.IgnoredQuery, g.Pos, "ignored_query", checkQueryPattern)
	v.words(g.KeepUpdateMask, g.Pos, "keep_update_mask", CheckSelector)
	v.words(g.ForwardHeaders, g.Pos, "forward_headers", func(s string) error {
		return checkHeaderName(strings.TrimSuffix(s, "*"))
	})
	v.words(g.ReturnHeaders, g.Pos, "return_headers", checkHeaderName)
	if w := g.WebSocket; w != nil {
		v.words(w.Origins, w.Pos, "origins", checkOrigin)
		v.rateLimits(w.MessageRateLimits, ofMessages)
	}
	if id := g.Streams.EventID; id != "" {
		v.check(&g.Streams.EventID, g.Streams.Pos, "event_id", checkFieldPath(id))
	}
}

func checkFieldPath(s string) error {
	if isFullName(s) {
		return nil
	}
	return fmt.Errorf("%s is not a field; expected name or name.name", quote(s))
}

func checkServicePattern(s string) error {
	if s == "*" || isFullName(strings.TrimSuffix(s, ".*")) {
		return nil
	}
	return fmt.Errorf("%s is not a service; expected package.Service, package.* or *", quote(s))
}

func checkQueryPattern(s string) error {
	if name := strings.TrimSuffix(s, "*"); name == "" || strings.Contains(name, "*") {
		return fmt.Errorf("%s is not the name of a query parameter; expected one as alt, or the start of some as utm_*", quote(s))
	}
	return nil
}

func (v *validator) respond(r *Respond) {
	if r.Body != "" && r.File != "" {
		v.errorf(r.Pos, "respond: body and file exclude each other")
	}
	if (r.Status == http.StatusNoContent || r.Status == http.StatusNotModified) && (r.Body != "" || r.File != "") {
		v.errorf(v.at(&r.Status, r.Pos), "status: an answer with status %d has no body (RFC 9110 section 6.4.1)", r.Status)
	}
	if _, _, err := mime.ParseMediaType(r.ContentType); err != nil || !strings.Contains(r.ContentType, "/") {
		v.errorf(v.at(&r.ContentType, r.Pos), "content_type: %s is not a media type; expected one as application/json", quote(r.ContentType))
	}
}

func (v *validator) cors(c *CORS) {
	// With credentials a star in these lists is a name and no wildcard (Fetch standard, section 3.3.5).
	orStar := func(check func(string) error) func(string) error {
		return func(s string) error {
			switch {
			case s != "*":
				return check(s)
			case c.Credentials:
				return errors.New("* is no wildcard where credentials are sent; name each")
			}
			return nil
		}
	}
	v.words(c.Origins, c.Pos, "origins", orStar(checkOrigin))
	v.words(c.Methods, c.Pos, "methods", orStar(checkMethod))
	v.words(c.Headers, c.Pos, "headers", orStar(checkHeaderName))
	v.words(c.Expose, c.Pos, "expose", orStar(checkHeaderName))
}
