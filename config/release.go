package config

// Release sends part of the requests of the routes that name it to other upstreams than their own: to a canary of 5 %, or to
// testers alone. docs/releases.md explains it.
type Release struct {
	Pos Position `yaml:"-"`

	// The name that routes, metrics and the admin API have. Who is on which side depends on it too, so that two releases divide callers independently.
	Name string `yaml:"name" required:"true"`
	// What keeps a caller on one side, on every node and across restarts: user, ip, header:NAME or cookie:NAME. A request without it counts by its client's address, of IPv6 by the /64.
	By string `yaml:"by" default:"user"`
	// The cookie of by, for clients that come without it. Left out: none is issued.
	IssueCookie *ReleaseCookie `yaml:"issue_cookie"`
	// The other upstreams. What they leave goes to the route's own, which is called stable.
	Variants []Variant `yaml:"variants" required:"true"`
	// How testers choose for themselves. Left out: nobody does.
	Force *Force `yaml:"force"`
}

// ReleaseCookie is how a cookie is issued, with a value at random.
type ReleaseCookie struct {
	Pos Position `yaml:"-"`

	// How long the client keeps it.
	TTL Duration `yaml:"ttl" default:"30d" min:"1s"`
	// The cookie's path.
	Path string `yaml:"path" default:"/"`
	// When other sites' requests carry it.
	SameSite string `yaml:"same_site" default:"lax" enum:"lax,strict,none"`
	// Whether it goes over TLS only.
	Secure bool `yaml:"secure" default:"false"`
}

// Variant is an upstream that some of the requests go to.
type Variant struct {
	Pos Position `yaml:"-"`

	// The name that metrics, logs and the admin API have; not stable.
	Name string `yaml:"name" required:"true"`
	// The upstream, of the protocol that the routes' own have.
	Upstream string `yaml:"upstream" required:"true"`
	// The share of callers, in percent, down to 0.01. As it grows nobody goes back to stable.
	Percent Percent `yaml:"percent" max:"100"`
	// Callers who always go here, before shares count. One that fits is enough; of two variants the first counts.
	Cohorts []Cohort `yaml:"cohorts"`
	// A share that grows by itself, in place of percent.
	Ramp *Ramp `yaml:"ramp"`
	// When the variant gets no more requests, but those of testers. Left out: never by itself.
	Rollback *Rollback `yaml:"rollback"`
}

// Cohort is some of the callers. Exactly one of Header, Claim, Cookie and When is set.
type Cohort struct {
	Pos Position `yaml:"-"`

	// Those whose requests have this header.
	Header string `yaml:"header"`
	// Those whose token has this claim, dotted for nested ones; of a list one element is enough.
	Claim string `yaml:"claim"`
	// Those whose requests have this cookie.
	Cookie string `yaml:"cookie"`
	// Those for whose requests this expression is true, in CEL over the names in docs/auth.md.
	When string `yaml:"when"`
	// The values that count. Left out: any.
	Values []string `yaml:"values"`
}

// Force lets testers choose a variant, by name, or stable. It holds for a variant that is rolled back too, and what testers see does
// not count for a rollback. At least one of Roles, Addresses and Anyone says who they are.
type Force struct {
	Pos Position `yaml:"-"`

	// The header that names the variant. A name that is none, and anybody else's header, count as no header.
	Header string `yaml:"header" default:"X-Release"`
	// Callers with one of these roles.
	Roles []string `yaml:"roles"`
	// Clients with an address in one of these ranges.
	Addresses []Prefix `yaml:"addresses"`
	// Everybody.
	Anyone bool `yaml:"anyone" default:"false"`
}

// Ramp is a share that grows with time. Exactly one of Steps and Linear is set.
type Ramp struct {
	Pos Position `yaml:"-"`

	// Shares, one after the other, each larger than the one before.
	Steps []RampStep `yaml:"steps"`
	// A share that grows evenly.
	Linear *LinearRamp `yaml:"linear"`
	// When it begins, as 2026-03-01T08:00:00Z (RFC 3339); until then the share is 0. Left out: when a node first has this configuration of the variant, which Redis remembers.
	Start string `yaml:"start"`
}

// RampStep is a share and how long it holds.
type RampStep struct {
	Pos Position `yaml:"-"`

	// The share of callers, in percent.
	Percent Percent `yaml:"percent" required:"true" max:"100"`
	// How long until the next step. Every step but the last has one.
	For Duration `yaml:"for" min:"1s"`
}

// LinearRamp is a share that grows evenly.
type LinearRamp struct {
	Pos Position `yaml:"-"`

	// The share at the beginning, in percent.
	From Percent `yaml:"from" default:"0" max:"100"`
	// The share at the end, and from then on.
	To Percent `yaml:"to" default:"100" min:"0.01" max:"100"`
	// How long it takes.
	Over Duration `yaml:"over" required:"true" min:"1s"`
}

// Rollback says when a variant does so much worse than stable that its share becomes 0, until its configuration changes or the admin
// API resets it. Margin and growth must both be exceeded, by more than chance explains. Where stable has too few requests to compare
// with, only the limits of MaxErrorRate and MaxP99 hold. Requests of all nodes that share Redis count, and what one finds holds for
// all; while Redis is gone each node judges by its own.
type Rollback struct {
	Pos Position `yaml:"-"`

	// How far back requests count.
	Window Duration `yaml:"window" default:"5m" min:"10s" max:"1d"`
	// How many requests a variant, or stable, must have had in that time to be judged.
	MinRequests int `yaml:"min_requests" default:"100" min:"1"`
	// By how many percentage points more of its requests must fail than of stable's. A request fails that is answered with, or by what amounts to, an HTTP status of 500 or more, or whose answer breaks off. 0: failures are not compared.
	ErrorMargin Percent `yaml:"error_margin" default:"1" max:"100"`
	// And by how many percent more that must be: 100 is twice as many.
	ErrorGrowth Percent `yaml:"error_growth" default:"100" max:"1000000"`
	// The share of its requests that may fail, in percent, whatever becomes of stable's. 100: any.
	MaxErrorRate Percent `yaml:"max_error_rate" default:"50" max:"100"`
	// By how much its 99th percentile of the time to an answer's headers must be longer than stable's. 0: it is not compared. gRPC streams do not count.
	P99Margin Duration `yaml:"p99_margin" default:"100ms"`
	// And by how many percent longer that must be.
	P99Growth Percent `yaml:"p99_growth" default:"100" max:"1000000"`
	// How long its 99th percentile may be, whatever stable's is. 0: any.
	MaxP99 Duration `yaml:"max_p99" default:"0"`
	// What happens: rollback, the share becomes 0; or pause, the ramp waits until the variant does better.
	Action string `yaml:"action" default:"rollback" enum:"rollback,pause"`
}
