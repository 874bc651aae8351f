package admission

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/ratelimit"
)

// Rule is what callers, logs and metrics learn of one of a route's limits.
type Rule struct {
	Name   string
	Kind   ratelimit.Kind
	Max    int           // the most that are allowed
	Window time.Duration // in which; 0 for no fixed time
	DryRun bool
}

// Charge is what a limit decided about a request.
type Charge struct {
	*Rule
	ratelimit.Decision
}

// limits are the rules of a route for its requests, or for its WebSocket messages. A request is charged to all of them or
// to none; only that of a caller who is not let in stays charged to those that need not know the caller.
type limits struct {
	early   []group // charged before the caller is known: what this node counts by itself
	late    []group // and after: the rest, Redis last
	guesses []group // the rules of late that a refused caller is charged to all the same
	public  []*Rule
}

// group are rules that a store decides about together.
type group struct {
	store ratelimit.Store
	rules []*rule
}

func (g group) hasCosts() bool {
	return slices.ContainsFunc(g.rules, func(r *rule) bool { return r.cfg.Costs != nil })
}

// rule is one compiled limit.
type rule struct {
	*Rule
	bucket string // tells rules apart in the store
	parts  []part
	bits   int // of an IPv6 address
	costs  []cost
	take   ratelimit.Take
	tier   tier
	cfg    *config.RateLimit
}

// tier orders stores: what costs nothing to ask is asked first.
type tier uint8

const (
	inMemory tier = iota
	leased
	inRedis
	tiers
)

// cost is what requests of an HTTP method cost, "" for any.
type cost struct {
	method string
	events int
}

// maxRules is how many rules of a route are charged together.
const maxRules = 16

type limitCompiler struct {
	route, scope string
	stores       Stores
}

func (c *limitCompiler) compile(to *limits, list []config.RateLimit) error {
	if len(list) > maxRules {
		return config.Errorf(list[maxRules].Pos, "a route has at most %d rate limits of a kind", maxRules)
	}
	var errs config.Errors
	var rules []*rule
	for i := range list {
		r, err := c.rule(&list[i], i)
		if err != nil {
			errs.Add(list[i].Pos, fmt.Errorf("rate limit: %w", err))
			continue
		}
		rules = append(rules, r)
	}
	to.arrange(rules, c.stores)
	return errs.Err()
}

// arrange puts rules in the order in which they are charged.
func (l *limits) arrange(rules []*rule, stores Stores) {
	*l = limits{}
	of := [tiers]ratelimit.Store{stores.Memory, stores.Leased, stores.Redis}
	add := func(to *[]group, t tier, which func(*rule) bool) {
		g := group{store: of[t]}
		for _, r := range rules {
			if r.tier == t && which(r) {
				g.rules = append(g.rules, r)
			}
		}
		if g.rules != nil {
			*to = append(*to, g)
		}
	}
	for t := range tiers {
		// A place is not given to who is then turned away.
		early := func(r *rule) bool { return r.tier != inRedis && r.Kind != ratelimit.Concurrency && !r.needsIdentity() }
		add(&l.early, t, early)
		add(&l.late, t, func(r *rule) bool { return !early(r) })
		add(&l.guesses, t, func(r *rule) bool {
			return r.tier == inRedis && r.Kind != ratelimit.Concurrency && !r.needsIdentity()
		})
	}
	for _, groups := range [][]group{l.early, l.late} {
		for _, g := range groups {
			for _, r := range g.rules {
				l.public = append(l.public, r.Rule)
			}
		}
	}
}

// forMethod are the same limits with the costs of a gRPC method.
func (l *limits) forMethod(method string) limits {
	if !slices.ContainsFunc(slices.Concat(l.early, l.late), group.hasCosts) {
		return *l
	}
	own := limits{public: l.public}
	replaced := map[*rule]*rule{}
	for _, copied := range []struct {
		from []group
		to   *[]group
	}{{l.early, &own.early}, {l.late, &own.late}, {l.guesses, &own.guesses}} {
		for _, g := range copied.from {
			rules := make([]*rule, len(g.rules))
			for i, r := range g.rules {
				if replaced[r] == nil {
					one := *r
					one.costs = costsOf(r.cfg.Costs, method)
					replaced[r] = &one
				}
				rules[i] = replaced[r]
			}
			*copied.to = append(*copied.to, group{g.store, rules})
		}
	}
	return own
}

// costsOf are the costs that can hold at a binding which calls a gRPC method, "" for none.
func costsOf(list []config.LimitCost, method string) []cost {
	var costs []cost
	for _, c := range list {
		for _, m := range c.Methods {
			switch {
			case m == "*" || method != "" && descriptors.Selects(m, method):
				return append(costs, cost{"", c.Cost})
			case !slices.Contains([]byte(m), '.'):
				costs = append(costs, cost{m, c.Cost})
			}
		}
	}
	return costs
}

// cost is how many events a request takes.
func (r *rule) cost(method string) int {
	for i := range r.costs {
		if c := &r.costs[i]; c.method == "" || c.method == method {
			return c.events
		}
	}
	return r.take.Cost
}

func (c *limitCompiler) rule(cfg *config.RateLimit, i int) (*rule, error) {
	r := &rule{bucket: c.route + "/" + c.scope + "/" + strconv.Itoa(i)}
	r.take.Slot = c.route
	name := cmp.Or(cfg.Name, strconv.Itoa(i+1))
	own := *cfg
	if cfg.Limit != "" {
		at := slices.IndexFunc(c.stores.Shared, func(l config.RateLimit) bool { return l.Name == cfg.Limit })
		if at < 0 {
			return nil, fmt.Errorf("there is no limit %q", cfg.Limit)
		}
		own = c.stores.Shared[at]
		// A route's name has no colon in it.
		r.bucket, r.take.Slot, name = "limits:"+own.Name, own.Name, own.Name
		own.Cost, own.Costs = max(1, cfg.Cost), cfg.Costs
	}
	r.cfg, r.bits, r.costs = &own, cmp.Or(own.IPv6Prefix, 64), costsOf(own.Costs, "")
	r.parts = compileParts(own.Per)
	r.take.Cost, r.take.DryRun, r.take.Share = max(1, own.Cost), own.DryRun, own.LocalShare
	var err error
	if r.take.Limit, err = limitOf(&own); err != nil {
		return nil, err
	}
	if err := r.take.Limit.Check(); err != nil {
		return nil, err
	}
	for _, n := range append([]config.LimitCost{{Cost: r.take.Cost}}, own.Costs...) {
		if n.Cost > r.take.Limit.Burst {
			return nil, fmt.Errorf("a cost of %d is more than the %d that there are at most", n.Cost, r.take.Limit.Burst)
		}
	}
	switch own.OnFailure {
	case "allow":
		r.take.OnFailure = ratelimit.LetPass
	case "deny":
		r.take.OnFailure = ratelimit.Refuse
	}
	switch own.Store {
	case "redis":
		r.tier = inRedis
		if c.stores.Redis == nil {
			return nil, errors.New("there is no Redis to keep it in")
		}
	case "leased":
		r.tier = leased
		if c.stores.Leased == nil {
			return nil, errors.New("there is no Redis to lease it from")
		}
	}
	limit := &r.take.Limit
	r.Rule = &Rule{Name: name, Kind: limit.Kind, Max: limit.Burst, Window: limit.Window(), DryRun: own.DryRun}
	return r, nil
}

var periods = map[string]ratelimit.Period{"day": ratelimit.Day, "week": ratelimit.Week, "month": ratelimit.Month}

func limitOf(cfg *config.RateLimit) (ratelimit.Limit, error) {
	switch {
	case cfg.Concurrency > 0:
		return ratelimit.Limit{Kind: ratelimit.Concurrency, Burst: cfg.Concurrency}, nil
	case cfg.Quota > 0:
		zone, err := time.LoadLocation(cfg.TimeZone)
		if err != nil {
			return ratelimit.Limit{}, err
		}
		return ratelimit.Limit{Kind: ratelimit.Quota, Burst: cfg.Quota, Calendar: ratelimit.NewCalendar(periods[cfg.Period], zone)}, nil
	}
	return ratelimit.Limit{Events: cfg.Rate.Events, Per: cfg.Rate.Per, Burst: cmp.Or(cfg.Burst, cfg.Rate.Events)}, nil
}
