package upstream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream/internal/discovery"
)

// Pool is the backends of one upstream. Its methods are safe for concurrent use.
type Pool struct {
	name    string
	config  config.Upstream
	tls     *clientTLS
	policy  policy
	keyed   bool // requests have keys
	plain   bool // one endpoint that never changes, and nothing to know of it
	view    atomic.Pointer[view]
	count   atomic.Uint32
	gate    *gate // nil where any number of requests may be under way
	budget  *budget
	holders atomic.Int32  // sets that have this pool
	learnt  chan struct{} // closed when the first endpoints are known; nil where they always are

	telemetry  *telemetry.Telemetry // nil for none
	metrics    *telemetry.UpstreamMetrics
	background sync.WaitGroup
	running    context.Context // ends when the pool is closed
	stop       context.CancelFunc

	mu        sync.Mutex
	endpoints map[string]*endpoint // by address; retired ones are not here
	list      []*endpoint          // the same, in the order they were learnt in
	leaving   map[*endpoint]bool   // retired, with requests under way
	inherited map[string]*endpoint // of the pool before, until the first are known
	heir      *Pool                // that has taken over from this one; nil for none
	changed   chan struct{}        // closed when the view changes
	ramp      *time.Timer          // to the next view while endpoints start slowly; nil for none
	closed    bool
}

func open(cfg *config.Upstream, o *Options, prev *Pool) (*Pool, error) {
	name := ""
	if d := cfg.Discovery; d != nil && d.DNS != nil && d.DNS.Type == "address" {
		name = d.DNS.Name // what is connected to is one of its addresses
	}
	tls, err := loadTLS(cfg.TLS, name)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	if prev != nil && config.Same(prev.config, *cfg) && prev.tls.same(tls) && prev.retain() {
		return prev, nil
	}
	p := &Pool{
		name: cfg.Name, config: *cfg, tls: tls, policy: policies[cfg.Balancing.Policy],
		keyed:     cfg.Balancing.Policy == "hash" || cfg.Balancing.Sticky != nil,
		endpoints: make(map[string]*endpoint), leaving: make(map[*endpoint]bool), inherited: make(map[string]*endpoint), changed: make(chan struct{}), telemetry: o.Telemetry,
	}
	if o.Telemetry != nil {
		p.metrics = o.Telemetry.Upstream(p.name)
	}
	p.running, p.stop = context.WithCancel(context.Background())
	p.holders.Store(1)
	p.view.Store(&view{})
	listed := staticEndpoints(cfg)
	p.plain = len(listed) == 1 && cfg.HealthCheck == nil && cfg.OutlierDetection == nil && cfg.Concurrency == nil
	if before := p.inherit(prev); listed == nil {
		p.learnt = make(chan struct{})
		listed = before
	}
	if p.budget == nil {
		p.budget = newBudget(cfg.RetryBudget)
	}
	if p.gate == nil {
		p.gate = newGate(p.name, p.metrics, cfg.Concurrency)
	}
	if err := p.update(listed); err != nil {
		p.release()
		return nil, err
	}
	p.detectOutliers()
	p.discover(source(cfg, o))
	return p, nil
}

// staticEndpoints returns the endpoints that the configuration lists, nil where they are learnt.
func staticEndpoints(cfg *config.Upstream) []discovery.Endpoint {
	var list []discovery.Endpoint
	for _, address := range cfg.Endpoints {
		list = append(list, discovery.Endpoint{Address: address, Weight: 1})
	}
	if cfg.Discovery != nil {
		for _, e := range cfg.Discovery.Static {
			list = append(list, discovery.Endpoint{Address: e.Address, Weight: e.Weight, Zone: e.Zone})
		}
	}
	return list
}

// update has the pool use a list of endpoints in place of the one before. Endpoints that are in both keep their
// connections; those that are in it no more end their requests before they are closed.
func (p *Pool) update(list []discovery.Endpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	first := len(p.list) == 0
	alone := first && len(p.inherited) == 0
	if len(list) > maxEndpoints {
		list = list[:maxEndpoints]
	}
	known := make(map[string]*endpoint, len(list))
	next := make([]*endpoint, 0, len(list))
	for _, d := range list {
		e := p.endpoints[d.Address]
		if e == nil {
			e = p.inherited[d.Address]
		}
		if e == nil {
			k, err := newLink(&p.config, p.tls, d.Address)
			if err != nil {
				return fmt.Errorf("upstream %s: endpoint %s: %w", p.name, d.Address, err)
			}
			e = p.newEndpoint(d.Address, k)
			if !alone { // the first ones have nobody to leave requests to meanwhile
				e.since = time.Now()
			}
		}
		if p.endpoints[d.Address] == nil {
			p.watchHealth(e)
		}
		e.weight, e.zone = d.Weight, d.Zone
		known[d.Address] = e
		next = append(next, e)
	}
	old := p.list
	p.endpoints, p.list = known, next
	p.rebuild()
	for _, e := range old {
		if known[e.address] == nil {
			p.leaving[e] = true
			e.unwatch()
			e.retired.Store(true)
			p.closeIdle(e)
		}
	}
	if first && len(next) > 0 {
		p.disinherit()
		if p.learnt != nil {
			close(p.learnt)
		}
	}
	return nil
}

// rebuild makes a view of what is known now. p.mu is held.
func (p *Pool) rebuild() {
	if p.closed {
		return
	}
	v := newView(p.list, &p.config.Balancing, time.Now())
	p.view.Store(v)
	p.publish()
	close(p.changed)
	p.changed = make(chan struct{})
	if p.ramp != nil {
		p.ramp.Stop()
		p.ramp = nil
	}
	if v.ramping {
		p.ramp = time.AfterFunc(max(p.config.Balancing.SlowStart.Std()/rampSteps, time.Millisecond), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.rebuild()
		})
	}
}

// publish says how many endpoints there are, and how they are. p.mu is held.
func (p *Pool) publish() {
	sick, ejected := 0, 0
	for _, e := range p.list {
		if e.sick {
			sick++
		}
		if e.ejected {
			ejected++
		}
	}
	p.metrics.Endpoints(len(p.list), sick, ejected)
}

// rampSteps is in how many steps an endpoint that starts slowly comes to its whole weight.
const rampSteps = 20

// changes returns a channel that is closed when the view that is in force now is not any more.
func (p *Pool) changes() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// closeIdle closes a retired endpoint that has no requests. p.mu is held.
func (p *Pool) closeIdle(e *endpoint) {
	if !p.closed && e.active.CompareAndSwap(0, gone) {
		delete(p.leaving, e)
		p.background.Go(e.release)
	}
}

// retain counts one more holder, unless the last one has let go already.
func (p *Pool) retain() bool {
	for {
		n := p.holders.Load()
		if n == 0 {
			return false
		}
		if p.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *Pool) release() {
	if p.holders.Add(-1) > 0 {
		return
	}
	p.mu.Lock()
	p.closed = true
	if p.ramp != nil {
		p.ramp.Stop()
	}
	p.mu.Unlock()
	p.stop()
	p.background.Wait()
	for _, e := range p.list {
		e.release()
	}
	for e := range p.leaving {
		e.release()
	}
	p.disinherit()
	p.metrics.Close()
}

// Name returns the upstream's name.
func (p *Pool) Name() string { return p.name }

// MaxMessageSize returns the most bytes that a backend's message may have.
func (p *Pool) MaxMessageSize() int64 { return int64(p.config.MaxMessageSize) }
