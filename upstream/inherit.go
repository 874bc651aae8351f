package upstream

import (
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/upstream/internal/discovery"
)

// inherit takes over what the pool before this one, which has another configuration, knows of its endpoints, for as far as
// the configuration says the same: their connections, how they are, the retry budget, and the bound on requests with those that
// are under way. It returns the endpoints where they are learnt as before, so that no request waits for them to be learnt again. The pool
// before goes on serving to its end.
func (p *Pool) inherit(prev *Pool) []discovery.Endpoint {
	if prev == nil {
		return nil
	}
	prev.mu.Lock()
	defer prev.mu.Unlock()
	if prev.closed {
		return nil
	}
	if config.Same(prev.config.RetryBudget, p.config.RetryBudget) {
		p.budget = prev.budget
	}
	if config.Same(prev.config.Concurrency, p.config.Concurrency) {
		p.gate = prev.gate
	}
	if !prev.leadsWhere(p) {
		return nil
	}
	prev.heir = p
	checked := p.config.HealthCheck != nil && config.Same(prev.config.HealthCheck, p.config.HealthCheck)
	var learnt []discovery.Endpoint
	for _, old := range prev.list {
		old.holders.Add(1)
		e := p.newEndpoint(old.address, old.link)
		e.since = old.since
		if checked {
			e.checks = old.checks.Copy()
			e.sick = e.checks.Unwell()
		}
		if p.config.OutlierDetection != nil {
			e.ejected, e.record.until, e.record.multiplier = old.ejected, old.record.until, old.record.multiplier
		}
		p.inherited[e.address] = e
		learnt = append(learnt, discovery.Endpoint{Address: old.address, Weight: old.weight, Zone: old.zone})
	}
	if !sameSource(prev.config.Discovery, p.config.Discovery) {
		return nil
	}
	return learnt
}

// follow takes an endpoint out that the pool before has ejected since: until this pool is in force, that one has the requests.
func (p *Pool) follow(before *endpoint) {
	if p == nil || p.config.OutlierDetection == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.endpoints[before.address]
	if e == nil {
		e = p.inherited[before.address]
	}
	if e == nil || e.link != before.link || e.ejected {
		return
	}
	e.ejected, e.record.until, e.record.multiplier = true, before.record.until, before.record.multiplier
	p.rebuild()
	p.heir.follow(e)
}

// disinherit lets go of the endpoints before that are not among those of this pool. p.mu is held.
func (p *Pool) disinherit() {
	for _, e := range p.inherited {
		if p.endpoints[e.address] != e {
			e.release()
		}
	}
	p.inherited = nil
}

// leadsWhere reports whether both pools connect to an address in the same way.
func (p *Pool) leadsWhere(other *Pool) bool {
	name := func(t *clientTLS) string {
		if t == nil {
			return ""
		}
		return t.config.ServerName
	}
	return config.Same(connecting(p.config), connecting(other.config)) && p.tls.same(other.tls) && name(p.tls) == name(other.tls)
}

// connecting is a configuration without what has nothing to do with how an endpoint is connected to.
func connecting(c config.Upstream) config.Upstream {
	c.Endpoints, c.Discovery, c.Balancing = nil, nil, config.Balancing{}
	c.HealthCheck, c.OutlierDetection, c.RetryBudget, c.Concurrency = nil, nil, config.RetryBudget{}, nil
	return c
}

// sameSource reports whether endpoints are learnt from one place, however often that is asked.
func sameSource(a, b *config.Discovery) bool {
	if a == nil || b == nil {
		return false
	}
	place := func(d config.Discovery) config.Discovery {
		if d.DNS != nil {
			dns := *d.DNS
			dns.Interval = 0
			d.DNS = &dns
		}
		if d.Redis != nil {
			redis := *d.Redis
			redis.Interval = 0
			d.Redis = &redis
		}
		return d
	}
	return config.Same(place(*a), place(*b))
}
