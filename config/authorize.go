package config

import "fmt"

// Authorize decides about requests by expressions, after the route's auth has let the caller pass. The first rule whose
// expression is true decides.
type Authorize struct {
	Pos Position `yaml:"-"`

	// The rules, in order.
	Rules []AuthorizeRule `yaml:"rules" required:"true"`
	// What happens to a request that no rule decides about.
	Otherwise string `yaml:"otherwise" default:"deny" enum:"deny,allow"`
	// Whether to report only, in the access log and the metrics, what would have been denied.
	DryRun bool `yaml:"dry_run" default:"false"`
}

// AuthorizeRule is one rule. Exactly one of Allow and Deny is set, an expression in CEL over the names in docs/auth.md.
type AuthorizeRule struct {
	Pos Position `yaml:"-"`

	// The name that the access log and metrics have.
	Name string `yaml:"name" required:"true"`
	// Requests for which this is true pass. An expression that fails, as for a claim that is not there, is not true.
	Allow string `yaml:"allow"`
	// Requests for which this is true, or fails, are denied.
	Deny string `yaml:"deny"`
	// Whether a deny reports only, and the next rules go on deciding.
	DryRun bool `yaml:"dry_run" default:"false"`
}

func (v *validator) authorize(a *Authorize) {
	if a == nil {
		return
	}
	seen := map[string]bool{"otherwise": true, "external_auth": true}
	for i := range a.Rules {
		r := &a.Rules[i]
		v.exactlyOne(r.Pos, "rules", choice{"allow", r.Allow != ""}, choice{"deny", r.Deny != ""})
		if r.Name != "" {
			v.check(&r.Name, r.Pos, "name", checkName(r.Name))
			if seen[r.Name] {
				v.check(&r.Name, r.Pos, "name", fmt.Errorf("%s is taken", quote(r.Name)))
			}
		}
		seen[r.Name] = true
		if r.DryRun && r.Allow != "" {
			v.errorf(v.at(&r.DryRun, r.Pos), "dry_run: only a deny can report; an allow that is not there changes nothing for the next rules")
		}
	}
}
