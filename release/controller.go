package release

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/telemetry"
)

// Options are what a controller needs.
type Options struct {
	// Redis is where nodes agree, below Prefix; nil for a node that knows nobody.
	Redis  redis.UniversalClient
	Prefix string
	// Node is the name of this one.
	Node      string
	Telemetry *telemetry.Telemetry
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Controller ramps the variants that are in force, judges them, and agrees about them with other nodes. Its methods are safe
// for concurrent use.
type Controller struct {
	options Options
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex // of live, and of the state of its variants
	live *Set
	last time.Time // of the last step
}

// stepEvery is how often shares and verdicts are looked at: how late one node may know what another does.
const stepEvery = time.Second

// NewController returns a controller that steps every second, until Close.
func NewController(o Options) *Controller {
	c := newController(o)
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.running.Go(func() { // ends with Close
		tick := time.NewTicker(stepEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.step(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return c
}

func newController(o Options) *Controller {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Controller{options: o, live: &Set{}}
}

// Close stops stepping. Shares stay as they are.
func (c *Controller) Close() {
	c.stop()
	c.running.Wait()
}

// Install puts releases in force. It asks Redis first what has become of them, so that a node that has just begun does not
// send requests where others have stopped to; without an answer, within a second, they begin as they are configured.
func (c *Controller) Install(next *Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.options.Now()
	for name, r := range next.byName {
		old := c.live.byName[name]
		if r == old {
			continue
		}
		for _, v := range r.variants {
			v.state = state{seen: now}
			if was := old.variant(v.Name); was != nil && was.plan.fingerprint == v.plan.fingerprint {
				v.state = was.state
			}
		}
	}
	old := c.live
	c.live = next
	c.measure(old)
	c.agree(context.Background(), now, func() {}) // it is tried again every second
	c.apply(now)
}

// measure gives the variants in force their series, and drops those of old ones that are gone.
func (c *Controller) measure(old *Set) {
	for name, r := range old.byName {
		for _, v := range r.Variants() {
			if next := c.live.byName[name]; next == nil || next.variant(v.Name) == nil {
				v.series.Load().Close()
			}
		}
	}
	for name, r := range c.live.byName {
		for _, v := range r.Variants() {
			if v.series.Load() == nil {
				v.series.Store(c.options.Telemetry.Variant(name, v.Name))
			}
		}
	}
}

// variant finds one by its name, stable among them; nil where there is none.
func (r *Release) variant(name string) *Variant {
	if r == nil {
		return nil
	}
	for _, v := range r.Variants() {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// step collects what was counted, judges by that and what the others have counted, agrees with them, and puts what comes of it in
// force.
func (c *Controller) step(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.options.Now()
	passed := min(max(now.Sub(c.last), 0), time.Minute)
	if c.last.IsZero() {
		passed = 0
	}
	c.last = now
	for _, r := range c.live.byName {
		r.collect(now)
	}
	c.agree(ctx, now, func() {
		for _, r := range c.live.byName {
			for _, v := range r.variants {
				c.judge(v, passed, now)
			}
		}
	})
	c.apply(now)
}

func (c *Controller) judge(v *Variant, passed time.Duration, now time.Time) {
	b := v.plan.rollback
	if b == nil || v.state.rollback != nil {
		v.waiting = false
		return
	}
	found := judge(b, v.judged.variant, v.judged.stable)
	switch {
	case found.reason == "":
		v.waiting = false
	case b.Action == "pause":
		v.wait(passed)
	default:
		c.rollBack(v, found, now)
	}
}

// wait has the ramp wait for what has passed. Other nodes find the same, and all of them wait at the same time: they do not add up.
func (v *Variant) wait(passed time.Duration) {
	if !v.waiting {
		v.waiting, v.since, v.waited = true, v.state.paused, 0
	}
	v.waited += passed
	v.state.paused = max(v.state.paused, v.since+v.waited)
}

// rollBack takes effect at once: Redis may take its time.
func (c *Controller) rollBack(v *Variant, why verdict, now time.Time) {
	v.state.rollback = &RolledBack{Time: now.UTC(), Reason: why.reason, Detail: why.detail, Node: c.options.Node}
	v.share.Store(rolledBack)
	v.decided = true
}

// report says what this node has rolled back, and no other before it as far as it knows.
func (c *Controller) report() {
	for name, r := range c.live.byName {
		for _, v := range r.variants {
			if b := v.state.rollback; v.decided && b != nil {
				v.series.Load().RolledBack(b.Reason)
				c.options.Telemetry.Logger.Warn("a variant is rolled back", "release", name, "variant", v.Name, "reason", b.Reason, "detail", b.Detail)
			}
			v.decided = false
		}
	}
}

// learned says what other nodes have decided, and what follows from it.
func (c *Controller) learned(r *Release, v *Variant, before *state) {
	log, now := c.options.Telemetry.Logger, &v.state
	if now.epoch != before.epoch {
		v.forget()
		log.Info("a variant is reset by another node", "release", r.config.Name, "variant", v.Name)
	}
	if b := now.rollback; b != nil && (before.rollback == nil || now.epoch != before.epoch) {
		log.Warn("a variant is rolled back by another node", "release", r.config.Name, "variant", v.Name, "reason", b.Reason, "detail", b.Detail, "node", b.Node)
	}
}

// apply puts the shares in force.
func (c *Controller) apply(now time.Time) {
	for _, r := range c.live.byName {
		left := 100.0
		for _, v := range r.variants {
			end := v.first + v.plan.points(v.elapsed(now))
			if v.state.rollback != nil {
				end = rolledBack
			}
			v.share.Store(end)
			left -= v.percent()
			v.series.Load().Stands(v.percent(), v.state.rollback != nil, v.judged.variant.p99(), v.judged.nodes)
		}
		e := r.longest()
		r.stable.series.Load().Stands(left, false, e.stable.p99(), e.nodes)
	}
}

// elapsed is how far the variant's ramp has come.
func (v *Variant) elapsed(now time.Time) time.Duration {
	start := v.plan.start
	switch {
	case start.IsZero():
		start = v.state.seen
	case v.state.epoch > 0 && v.state.seen.After(start):
		start = v.state.seen // it was reset since
	}
	return now.Sub(start) - v.state.paused
}

// ErrNotFound says that no release in force has a variant of that name.
var ErrNotFound = errors.New("release: not found")

// Reset ends a rollback, on every node. A ramp begins anew, and what was counted is forgotten.
func (c *Controller) Reset(ctx context.Context, release, variant string) error {
	return c.change(ctx, release, variant, func(v *Variant, now time.Time) {
		v.state = state{epoch: v.state.epoch + 1, seen: now}
		v.forget()
		c.options.Telemetry.Logger.Info("a variant is reset", "release", release, "variant", variant)
		_ = c.publish(ctx, &Event{Type: "reset", Release: release, Variant: variant, Node: c.options.Node}) // as a courtesy: the state is what counts
	})
}

// RollBack has a variant get no more requests, on every node, until it is reset or its configuration changes.
func (c *Controller) RollBack(ctx context.Context, release, variant string) error {
	return c.change(ctx, release, variant, func(v *Variant, now time.Time) {
		if v.state.rollback == nil {
			c.rollBack(v, verdict{reason: byHand}, now)
		}
	})
}

// change has this node, and then the others, know a change. The error, but for ErrNotFound, says that they do not know it yet;
// here it is in force.
func (c *Controller) change(ctx context.Context, release, variant string, make func(*Variant, time.Time)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.live.Release(release)
	v := r.variant(variant)
	if v == nil || v == r.stable {
		return fmt.Errorf("%w: release %q has no variant %q", ErrNotFound, release, variant)
	}
	now := c.options.Now()
	all := c.agree(ctx, now, func() { make(v, now) }) // so that it is the newest that is changed
	c.apply(now)
	for _, a := range all {
		if a.variant == v {
			return a.err
		}
	}
	return nil
}
