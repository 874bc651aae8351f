package upstream

import (
	"cmp"
	"slices"
	"time"
)

// Status is how an upstream is at one time, for people to look at.
type Status struct {
	Name     string
	Protocol string // grpc or http
	Source   string // of its endpoints: configuration, dns:{name}, file:{path} or redis:{service}
	// Concurrency is the bound on its requests, nil for none.
	Concurrency *ConcurrencyStatus
	Endpoints   []EndpointStatus // in the order in which they were learnt
}

// ConcurrencyStatus is how a bound on requests is used.
type ConcurrencyStatus struct {
	Limit    int
	Adaptive bool
	Active   int
	Waiting  int
}

// EndpointStatus is how one endpoint is.
type EndpointStatus struct {
	Address string
	Zone    string
	Weight  int
	Share   float64 // of its weight, below 1 while it starts slowly
	Checked bool    // whether Sick says anything
	Sick    bool
	// EjectedUntil and UnreachableUntil are when it is tried again; zero where it need not be.
	EjectedUntil     time.Time
	UnreachableUntil time.Time
	// Chosen says that it is among those that requests are sent to first.
	Chosen bool
	Active int64 // requests under way, -1 where they are not counted
}

// Status returns how the upstreams are, ordered by name.
func (s *Set) Status() []Status {
	var list []Status
	for _, p := range s.pools {
		list = append(list, p.status(time.Now()))
	}
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (p *Pool) status(now time.Time) Status {
	s := Status{Name: p.name, Protocol: cmp.Or(p.config.Protocol, "grpc"), Source: p.origin(), Concurrency: p.gate.status()}
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.view.Load()
	for _, e := range p.list {
		one := EndpointStatus{
			Address: e.address, Zone: e.zone, Weight: e.weight, Share: e.share(p.config.Balancing.SlowStart.Std(), now),
			Checked: p.config.HealthCheck != nil, Sick: e.sick,
			Chosen: slices.Contains(v.endpoints[:v.eligible], e), Active: -1,
		}
		if e.ejected {
			one.EjectedUntil = e.record.until
		}
		if until := time.Unix(0, e.downUntil.Load()); until.After(now) {
			one.UnreachableUntil = until
		}
		if e.tracked {
			one.Active = max(0, e.active.Load())
		}
		s.Endpoints = append(s.Endpoints, one)
	}
	return s
}

// origin says where the endpoints are from.
func (p *Pool) origin() string {
	switch d := p.config.Discovery; {
	case d == nil:
	case d.DNS != nil:
		return "dns:" + d.DNS.Name
	case d.File != nil:
		return "file:" + string(d.File.Path)
	case d.Redis != nil:
		return "redis:" + d.Redis.Service
	}
	return "configuration"
}

func (g *gate) status() *ConcurrencyStatus {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return &ConcurrencyStatus{Limit: g.limit, Adaptive: g.adaptive != nil, Active: g.active, Waiting: len(g.waiting)}
}
