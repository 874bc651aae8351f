package admission

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/crossgate/crossgate/ratelimit"
)

// scratch is room for the takes of one call and their keys.
type scratch struct {
	keys      []byte
	takes     []ratelimit.Take
	rules     []*rule
	decisions []ratelimit.Decision
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// fill makes the takes of rules that count the request.
func (s *scratch) fill(rules []*rule, t *Ticket, h http.Header, connection string) {
	s.keys, s.takes, s.rules = s.keys[:0], s.takes[:0], s.rules[:0]
	var ends [maxRules]int
	for _, r := range rules {
		cost := r.cost(t.method)
		if cost == 0 {
			continue
		}
		s.keys = r.appendKey(s.keys, t, h, connection)
		ends[len(s.takes)] = len(s.keys)
		s.takes, s.rules = append(s.takes, r.take), append(s.rules, r)
		s.takes[len(s.takes)-1].Cost = cost
	}
	// Only now: the buffer may have moved while it grew.
	from := 0
	for i := range s.takes {
		s.takes[i].Key = s.keys[from:ends[i]]
		from = ends[i]
	}
}

// charge charges every rule of groups, or none of them.
func charge(ctx context.Context, groups []group, t *Ticket, h http.Header, connection string) *Refusal {
	places := len(t.held)
	for i := range groups {
		first := len(t.Limits)
		if f := groups[i].charge(ctx, t, h, connection); f != nil {
			t.giveBack(groups[:i], h, connection, first)
			t.release(places)
			return f
		}
	}
	return nil
}

func (g *group) charge(ctx context.Context, t *Ticket, h http.Header, connection string) *Refusal {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.fill(g.rules, t, h, connection)
	if len(s.takes) == 0 {
		return nil
	}
	var err error
	if s.decisions, err = g.store.Take(ctx, s.decisions[:0], s.takes); err != nil {
		return &Refusal{Kind: Unavailable, Reason: ratelimit.ErrUnavailable.Error(), Route: t.Route, RetryAfter: time.Second}
	}
	var refused *Refusal
	for i := range s.decisions {
		d, r := &s.decisions[i], s.rules[i]
		t.Limits = append(t.Limits, Charge{r.Rule, *d})
		t.Noted = t.Noted || d.Uncounted || !d.Allowed
		if !d.Allowed && !r.DryRun && (refused == nil || d.RetryAfter > refused.RetryAfter) {
			refused = &Refusal{Kind: LimitExceeded, Reason: tooMany[r.Kind], Route: t.Route, Limit: Charge{r.Rule, *d}, RetryAfter: d.RetryAfter}
		}
	}
	if refused == nil {
		t.hold(g.store, s)
	}
	return refused
}

var tooMany = [...]string{ratelimit.Rate: "too many requests", ratelimit.Quota: "the quota is used up", ratelimit.Concurrency: "too many requests at the same time"}

// giveBack returns what rules have charged to a request that is refused after all. decided is how many of the ticket's
// decisions are theirs, or of groups before them.
func (t *Ticket) giveBack(groups []group, h http.Header, connection string, decided int) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	n := 0
	for i := range groups {
		for _, r := range groups[i].rules {
			if r.cost(t.method) != 0 {
				n++
			}
		}
	}
	at := decided - n
	for i := range groups {
		s.fill(groups[i].rules, t, h, connection)
		for j := range s.takes {
			// A place is the ticket's, to release.
			if d := &t.Limits[at].Decision; d.Allowed && !d.Uncounted && s.takes[j].Limit.Kind != ratelimit.Concurrency {
				groups[i].store.Return(s.takes[j : j+1])
			}
			at++
		}
	}
}

// held is the place that a request has taken of a concurrency limit.
type held struct {
	store    ratelimit.Store
	take     ratelimit.Take
	from, to int // of its key in Ticket.keys
}

func (t *Ticket) hold(store ratelimit.Store, s *scratch) {
	for i := range s.takes {
		if d := &s.decisions[i]; s.takes[i].Limit.Kind == ratelimit.Concurrency && d.Allowed && !d.Uncounted {
			from := len(t.keys)
			t.keys = append(t.keys, s.takes[i].Key...)
			t.held = append(t.held, held{store, s.takes[i], from, len(t.keys)})
		}
	}
}

// Release gives the places back that the request, or the session, has of concurrency limits. It is called once what was
// admitted has ended, and does nothing when it is called again.
func (t *Ticket) Release() { t.release(0) }

// release gives all places back but the first n.
func (t *Ticket) release(n int) {
	for i := n; i < len(t.held); i++ {
		place := [1]ratelimit.Take{t.held[i].take}
		place[0].Key = t.keys[t.held[i].from:t.held[i].to]
		t.held[i].store.Return(place[:])
	}
	if n < len(t.held) {
		t.keys = t.keys[:t.held[n].from]
		t.held = t.held[:n]
	}
}
