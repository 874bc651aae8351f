package admission

import (
	"context"
	"sync"

	"github.com/crossgate/crossgate/auth"
)

// externalRule is the name of an authorisation service among a route's rules.
const externalRule = "external_auth"

// questions are pooled: expressions and services see one through an interface, so that it is on the heap.
var questions = sync.Pool{New: func() any { return new(auth.Question) }}

// authorize asks the route's rules and then its authorisation service about a request whose caller is known.
func (t *Ticket) authorize(ctx context.Context, r *Request) *Refusal {
	route := t.Route
	q := t.question(r)
	defer forget(q)
	if route.rules != nil {
		v := route.rules.Decide(q)
		t.Decision = Decision{Rule: v.Rule, WouldDeny: v.WouldDeny}
		if !v.Allowed {
			return &Refusal{Kind: PermissionDenied, Reason: "the route's rules do not let the request pass", Route: route}
		}
	}
	if route.external == nil {
		return nil
	}
	changes, failed, err := route.external.Check(ctx, q)
	t.Decision.Rule, t.Decision.Unanswered = externalRule, failed
	if err != nil {
		return refusalOf(route, err)
	}
	t.Changes = changes
	return nil
}

// Holds reports whether a condition is true of the request that the ticket was given to.
func (t *Ticket) Holds(c *auth.Condition, r *Request) bool {
	q := t.question(r)
	defer forget(q)
	return c.Holds(q)
}

// question is the request as expressions and services see it, until it is forgotten.
func (t *Ticket) question(r *Request) *auth.Question {
	q := questions.Get().(*auth.Question)
	*q = auth.Question{
		ID: r.ID, Method: r.Method, Host: r.Host, Path: r.Path, Query: r.RawQuery, Protocol: r.Protocol, Upgrade: r.Upgrade,
		Header: r.Header, Client: r.Client, Identity: t.Identity, Vars: t.Vars,
		Route: t.Route.Name, Binding: t.Route.Binding, Calls: t.Route.method,
	}
	return q
}

func forget(q *auth.Question) {
	*q = auth.Question{}
	questions.Put(q)
}
