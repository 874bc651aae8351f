package release

import (
	"time"

	"github.com/crossgate/crossgate/config"
)

// plan is the share that a variant is to have, and when it is rolled back. It is immutable.
type plan struct {
	fixed       uint64 // in points, without a ramp
	ramp        *config.Ramp
	start       time.Time // of the ramp; zero for when it was first seen
	rollback    *config.Rollback
	fingerprint string // of the variant's configuration
}

func compilePlan(cfg *config.Variant) *plan {
	p := &plan{fixed: pointOf(cfg.Percent), ramp: cfg.Ramp, rollback: cfg.Rollback, fingerprint: config.Fingerprint(cfg)}
	if cfg.Ramp != nil && cfg.Ramp.Start != "" {
		p.start, _ = time.Parse(time.RFC3339, cfg.Ramp.Start) // config has checked it
	}
	return p
}

// points returns the share, in points, when a ramp has gone on for elapsed. It never shrinks as that grows.
func (p *plan) points(elapsed time.Duration) uint64 {
	switch {
	case p.ramp == nil:
		return p.fixed
	case elapsed < 0:
		return 0
	case p.ramp.Linear != nil:
		l := p.ramp.Linear
		from, to := pointOf(l.From), pointOf(l.To)
		if elapsed >= l.Over.Std() {
			return to
		}
		return from + uint64(float64(to-from)*(float64(elapsed)/float64(l.Over)))
	}
	for i := range p.ramp.Steps {
		s := &p.ramp.Steps[i]
		if elapsed < s.For.Std() || i == len(p.ramp.Steps)-1 {
			return pointOf(s.Percent)
		}
		elapsed -= s.For.Std()
	}
	return 0
}

// shared reports whether the plan depends on what nodes have seen, which they tell each other then.
func (p *plan) shared() bool { return p.ramp != nil || p.rollback != nil }
