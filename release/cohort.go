package release

import (
	"net/http"
	"net/netip"
	"slices"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
)

// cohort is callers who belong to a variant whatever its share.
type cohort struct {
	header, cookie, claim string
	values                []string // nil for any
	when                  *auth.Condition
}

func compileCohort(cfg *config.Cohort) (cohort, error) {
	c := cohort{cookie: cfg.Cookie, claim: cfg.Claim, values: cfg.Values}
	if cfg.Header != "" {
		c.header = http.CanonicalHeaderKey(cfg.Header)
	}
	var err error
	if cfg.When != "" {
		c.when, err = auth.CompileCondition(cfg.When)
	}
	return c, err
}

// has reports whether a request belongs to one of the variant's cohorts.
func (v *Variant) has(q *admission.Request, t *admission.Ticket) bool {
	for i := range v.cohorts {
		if v.cohorts[i].has(q, t) {
			return true
		}
	}
	return false
}

func (c *cohort) has(q *admission.Request, t *admission.Ticket) bool {
	value := ""
	switch {
	case c.when != nil:
		return t.Holds(c.when, q)
	case c.claim != "":
		return t.Identity.HasClaim(c.claim, c.values)
	case c.header != "":
		value = q.HeaderValue(c.header)
	default:
		value = q.Cookie(c.cookie)
	}
	return value != "" && (c.values == nil || slices.Contains(c.values, value))
}

// force is who may choose a variant, and how.
type force struct {
	header    string
	roles     []string
	addresses []netip.Prefix
	anyone    bool
}

func compileForce(cfg *config.Force) *force {
	if cfg == nil {
		return nil
	}
	f := &force{header: http.CanonicalHeaderKey(cfg.Header), roles: cfg.Roles, anyone: cfg.Anyone}
	for _, p := range cfg.Addresses {
		f.addresses = append(f.addresses, p.Std())
	}
	return f
}

// asked returns the index of the variant that a tester asks for, -1 for none.
func (f *force) asked(r *Release, q *admission.Request, t *admission.Ticket) int {
	name := q.HeaderValue(f.header)
	if name == "" || !f.may(t) {
		return -1
	}
	if name == config.Stable {
		return 0
	}
	for i, v := range r.variants {
		if v.Name == name {
			return i + 1
		}
	}
	return -1
}

func (f *force) may(t *admission.Ticket) bool {
	if f.anyone {
		return true
	}
	for _, role := range f.roles {
		if slices.Contains(t.Identity.Roles, role) {
			return true
		}
	}
	client := t.Client.Unmap()
	for _, p := range f.addresses {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
