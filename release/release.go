package release

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// Set is the releases of one configuration. It is immutable.
type Set struct{ byName map[string]*Release }

// Compile makes a release of each. One of prev, which may be nil, whose configuration is the same is carried over with what it
// has counted. Errors are config.Errors.
func Compile(list []config.Release, prev *Set) (*Set, error) {
	s := &Set{byName: make(map[string]*Release, len(list))}
	var errs config.Errors
	for i := range list {
		cfg := &list[i]
		if old := prev.Release(cfg.Name); old != nil && config.Same(old.config, cfg) {
			s.byName[cfg.Name] = old
			continue
		}
		r, err := compile(cfg)
		if err != nil {
			errs.Add(cfg.Pos, err)
			continue
		}
		s.byName[cfg.Name] = r
	}
	return s, errs.Err()
}

// Release returns the release called name, nil when there is none.
func (s *Set) Release(name string) *Release {
	if s == nil {
		return nil
	}
	return s.byName[name]
}

// Release divides callers. Its methods are safe for concurrent use.
type Release struct {
	config   *config.Release
	by       source
	salt     uint64
	force    *force
	stable   *Variant
	variants []*Variant // in the order of the configuration
}

// Variant is one side of a release: an upstream of the configuration's, or stable.
type Variant struct {
	// Name is config.Stable for that.
	Name string
	// Upstream is "" for stable: each route has its own.
	Upstream string

	cohorts []cohort
	// Callers whose point is from first to what share says belong to it. Its greatest share ends before that of the next
	// variant begins, so that one that grows, or is rolled back, moves nobody between the others.
	first uint64
	share atomic.Uint64 // where the share in force ends; rolledBack is set while cohorts have none either

	tally  tally                                    // of what ended since the controller's last step
	series atomic.Pointer[telemetry.VariantMetrics] // nil until it is in force
	plan   *plan                                    // nil for stable

	// The controller's, under its lock.
	state     state
	mine      observed
	judged    evidence
	told      time.Time     // when the others were last told of what is mine, and asked for theirs
	waiting   bool          // its ramp is paused
	since     time.Duration // how long it had been paused when that began
	waited    time.Duration // from then on
	decided   bool          // to roll it back, which is not reported yet
	refreshed time.Time     // when Redis was last told of it
}

// rolledBack is no point.
const rolledBack = 1 << 63

func compile(cfg *config.Release) (*Release, error) {
	r := &Release{config: cfg, by: compileSource(cfg.By), salt: hashOf(cfg.Name), force: compileForce(cfg.Force), stable: &Variant{Name: config.Stable}}
	var errs config.Errors
	first := config.Percent(0)
	for i := range cfg.Variants {
		one := &cfg.Variants[i]
		v := &Variant{Name: one.Name, Upstream: one.Upstream, first: pointOf(first), plan: compilePlan(one)}
		for j := range one.Cohorts {
			c, err := compileCohort(&one.Cohorts[j])
			if err != nil {
				errs.Add(one.Cohorts[j].Pos, fmt.Errorf("release %s: variant %s: cohorts: %w", cfg.Name, one.Name, err))
				continue
			}
			v.cohorts = append(v.cohorts, c)
		}
		v.share.Store(v.first + v.plan.points(0))
		first += one.Most()
		r.variants = append(r.variants, v)
	}
	return r, errs.Err()
}

// Variants returns stable and then the others. Their order is that of [Choice.Index].
func (r *Release) Variants() []*Variant { return append([]*Variant{r.stable}, r.variants...) }

// Choice is which side a request goes to.
type Choice struct {
	*Variant
	// Index is where the variant is among all of the release's; 0 is stable.
	Index int
	// Forced says that a tester has asked for it, and what comes of it does not count.
	Forced bool
	// Cookie is the value of the cookie that the client is to have from now on; "" for none.
	Cookie string
}

// Choose finds the side of a request that was admitted.
func (r *Release) Choose(q *admission.Request, t *admission.Ticket) Choice {
	if r.force != nil {
		if i := r.force.asked(r, q, t); i >= 0 {
			return r.choice(i, true)
		}
	}
	for i, v := range r.variants {
		if v.cohorts != nil && v.has(q, t) {
			if v.share.Load()&rolledBack != 0 {
				return r.choice(0, false)
			}
			return r.choice(i+1, false)
		}
	}
	value := r.by.value(q, t)
	issued := ""
	if value == "" && r.config.IssueCookie != nil {
		issued = rand.Text()
		value = issued
	}
	at := uint64(0)
	if value != "" {
		at = point(r.salt, hashOf(value))
	} else {
		at = point(r.salt, hashOfAddr(t.Subscriber()))
	}
	c := r.choice(r.at(at), false)
	c.Cookie = issued
	return c
}

// at returns the index of the variant that a point belongs to.
func (r *Release) at(point uint64) int {
	for i, v := range r.variants {
		// One that is rolled back has no share, whose end it would be with the mark.
		if end := v.share.Load(); point >= v.first && point < end && end&rolledBack == 0 {
			return i + 1
		}
	}
	return 0
}

func (r *Release) choice(index int, forced bool) Choice {
	v := r.stable
	if index > 0 {
		v = r.variants[index-1]
	}
	return Choice{Variant: v, Index: index, Forced: forced}
}

// Cookie returns the name of the cookie that callers are divided by, and how it is issued; nil where it is not.
func (r *Release) Cookie() (string, *config.ReleaseCookie) { return r.by.name, r.config.IssueCookie }

// Outcome is how a request ended, as far as it tells of the variant.
type Outcome uint8

// The outcomes.
const (
	Answered  Outcome = iota // also with an error that is the caller's
	Failed                   // with, or by what amounts to, an HTTP status of 500 or more, or broken off
	Abandoned                // the caller gave it up: only how long it had waited counts
)

// Observe counts a request that has ended. after is the time until the headers of its answer came, or until it was given up;
// negative where that tells nothing of the variant.
func (v *Variant) Observe(o Outcome, after time.Duration, forced bool) {
	if s := v.series.Load(); s != nil {
		[...]prometheus.Counter{s.Answered, s.Failed, s.Abandoned}[o].Inc()
	}
	if !forced {
		v.tally.observe(o, after)
	}
}
