package config

import (
	"fmt"
	"strings"
	"time"
)

// Stable is the name, in a release, of each route's own upstream.
const Stable = "stable"

func (v *validator) releases() {
	for i := range v.config.Releases {
		r := &v.config.Releases[i]
		if v.broken[r] {
			continue
		}
		v.check(&r.By, r.Pos, "by", checkHashOn(r.By))
		if c := r.IssueCookie; c != nil {
			if !strings.HasPrefix(r.By, "cookie:") {
				v.errorf(c.Pos, "issue_cookie: by is %s; it is for by: cookie:NAME", quote(r.By))
			}
			v.check(&c.Path, c.Pos, "path", checkPath(c.Path))
			if c.SameSite == "none" && !c.Secure {
				v.errorf(v.at(&c.SameSite, c.Pos), "same_site: browsers take none only with secure: true")
			}
		}
		v.force(r.Force)
		v.variants(r)
	}
}

func (v *validator) force(f *Force) {
	if f == nil {
		return
	}
	v.check(&f.Header, f.Pos, "header", checkHeaderName(f.Header))
	v.words(f.Roles, f.Pos, "roles", func(string) error { return nil })
	if len(f.Roles) == 0 && len(f.Addresses) == 0 && !f.Anyone {
		v.errorf(f.Pos, "force: it says for nobody; set roles, addresses, or anyone: true")
	}
}

func (v *validator) variants(r *Release) {
	seen := map[string]bool{Stable: true}
	total := Percent(0)
	for i := range r.Variants {
		one := &r.Variants[i]
		if one.Name != "" {
			v.check(&one.Name, one.Pos, "name", checkName(one.Name))
			if seen[one.Name] {
				v.check(&one.Name, one.Pos, "name", fmt.Errorf("%s is taken", quote(one.Name)))
			}
			seen[one.Name] = true
		}
		for j := range one.Cohorts {
			v.cohort(&one.Cohorts[j])
		}
		v.ramp(one)
		if b := one.Rollback; b != nil && b.Action == "pause" && one.Ramp == nil {
			v.errorf(v.at(&b.Action, b.Pos), "action: pause is for a variant with a ramp")
		}
		if total += one.Most(); total > Whole {
			v.errorf(one.Pos, "variants: with this one their greatest shares come to %s %%, more than 100", total)
			return
		}
	}
}

func (v *validator) cohort(c *Cohort) {
	v.exactlyOne(c.Pos, "cohorts", choice{"header", c.Header != ""}, choice{"claim", c.Claim != ""}, choice{"cookie", c.Cookie != ""}, choice{"when", c.When != ""})
	if c.Header != "" {
		v.check(&c.Header, c.Pos, "header", checkHeaderName(c.Header))
	}
	if c.Cookie != "" {
		v.check(&c.Cookie, c.Pos, "cookie", checkToken("cookie", c.Cookie))
	}
	v.words(c.Values, c.Pos, "values", func(string) error { return nil })
	if c.When != "" && c.Values != nil {
		v.errorf(c.Pos, "values: an expression is true or false; write the values into it")
	}
}

func (v *validator) ramp(one *Variant) {
	r := one.Ramp
	if r == nil {
		return
	}
	if v.given(&one.Percent) {
		v.errorf(v.at(&one.Percent, one.Pos), "percent: the ramp says how large the share is; leave one of them out")
	}
	v.exactlyOne(r.Pos, "ramp", choice{"steps", r.Steps != nil}, choice{"linear", r.Linear != nil})
	if r.Start != "" {
		if _, err := time.Parse(time.RFC3339, r.Start); err != nil {
			v.errorf(v.at(&r.Start, r.Pos), "start: %s is not a time; expected one as 2026-03-01T08:00:00Z or 2026-03-01T08:00:00+01:00", quote(r.Start))
		}
	}
	if l := r.Linear; l != nil && l.From >= l.To {
		v.errorf(l.Pos, "linear: from, %s, is not below to, %s", l.From, l.To)
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		if i > 0 && s.Percent <= r.Steps[i-1].Percent {
			v.errorf(v.at(&s.Percent, s.Pos), "percent: %s is not more than the step before has", s.Percent)
		}
		if last := i == len(r.Steps)-1; last != (s.For == 0) {
			v.errorf(s.Pos, "steps: each step but the last needs for, which the last does not have")
		}
	}
}

// Most returns the greatest share that the variant comes to.
func (one *Variant) Most() Percent {
	r := one.Ramp
	switch {
	case r == nil:
		return one.Percent
	case r.Linear != nil:
		return r.Linear.To
	case len(r.Steps) > 0:
		return r.Steps[len(r.Steps)-1].Percent
	}
	return 0
}

// releaseReferences checks that the releases that routes name are there, and that their upstreams are what the routes need.
func (v *validator) releaseReferences(releases, upstreams map[string]Position) {
	byName := make(map[string]*Release, len(v.config.Releases))
	for i := range v.config.Releases {
		r := &v.config.Releases[i]
		byName[r.Name] = r
		for j := range r.Variants {
			v.reference(&r.Variants[j].Upstream, r.Variants[j].Pos, "upstream", upstreams)
		}
	}
	judged := map[string]bool{} // by release and protocol
	for i := range v.config.Routes {
		r := &v.config.Routes[i]
		if r.Release == "" {
			continue
		}
		protocol := ""
		switch {
		case r.GRPC != nil:
			protocol = "grpc"
		case r.HTTP != nil:
			protocol = "http"
		case r.WebSocket != nil:
			v.errorf(v.at(&r.Release, r.Pos), "release: a websocket route has a service on Redis, and no upstream that a variant could stand for; "+
				"give some of its clients a route of their own, with another service")
			continue
		default:
			v.errorf(v.at(&r.Release, r.Pos), "release: is for grpc and http routes, which have upstreams")
			continue
		}
		v.reference(&r.Release, r.Pos, "release", releases)
		if named, key := byName[r.Release], r.Release+" "+protocol; named != nil && !judged[key] {
			judged[key] = true
			for j := range named.Variants {
				one := &named.Variants[j]
				v.speaks(&one.Upstream, one.Pos, protocol)
			}
		}
	}
}
