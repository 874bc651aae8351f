package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
)

// Stores keep the buckets of limits.
type Stores struct {
	Memory ratelimit.Store // nil for one of each policy's own
	Redis  ratelimit.Store // nil where there is none
	// Revoked are credentials that are refused before their time; nil for none.
	Revoked *auth.Revocations
}

// Policy is what a configured route asks of its callers. It is immutable.
type Policy struct {
	Name string
	Pos  config.Position
	Auth *auth.Policy

	revoked  *auth.Revocations
	before   limits // what is charged before the caller is known
	after    limits
	messages limits // of each WebSocket message
}

// CompilePolicy compiles the policies of a route.
func CompilePolicy(r *config.Route, providers *auth.Providers, stores Stores) (*Policy, error) {
	p := &Policy{Name: r.Name, Pos: r.Pos, revoked: stores.Revoked}
	var errs config.Errors
	var err error
	if p.Auth, err = providers.Policy(r.Auth); err != nil {
		errs.Add(r.Pos, err)
	}
	add := func(to *limits, scope string, i int, l *config.RateLimit) {
		if err := to.add(r.Name+scope+strconv.Itoa(i), l, stores); err != nil {
			errs.Add(l.Pos, err)
		}
	}
	for i := range r.RateLimits {
		l := &r.RateLimits[i]
		if l.Per == "user" || l.Per == "key" {
			add(&p.after, "/", i, l)
		} else {
			add(&p.before, "/", i, l)
		}
	}
	var messages []config.RateLimit
	switch {
	case r.WebSocket != nil:
		if messages = r.WebSocket.MessageRateLimits; messages == nil {
			messages = config.DefaultMessageRateLimits
		}
	case r.GRPC != nil && r.GRPC.WebSocket != nil:
		messages = r.GRPC.WebSocket.MessageRateLimits
	}
	for i := range messages {
		add(&p.messages, "/m", i, &messages[i])
	}
	return p, errs.Err()
}

// limits are rules that are charged together, by store.
type limits struct {
	memory, redis       []rule
	memStore, redisKeep ratelimit.Store
}

type rule struct {
	name   string // tells rules apart in the store
	per    keyKind
	header string
	take   ratelimit.Take
}

// maxRules is how many rules of a route one store is asked about at once.
const maxRules = 16

type keyKind uint8

const (
	perIP keyKind = iota
	perUser
	perKey
	perConnection
	perRoute
	perHeader
)

func (l *limits) add(name string, c *config.RateLimit, stores Stores) error {
	if len(l.memory) == maxRules || len(l.redis) == maxRules {
		return fmt.Errorf("a route has at most %d rate limits of a kind", maxRules)
	}
	r := rule{name: name, take: ratelimit.Take{
		Limit: ratelimit.Limit{Events: c.Rate.Events, Per: c.Rate.Per, Burst: c.Burst},
		Cost:  1,
	}}
	if r.take.Limit.Burst == 0 {
		r.take.Limit.Burst = c.Rate.Events
	}
	if err := r.take.Limit.Check(); err != nil {
		return fmt.Errorf("rate limit: %w", err)
	}
	switch header, isHeader := strings.CutPrefix(c.Per, "header:"); {
	case isHeader:
		r.per, r.header = perHeader, textproto.CanonicalMIMEHeaderKey(header)
	case c.Per == "user":
		r.per = perUser
	case c.Per == "key":
		r.per = perKey
	case c.Per == "connection":
		r.per = perConnection
	case c.Per == "route":
		r.per = perRoute
	}
	switch c.OnFailure {
	case "allow":
		r.take.OnFailure = ratelimit.LetPass
	case "deny":
		r.take.OnFailure = ratelimit.Refuse
	}
	if c.Store == "redis" {
		if stores.Redis == nil {
			return errors.New("rate limit: there is no Redis to keep it in")
		}
		l.redis, l.redisKeep = append(l.redis, r), stores.Redis
		return nil
	}
	if l.memStore == nil {
		if l.memStore = stores.Memory; l.memStore == nil {
			l.memStore = ratelimit.NewMemory()
		}
	}
	l.memory = append(l.memory, r)
	return nil
}

// scratch is room for the takes of one call and their keys.
type scratch struct {
	keys  []byte
	takes []ratelimit.Take
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// charge charges every rule, those in memory first: they cost nothing when they refuse.
func (l *limits) charge(ctx context.Context, route *Route, t *Ticket, h http.Header, connection string) *Refusal {
	if len(l.memory) > 0 {
		if f := charge(ctx, l.memStore, l.memory, route, t, h, connection); f != nil {
			return f
		}
	}
	if len(l.redis) > 0 {
		return charge(ctx, l.redisKeep, l.redis, route, t, h, connection)
	}
	return nil
}

func charge(ctx context.Context, store ratelimit.Store, rules []rule, route *Route, t *Ticket, h http.Header, connection string) *Refusal {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.keys, s.takes = s.keys[:0], s.takes[:0]
	var ends [maxRules]int
	for i := range rules {
		s.keys = rules[i].appendKey(s.keys, t, h, connection)
		s.takes = append(s.takes, rules[i].take)
		ends[i] = len(s.keys)
	}
	// Only now: the buffer may have moved while it grew.
	from := 0
	for i := range s.takes {
		s.takes[i].Key = s.keys[from:ends[i]]
		from = ends[i]
	}
	first := len(t.Limits)
	var err error
	if t.Limits, err = store.Take(ctx, t.Limits, s.takes); err != nil {
		return &Refusal{Kind: Unavailable, Reason: ratelimit.ErrUnavailable.Error(), Route: route, RetryAfter: time.Second}
	}
	var refused *Refusal
	for _, d := range t.Limits[first:] {
		if !d.Allowed && (refused == nil || d.RetryAfter > refused.RetryAfter) {
			refused = &Refusal{Kind: LimitExceeded, Reason: "too many requests", Route: route, Limit: d, RetryAfter: d.RetryAfter}
		}
	}
	return refused
}

// appendKey appends the name of the rule's bucket for this caller. What a caller chooses comes last, after a byte that
// tells its kind, so that no choice can name the bucket of another rule or kind.
func (r *rule) appendKey(b []byte, t *Ticket, h http.Header, connection string) []byte {
	b = append(append(b, r.name...), '/')
	id := t.Identity
	switch r.per {
	case perRoute:
		return append(b, 'r')
	case perUser:
		if id.Authenticated() && id.User != "" {
			b = append(append(b, 'u'), id.Provider...)
			return append(append(b, '/'), id.User...)
		}
	case perKey:
		if id.Authenticated() && id.KeyID != "" {
			b = append(append(b, 'k'), id.Provider...)
			return append(append(b, '/'), id.KeyID...)
		}
	case perConnection:
		if connection != "" {
			return append(append(b, 'c'), connection...)
		}
	case perHeader:
		value := one(h[r.header])
		if h == nil {
			value = t.header.get(r.header)
		}
		if value != "" {
			return append(append(b, 'h'), value[:min(len(value), maxKeyHeader)]...)
		}
	}
	return t.Subscriber().AppendTo(append(b, 'i'))
}

// Subscriber returns the address that the client is counted by: one subscriber has an IPv4 address, or a /64 of IPv6 at
// least (RFC 6177).
func (t *Ticket) Subscriber() netip.Addr {
	// An IPv4 client of a listener for both is ::ffff:192.0.2.1: all of IPv4 is in that one /64.
	client := t.Client.Unmap()
	if client.Is6() {
		if p, err := client.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return client
}

// maxKeyHeader bounds what a caller can make a store hold.
const maxKeyHeader = 256

// keyHeaders are the headers of an upgrade by which the messages of its session are counted.
type keyHeaders []struct{ name, value string }

func keep(l limits, h http.Header) keyHeaders {
	var kept keyHeaders
	for _, rules := range [][]rule{l.memory, l.redis} {
		for i := range rules {
			if rules[i].per == perHeader {
				kept = append(kept, struct{ name, value string }{rules[i].header, one(h[rules[i].header])})
			}
		}
	}
	return kept
}

func (k keyHeaders) get(name string) string {
	for _, h := range k {
		if h.name == name {
			return h.value
		}
	}
	return ""
}
