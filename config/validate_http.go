package config

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

func (v *validator) http(r *Route) {
	h := r.HTTP
	if h.StripPrefix && r.Match.PathPrefix == "" {
		v.errorf(v.at(&h.StripPrefix, h.Pos), "strip_prefix: match.path_prefix is needed, to be cut off")
	}
	if p := h.AddPrefix; p != "" {
		err := checkPath(p)
		if err == nil && strings.HasSuffix(p, "/") {
			err = fmt.Errorf("%s ends with /, which the path begins with", quote(p))
		}
		v.check(&h.AddPrefix, h.Pos, "add_prefix", err)
	}
	if w := h.Rewrite; w != nil {
		pattern, err := regexp.Compile(w.Pattern)
		v.check(&w.Pattern, w.Pos, "pattern", err)
		if err == nil {
			v.check(&w.Replacement, w.Pos, "replacement", checkReplacement(w.Replacement, pattern.NumSubexp()))
		}
	}
	if h.Host != "keep" && h.Host != "upstream" {
		v.check(&h.Host, h.Pos, "host", checkAuthority(h.Host))
	}
	v.words(h.AllowInPath, h.Pos, "allow_in_path", func(string) error { return nil })
	v.words(h.Upgrades, h.Pos, "upgrades", func(s string) error {
		name, version, _ := strings.Cut(s, "/")
		if err := checkToken("protocol", name); err != nil || version == "" {
			return err
		}
		return checkToken("version", version)
	})
	if h.Via != "" {
		v.check(&h.Via, h.Pos, "via", checkToken("proxy", h.Via))
	}
	v.headerEdits(&h.RequestHeaders, "request_headers")
	v.headerEdits(&h.ResponseHeaders, "response_headers")
}

// checkReplacement accepts text in which a backslash is followed by the number of a group, or by another backslash.
func checkReplacement(s string, groups int) error {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		switch {
		case i == len(s) || s[i] != '\\' && !isDigit(s[i]):
			return fmt.Errorf("%s has a \\ that is followed by neither a digit nor another \\", quote(s))
		case s[i] != '\\' && int(s[i]-'0') > groups:
			return fmt.Errorf("%s has \\%c, and the pattern has no such group", quote(s), s[i])
		}
	}
	return nil
}

// checkAuthority accepts host[:port].
func checkAuthority(s string) error {
	if strings.Contains(s, ":") {
		return checkAddress(s, false)
	}
	return checkHost(s)
}

// ConnectionHeaders are the headers that are between two neighbours, or that frame or address a message: each connection
// has its own (RFC 9110 section 7.6.1).
var ConnectionHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Host", "Expect",
}

func (v *validator) headerEdits(e *HeaderEdits, key string) {
	check := func(name string) error {
		if err := checkHeaderName(name); err != nil {
			return err
		}
		if slices.Contains(ConnectionHeaders, http.CanonicalHeaderKey(name)) {
			return fmt.Errorf("%s is the connection's, and nobody else's to change", quote(name))
		}
		return nil
	}
	v.words(e.Remove, e.Pos, key, check)
	for _, m := range []*map[string]string{&e.Set, &e.Add} {
		seen := make(map[string]string, len(*m))
		for _, name := range slices.Sorted(maps.Keys(*m)) {
			pos := v.at(mapKey{m, name}, e.Pos)
			if err := check(name); err != nil {
				v.errorf(pos, "%s: %w", key, err)
			}
			canonical := http.CanonicalHeaderKey(name)
			if first, twice := seen[canonical]; twice {
				v.errorf(pos, "%s: %s and %s are the same header", key, quote(first), quote(name))
			}
			seen[canonical] = name
			if err := checkHeaderValue(name, (*m)[name]); err != nil {
				v.errorf(pos, "%s: %w", key, err)
			}
		}
	}
}

func (v *validator) redirect(r *Redirect) {
	v.check(&r.To, r.Pos, "to", checkRedirect(r.To))
}

// checkRedirect accepts what cannot be made to lead to another host by what a client sends: a path, or a URL whose host is
// written there or is the request's.
func checkRedirect(to string) error {
	if strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
		return fmt.Errorf("%s leads to another host; write its scheme too", quote(to))
	}
	if strings.HasPrefix(to, "/") || strings.HasPrefix(to, "{path}") {
		return nil
	}
	rest, ok := strings.CutPrefix(to, "{scheme}://")
	if !ok {
		u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(to))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%s is neither a path nor a URL of http or https", quote(to))
		}
		rest = to[len(u.Scheme)+len("://"):]
	}
	end := strings.Index(rest, "/")
	if i := strings.Index(rest, "{path}"); i >= 0 && (end < 0 || i < end) {
		end = i
	}
	host := rest
	if end >= 0 {
		host = rest[:end]
	}
	if name, port, _ := strings.Cut(host, ":"); name == "{host}" {
		if port == "" {
			return nil
		}
		host = "a:" + port
	}
	return checkAuthority(host)
}
