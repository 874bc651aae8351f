package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// DNS is the addresses of a name, or of the hosts that its SRV records name (RFC 2782). It asks the name servers itself,
// as the system's resolver says nothing of TTLs.
type DNS struct {
	Name     string
	Service  bool // ask for SRV records
	Port     int  // unless they have it
	Interval time.Duration
	Server   string // empty for those of /etc/resolv.conf

	known map[question][]dns.RR // the last answers
}

type question struct {
	name string
	kind uint16
}

// answerTimeout is how long one server has to answer.
const answerTimeout = 2 * time.Second

// Run asks again and again: when the first record's TTL is over, or the interval.
func (d *DNS) Run(ctx context.Context, to *Listener) {
	d.known = make(map[question][]dns.RR)
	for {
		list, ttl, err := d.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if to.learn(list, err); len(list) == 0 {
			ttl = soonest
		}
		if !wait(ctx, min(d.Interval, max(ttl, soonest)), nil) {
			return
		}
	}
}

func (d *DNS) look(ctx context.Context) ([]Endpoint, time.Duration, error) {
	servers, err := d.servers()
	if err != nil {
		return nil, 0, err
	}
	l := lookup{DNS: d, servers: servers, asked: make(map[question]bool), ttl: d.Interval}
	var list []Endpoint
	if d.Service {
		list, err = l.services(ctx)
	} else {
		list, err = l.hosts(ctx, d.Name, d.Port, 1)
	}
	// What has not been asked for is the answer of a host that is gone.
	for q := range d.known {
		if !l.asked[q] {
			delete(d.known, q)
		}
	}
	return list, l.ttl, err
}

func (d *DNS) servers() ([]string, error) {
	if d.Server != "" {
		return []string{d.Server}, nil
	}
	c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	var servers []string
	for _, s := range c.Servers {
		servers = append(servers, net.JoinHostPort(s, c.Port))
	}
	if len(servers) == 0 {
		return nil, errors.New("dns: /etc/resolv.conf names no server")
	}
	return servers, nil
}

// lookup is one round of questions.
type lookup struct {
	*DNS
	servers []string
	asked   map[question]bool
	ttl     time.Duration // the shortest seen
}

// services returns the endpoints of the SRV records of the best priority.
func (l *lookup) services(ctx context.Context) ([]Endpoint, error) {
	records, err := l.ask(ctx, l.Name, dns.TypeSRV)
	if err != nil {
		return nil, err
	}
	best := uint16(0xffff)
	for _, r := range records {
		best = min(best, r.(*dns.SRV).Priority)
	}
	var list []Endpoint
	for _, r := range records {
		s := r.(*dns.SRV)
		if s.Priority != best || s.Target == "." { // no such service here (RFC 2782)
			continue
		}
		hosts, err := l.hosts(ctx, s.Target, int(s.Port), max(int(s.Weight), 1))
		if err != nil {
			return nil, err
		}
		list = append(list, hosts...)
	}
	return list, nil
}

// hosts returns the endpoints of a name's addresses. Where one of the two kinds of address has no answer, its last one
// counts: a server that is at odds with one kind must not take the other's endpoints away.
func (l *lookup) hosts(ctx context.Context, name string, port, weight int) ([]Endpoint, error) {
	var list []Endpoint
	var failed []error
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		records, err := l.ask(ctx, name, kind)
		if err != nil {
			failed = append(failed, err)
			records = l.known[question{name, kind}]
		}
		for _, r := range records {
			address := net.IP(nil)
			switch r := r.(type) {
			case *dns.A:
				address = r.A
			case *dns.AAAA:
				address = r.AAAA
			}
			list = append(list, Endpoint{Address: net.JoinHostPort(address.String(), strconv.Itoa(port)), Weight: weight})
		}
	}
	if len(failed) == 2 || len(list) == 0 && len(failed) > 0 {
		return nil, failed[0]
	}
	return list, nil
}

// ask asks the servers in turn until one answers. A name that is not there has no records.
func (l *lookup) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	q := question{name, kind}
	l.asked[q] = true
	var err error
	for _, server := range l.servers {
		var answer *dns.Msg
		if answer, err = exchange(ctx, server, name, kind); err == nil {
			records := l.take(answer, kind)
			l.known[q] = records
			return records, nil
		}
	}
	return nil, fmt.Errorf("dns: %s %s: %w", dns.TypeToString[kind], name, err)
}

func (l *lookup) take(answer *dns.Msg, kind uint16) []dns.RR {
	var records []dns.RR
	for _, r := range answer.Answer {
		l.ttl = min(l.ttl, time.Duration(r.Header().Ttl)*time.Second) // also of a CNAME on the way
		if r.Header().Rrtype == kind {
			records = append(records, r)
		}
	}
	return slices.Clip(records)
}

// exchange asks one server, by TCP where the answer is too large for UDP.
func exchange(ctx context.Context, server, name string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	m.SetEdns0(1232, false) // what passes everywhere: dnsflagday.net/2020
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: answerTimeout}
		answer, _, err := c.ExchangeContext(ctx, m, server)
		switch {
		case err != nil:
			return nil, err
		case answer.Truncated && network == "udp":
			continue
		case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
			return nil, fmt.Errorf("the server says %s", dns.RcodeToString[answer.Rcode])
		}
		return answer, nil
	}
	return nil, errors.New("the answer is cut off over TCP too")
}
