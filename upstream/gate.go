package upstream

import (
	"context"
	"sync"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/telemetry"
)

// gate bounds how many requests of a pool are under way. A nil gate lets all in.
type gate struct {
	upstream string
	metrics  *telemetry.UpstreamMetrics
	pending  int // that may wait
	patience time.Duration
	adaptive *adaptive // nil where the limit is fixed

	mu      sync.Mutex
	limit   int
	active  int
	waiting []chan struct{} // in their order
}

func newGate(upstream string, metrics *telemetry.UpstreamMetrics, cfg *config.Concurrency) *gate {
	if cfg == nil {
		return nil
	}
	g := &gate{upstream: upstream, metrics: metrics, pending: cfg.MaxPending, patience: cfg.PendingTimeout.Std(), limit: cfg.MaxRequests}
	if cfg.Adaptive {
		g.adaptive = newAdaptive(cfg.MinRequests, cfg.MaxRequests)
		g.limit = int(g.adaptive.limit)
	}
	metrics.ConcurrencyLimit(g.limit)
	return g
}

// The reasons for turning a request away, as metrics have them.
const (
	tooManyRequests = "too_many_requests"
	waitedTooLong   = "waited_too_long"
)

// enter lets a request in, which leaves later, or waits for its turn.
func (g *gate) enter(ctx context.Context, deadline time.Time) error {
	g.mu.Lock()
	if g.active < g.limit && len(g.waiting) == 0 {
		g.active++
		g.mu.Unlock()
		return nil
	}
	if len(g.waiting) >= g.pending {
		g.mu.Unlock()
		return g.refuse(tooManyRequests)
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	patience := g.patience
	if !deadline.IsZero() {
		patience = min(patience, time.Until(deadline))
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	var why error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		if why = fault.ErrClientGone; outcomeOfContext(ctx) == endedByTimeout {
			why = fault.ErrDeadline
		}
	case <-limit.C:
	}
	if !g.giveUp(turn) {
		g.leave(0, unjudged) // its turn came meanwhile
	}
	if why == nil {
		return g.refuse(waitedTooLong)
	}
	return why
}

func (g *gate) refuse(why string) error {
	g.metrics.Rejected(why)
	return fault.Errorf(fault.UpstreamOverloaded, "upstream %s has as many requests as it may", g.upstream)
}

// giveUp takes a request out of those that wait; false when it does not any more.
func (g *gate) giveUp(turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, t := range g.waiting {
		if t == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// leave makes room for the next. took is how long the request was under way.
func (g *gate) leave(took time.Duration, o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.adapt(took, o)
	g.active--
	g.letIn()
}

// letIn has those that wait begin, as far as there is room. g.mu is held.
func (g *gate) letIn() {
	for g.active < g.limit && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.active++
	}
}

// judge takes in how long a backend took until its answer began, of a request that goes on.
func (g *gate) judge(took time.Duration, o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.adapt(took, o)
	g.letIn()
}

// adapt finds the limit anew. g.mu is held.
func (g *gate) adapt(took time.Duration, o outcome) {
	if g.adaptive == nil || o == unjudged {
		return
	}
	if limit := g.adaptive.observe(took, o, g.active); limit != g.limit {
		g.limit = limit
		g.metrics.ConcurrencyLimit(limit)
	}
}
