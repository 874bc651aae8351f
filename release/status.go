package release

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Status is how a release stands on this node.
type Status struct {
	Name     string
	Variants []VariantStatus // stable first
}

// VariantStatus is how one side of a release stands.
type VariantStatus struct {
	Name     string
	Upstream string  // "" for stable
	Share    float64 // in force, in percent
	// Requests and Failures are those in the window, and P99 is the 99th percentile of its delays; 0 where there are none.
	Requests, Failures int
	P99                time.Duration
	// Nodes is whose requests those are; 0 for this one's alone, as it is without Redis.
	Nodes int
	// Seen is when a node first had this configuration; zero for stable.
	Seen time.Time
	// Paused says that the ramp waits until the variant does better.
	Paused     bool
	RolledBack *RolledBack // nil while it is not
}

// List returns how every release in force stands, by name.
func (c *Controller) List() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Status
	for name, r := range c.live.byName {
		s := Status{Name: name}
		for _, v := range r.Variants() {
			s.Variants = append(s.Variants, v.status(r))
		}
		stable := &s.Variants[0]
		stable.Share = 100
		for i := range s.Variants[1:] {
			stable.Share -= s.Variants[1+i].Share
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (v *Variant) status(r *Release) VariantStatus {
	e, counted := v.judged, v.judged.variant
	if v == r.stable {
		e = r.longest()
		counted = e.stable
	}
	s := VariantStatus{Name: v.Name, Upstream: v.Upstream, Requests: counted.requests, Failures: counted.failures, P99: counted.p99(), Nodes: e.nodes}
	if v == r.stable {
		return s
	}
	s.Share, s.Seen, s.Paused, s.RolledBack = v.percent(), v.state.seen, v.waiting, v.state.rollback
	return s
}

// longest returns the evidence that goes back furthest: what there is to show of stable.
func (r *Release) longest() evidence {
	longest := r.variants[0]
	for _, v := range r.variants {
		if v.plan.window() > longest.plan.window() {
			longest = v
		}
	}
	return longest.judged
}

// percent returns the share in force.
func (v *Variant) percent() float64 {
	end := v.share.Load()
	if end&rolledBack != 0 {
		return 0
	}
	return math.Round(100_0000*float64(end-v.first)/points) / 1_0000
}
