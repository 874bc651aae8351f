package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func (v *validator) upstreams() {
	for i := range v.config.Upstreams {
		u := &v.config.Upstreams[i]
		if v.broken[u] {
			continue
		}
		v.exactlyOne(u.Pos, "upstreams", choice{"endpoints", u.Endpoints != nil}, choice{"discovery", u.Discovery != nil})
		v.words(u.Endpoints, u.Pos, "endpoints", func(s string) error { return checkAddress(s, false) })
		if t := u.TLS; t != nil {
			v.clientTLS(t)
		}
		if u.Discovery != nil {
			v.discovery(u.Discovery)
		}
		v.balancing(&u.Balancing)
		v.health(u)
		if c := u.Concurrency; c != nil && c.Adaptive && c.MinRequests > c.MaxRequests {
			v.errorf(v.at(&c.MinRequests, c.Pos), "min_requests: it is more than max_requests, %d", c.MaxRequests)
		}
	}
}

func (v *validator) discovery(d *Discovery) {
	v.exactlyOne(d.Pos, "discovery",
		choice{"static", d.Static != nil}, choice{"dns", d.DNS != nil}, choice{"file", d.File != nil}, choice{"redis", d.Redis != nil})
	v.static(d.Static)
	if dns := d.DNS; dns != nil {
		v.check(&dns.Name, dns.Pos, "name", checkHost(strings.TrimSuffix(dns.Name, ".")))
		switch {
		case dns.Type == "address" && dns.Port == 0:
			v.errorf(dns.Pos, "dns: port is missing; records of type address have none")
		case dns.Type == "srv" && dns.Port != 0:
			v.errorf(v.at(&dns.Port, dns.Pos), "port: srv records have ports of their own; leave it out")
		}
		if dns.Server != "" {
			v.check(&dns.Server, dns.Pos, "server", checkAddress(dns.Server, false))
		}
	}
	if d.Redis != nil {
		v.check(&d.Redis.Service, d.Redis.Pos, "service", checkName(d.Redis.Service))
	}
}

func (v *validator) static(list []Endpoint) {
	seen := make(map[string]bool, len(list))
	for i := range list {
		e := &list[i]
		v.check(&e.Address, e.Pos, "address", checkAddress(e.Address, false))
		if seen[e.Address] {
			v.errorf(v.at(&e.Address, e.Pos), "address: %s is in the list twice; give it more weight instead", quote(e.Address))
		}
		seen[e.Address] = true
	}
}

func (v *validator) balancing(b *Balancing) {
	switch {
	case b.Policy == "hash" && b.HashOn == "":
		v.errorf(v.at(&b.Policy, b.Pos), "policy: hash needs hash_on, which says what is hashed")
	case b.Policy != "hash" && b.HashOn != "":
		v.errorf(v.at(&b.HashOn, b.Pos), "hash_on: the policy %s hashes nothing; set policy: hash", b.Policy)
	case b.HashOn != "":
		v.check(&b.HashOn, b.Pos, "hash_on", checkHashOn(b.HashOn))
	}
	if b.Policy == "hash" && b.SlowStart > 0 {
		v.errorf(v.at(&b.SlowStart, b.Pos), "slow_start: the policy hash has none: it would move clients from one endpoint to another")
	}
	if s := b.Sticky; s != nil {
		v.check(&s.Cookie, s.Pos, "cookie", checkToken("cookie", s.Cookie))
		v.check(&s.Path, s.Pos, "path", checkPath(s.Path))
		if s.SameSite == "none" && !s.Secure {
			v.errorf(v.at(&s.SameSite, s.Pos), "same_site: browsers take none only with secure: true")
		}
	}
}

func (v *validator) health(u *Upstream) {
	if c := u.HealthCheck; c != nil {
		v.check(&c.Path, c.Pos, "path", checkPath(c.Path))
		if c.Type != "http" && (c.Host != "" || c.Path != "/") {
			v.errorf(c.Pos, "health_check: host and path are for type http")
		}
		if c.Type != "grpc" && c.Service != "" {
			v.errorf(v.at(&c.Service, c.Pos), "service: it is for type grpc")
		}
		if c.Type == "grpc" && (c.Port != 0 || u.Protocol != "grpc") {
			v.errorf(c.Pos, "health_check: type grpc asks over the connections that requests go over; it needs protocol: grpc, and has no port of its own")
		}
	}
	if o := u.OutlierDetection; o != nil && o.MaxEjection < o.BaseEjection {
		v.errorf(v.at(&o.MaxEjection, o.Pos), "max_ejection: it is shorter than base_ejection, %s", o.BaseEjection)
	}
}

func (v *validator) resilience(r *Route) {
	if r.GRPC == nil && r.HTTP == nil && (r.Retry != nil || r.Hedge != nil || r.TryTimeout > 0 || r.StreamIdleTimeout > 0) {
		v.errorf(r.Pos, "routes: retry, hedge, try_timeout and stream_idle_timeout are for grpc and http routes")
	}
	if t := r.Retry; t != nil {
		v.words(t.On, t.Pos, "on", func(string) error { return nil })
		if t.MaxBackoff < t.Backoff {
			v.errorf(v.at(&t.MaxBackoff, t.Pos), "max_backoff: it is shorter than backoff, %s", t.Backoff)
		}
		if slices.Contains(t.On, "timeout") && r.TryTimeout == 0 {
			v.errorf(t.Pos, "on: timeout needs the route's try_timeout")
		}
	}
}

func checkHashOn(s string) error {
	switch kind, name, _ := strings.Cut(s, ":"); {
	case kind == "header" && name != "":
		return checkHeaderName(name)
	case kind == "cookie" && name != "":
		return checkToken("cookie", name)
	case s == "user", s == "ip":
		return nil
	case kind == "header", kind == "cookie":
		return errors.New("after the colon the name is missing")
	}
	return fmt.Errorf("%s is nothing to hash; expected header:NAME, cookie:NAME, user or ip%s", quote(s), didYouMean(s, []string{"header", "cookie", "user", "ip"}))
}

func (v *validator) clientTLS(t *ClientTLS) {
	switch {
	case t.Certificate != "" && t.Key == "":
		v.errorf(t.Pos, "tls: certificate is given without its key")
	case t.Key != "" && t.Certificate == "":
		v.errorf(t.Pos, "tls: key is given without its certificate")
	}
	if t.ServerName != "" {
		v.check(&t.ServerName, t.Pos, "server_name", checkHost(t.ServerName))
	}
}
