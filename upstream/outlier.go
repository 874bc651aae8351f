package upstream

import (
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/config"
)

// record is what became of an endpoint's requests, for outlier detection as Envoy does it
// (envoyproxy.io, Outlier detection).
type record struct {
	failures        atomic.Int32 // in a row
	gatewayFailures atomic.Int32 // in a row
	requests        atomic.Int64 // in this interval
	successes       atomic.Int64

	// Below the pool's mutex.
	until      time.Time // when an ejected endpoint comes back
	multiplier int       // of base_ejection
}

// judge notes the outcome of a request, and ejects the endpoint where it was one too many. Requests that an ejected
// endpoint still has under way count no more.
func (e *endpoint) judge(o outcome) {
	r, cfg := &e.record, e.pool.config.OutlierDetection
	if o == unjudged {
		return
	}
	r.requests.Add(1)
	if o == succeeded {
		r.successes.Add(1)
		if r.failures.Load() != 0 {
			r.failures.Store(0)
		}
		if r.gatewayFailures.Load() != 0 {
			r.gatewayFailures.Store(0)
		}
		return
	}
	n, gateway := r.failures.Add(1), int32(0)
	if o == failed {
		r.gatewayFailures.Store(0)
	} else {
		gateway = r.gatewayFailures.Add(1)
	}
	switch {
	case cfg.ConsecutiveFailures > 0 && n == int32(cfg.ConsecutiveFailures):
		e.pool.eject(e, consecutiveFailures)
	case cfg.ConsecutiveGatewayFailures > 0 && gateway == int32(cfg.ConsecutiveGatewayFailures):
		e.pool.eject(e, consecutiveGatewayFailures)
	}
}

// The reasons for an ejection, as metrics have them.
const (
	consecutiveFailures        = "consecutive_failures"
	consecutiveGatewayFailures = "consecutive_gateway_failures"
	lowSuccessRate             = "success_rate"
)

func (p *Pool) eject(e *endpoint, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ejectLocked(e, why) {
		p.rebuild()
	}
}

// ejectLocked takes an endpoint out unless too many are out already. p.mu is held.
func (p *Pool) ejectLocked(e *endpoint, why string) bool {
	cfg := p.config.OutlierDetection
	e.record.failures.Store(0)
	e.record.gatewayFailures.Store(0)
	out := 0
	for _, other := range p.list {
		if other.ejected {
			out++
		}
	}
	if e.ejected || e.retired.Load() || out > 0 && (out+1)*100 > cfg.MaxEjected*len(p.list) {
		return false
	}
	e.ejected = true
	e.record.multiplier++
	d := min(cfg.BaseEjection.Std()*time.Duration(e.record.multiplier), cfg.MaxEjection.Std())
	e.record.until = time.Now().Add(d)
	p.metrics.Ejected(why)
	p.heir.follow(e)
	p.log(slog.LevelWarn, "an endpoint is ejected", "endpoint", e.address, "reason", why, "for", d)
	return true
}

// detectOutliers compares endpoints after each interval until the pool is closed.
func (p *Pool) detectOutliers() {
	if p.config.OutlierDetection == nil {
		return
	}
	p.background.Go(func() { // ends with p.running
		tick := time.NewTicker(p.config.OutlierDetection.Interval.Std())
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				p.interval(now)
			case <-p.running.Done():
				return
			}
		}
	})
}

// interval ends one: those whose time is over come back, and those that succeeded much less often than the others go.
func (p *Pool) interval(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := false
	for _, e := range p.list {
		switch {
		case e.ejected && !now.Before(e.record.until):
			e.ejected, e.since, changed = false, now, true
			p.log(slog.LevelInfo, "an endpoint is back", "endpoint", e.address)
		case !e.ejected && e.record.multiplier > 0:
			e.record.multiplier--
		}
	}
	if cfg := p.config.OutlierDetection.SuccessRate; cfg != nil {
		for _, e := range outliers(p.list, cfg) {
			changed = p.ejectLocked(e, lowSuccessRate) || changed
		}
	}
	for _, e := range p.list {
		e.record.requests.Store(0)
		e.record.successes.Store(0)
	}
	if changed {
		p.rebuild()
	}
}

// outliers returns the endpoints whose success rate is below the mean of all by more than the configured number of
// standard deviations, where there are enough of them with enough requests.
func outliers(list []*endpoint, cfg *config.SuccessRate) []*endpoint {
	var judged []*endpoint
	var rates []float64
	mean := 0.0
	for _, e := range list {
		if n := e.record.requests.Load(); n >= int64(cfg.MinRequests) && !e.ejected {
			judged = append(judged, e)
			rates = append(rates, float64(e.record.successes.Load())/float64(n))
			mean += rates[len(rates)-1]
		}
	}
	if len(judged) < cfg.MinEndpoints {
		return nil
	}
	mean /= float64(len(rates))
	variance := 0.0
	for _, r := range rates {
		variance += (r - mean) * (r - mean)
	}
	threshold := mean - math.Sqrt(variance/float64(len(rates)))*float64(cfg.StdevFactor)/1000
	var low []*endpoint
	for i, e := range judged {
		if rates[i] < threshold {
			low = append(low, e)
		}
	}
	return low
}
