package wsbridge

import (
	"net/netip"
	"sync"
)

// census counts the sessions of this node, by route and by whose they are.
type census struct {
	mu     sync.Mutex
	routes map[string]*population
}

type population struct {
	all       int
	users     map[string]int
	addresses map[netip.Addr]int
}

// enter counts a session, unless it is one too many: then it returns the limit that it exceeds.
func (c *census) enter(r *Route, user string, address netip.Addr) limit {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.routes[r.name]
	if p == nil {
		p = &population{users: map[string]int{}, addresses: map[netip.Addr]int{}}
		if c.routes == nil {
			c.routes = map[string]*population{}
		}
		c.routes[r.name] = p
	}
	switch {
	case p.all >= r.maxConnections:
		return limitConnections
	case p.addresses[address] >= r.maxPerIP:
		return limitConnectionsPerIP
	case user != "" && p.users[user] >= r.maxPerUser:
		return limitConnectionsPerUser
	}
	p.all++
	p.addresses[address]++
	if user != "" {
		p.users[user]++
	}
	return ""
}

func (c *census) leave(r *Route, user string, address netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.routes[r.name]
	if p.all--; p.all == 0 {
		delete(c.routes, r.name) // with it goes a route that the configuration has no more
		return
	}
	if p.addresses[address]--; p.addresses[address] == 0 {
		delete(p.addresses, address)
	}
	if user == "" {
		return
	}
	if p.users[user]--; p.users[user] == 0 {
		delete(p.users, user)
	}
}
