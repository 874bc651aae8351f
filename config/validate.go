package config

import (
	"fmt"
	"strings"

	"github.com/crossgate/crossgate/pace"
)

// validator holds a decoded configuration against the rules between keys, and the rules for words: names, hosts,
// headers and the like.
type validator struct {
	pace   *pace.Pace
	config *Config
	places map[any]Position // as the decoder found them
	broken map[any]bool     // what has errors already is not judged again
	// missing says that names may be absent because of an error found before; references are not judged then.
	missing bool
	errs    Errors
}

func (v *validator) validate() {
	c := v.config
	v.listeners()
	v.process()
	v.descriptors()
	v.httpRules()
	upstreams := unique(v, "upstreams", c.Upstreams, func(u *Upstream) *string { return &u.Name })
	v.upstreams()
	releases := unique(v, "releases", c.Releases, func(r *Release) *string { return &r.Name })
	v.releases()
	providers := unique(v, "auth", c.Auth, func(p *AuthProvider) *string { return &p.Name })
	v.providers()
	v.securityHeaders(c.SecurityHeaders)
	limits := unique(v, "limits", c.Limits, func(l *RateLimit) *string { return &l.Name })
	v.rateLimits(c.Limits, shared)
	routes := unique(v, "routes", c.Routes, func(r *Route) *string { return &r.Name })
	v.routes()
	if !v.missing {
		v.references(upstreams, providers)
		v.releaseReferences(releases, upstreams)
		v.limitReferences(limits)
		v.documented(routes)
	}
}

func (v *validator) errorf(pos Position, format string, args ...any) {
	v.errs = append(v.errs, Errorf(pos, format, args...))
}

// at returns where the value that field points to was given, or otherwise where its struct stands.
func (v *validator) at(field any, parent Position) Position {
	if pos, ok := v.places[field]; ok {
		return pos
	}
	return parent
}

// check adds the error of a word, if it has one, at the place of the field that holds it.
func (v *validator) check(field any, parent Position, key string, err error) {
	if err != nil {
		v.errorf(v.at(field, parent), "%s: %w", key, err)
	}
}

// words checks each element of a list of words, and that none comes twice.
func (v *validator) words(list []string, parent Position, key string, check func(string) error) {
	seen := make(map[string]bool, len(list))
	for i := range list {
		v.check(&list[i], parent, key, check(list[i]))
		v.once(seen, &list[i], parent, key)
	}
}

// once checks that a list that is gone through has text for the first time. An empty one is refused for that alone.
func (v *validator) once(seen map[string]bool, text *string, parent Position, key string) {
	if seen[*text] && *text != "" {
		v.errorf(v.at(text, parent), "%s: %s is in the list twice", key, quote(*text))
	}
	seen[*text] = true
}

// choice is one of several keys of which a struct has exactly one.
type choice struct {
	key   string
	given bool
}

func (v *validator) exactlyOne(pos Position, name string, choices ...choice) {
	var all, given []string
	for _, c := range choices {
		all = append(all, c.key)
		if c.given {
			given = append(given, c.key)
		}
	}
	switch {
	case len(given) == 0:
		v.errorf(pos, "%s: exactly one of %s is needed", name, orList(all))
	case len(given) > 1:
		v.errorf(pos, "%s: %s exclude each other; exactly one is needed", name, strings.Join(given, " and "))
	}
}

// unique checks the names of a list and returns them. An empty name is one that is left out or was refused before.
func unique[T any](v *validator, section string, list []T, name func(*T) *string) map[string]Position {
	seen := make(map[string]Position, len(list))
	for i := range list {
		v.pace.Step()
		n := name(&list[i])
		if *n == "" {
			continue
		}
		pos := v.at(n, Position{})
		v.check(n, pos, section, checkName(*n))
		if first, ok := seen[*n]; ok {
			v.errorf(pos, "%s: the name %s is taken, at %s", section, quote(*n), first)
			continue
		}
		seen[*n] = pos
	}
	return seen
}

// references checks that what routes and descriptor sources name is there.
func (v *validator) references(upstreams, providers map[string]Position) {
	for i := range v.config.Descriptors {
		if r := v.config.Descriptors[i].Reflection; r != nil {
			v.reference(&r.Upstream, r.Pos, "upstream", upstreams)
			v.speaks(&r.Upstream, r.Pos, "grpc")
		}
	}
	for i := range v.config.Routes {
		v.pace.Step()
		r := &v.config.Routes[i]
		if r.GRPC != nil {
			v.reference(&r.GRPC.Upstream, r.GRPC.Pos, "upstream", upstreams)
			v.speaks(&r.GRPC.Upstream, r.GRPC.Pos, "grpc")
		}
		if r.HTTP != nil {
			v.reference(&r.HTTP.Upstream, r.HTTP.Pos, "upstream", upstreams)
			v.speaks(&r.HTTP.Upstream, r.HTTP.Pos, "http")
		}
		v.mirror(r, upstreams)
		if r.ExternalAuth != nil {
			v.reference(&r.ExternalAuth.Upstream, r.ExternalAuth.Pos, "upstream", upstreams)
		}
		if r.Auth == nil {
			continue
		}
		for j := range r.Auth.Require {
			v.reference(&r.Auth.Require[j], r.Auth.Pos, "auth provider", providers)
		}
	}
}

func (v *validator) reference(name *string, parent Position, what string, names map[string]Position) {
	if _, ok := names[*name]; ok || *name == "" {
		return
	}
	known := make([]string, 0, len(names))
	for n := range names {
		known = append(known, n)
	}
	v.errorf(v.at(name, parent), "there is no %s named %s%s", what, quote(*name), didYouMean(*name, known))
}

// speaks checks that an upstream, if it is there, has the protocol that what names it needs.
func (v *validator) speaks(name *string, parent Position, protocol string) {
	for i := range v.config.Upstreams {
		if u := &v.config.Upstreams[i]; u.Name == *name && u.Protocol != protocol && !v.broken[u] {
			v.errorf(v.at(name, parent), "upstream: %s is of protocol %s; one of %s is needed here", quote(*name), u.Protocol, protocol)
		}
	}
}

func checkName(s string) error {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && !strings.ContainsRune("-_.", rune(c)) {
			return fmt.Errorf("the name %s may only have letters, digits and the characters . - _", quote(s))
		}
	}
	if len(s) > 128 {
		return fmt.Errorf("the name %s is longer than 128 characters", quote(s))
	}
	return nil
}
