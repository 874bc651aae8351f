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
	q := questions.Get().(*auth.Question)
	defer func() {
		*q = auth.Question{}
		questions.Put(q)
	}()
	*q = auth.Question{
		ID: r.ID, Method: r.Method, Host: r.Host, Path: r.Path, Query: r.RawQuery, Protocol: r.Protocol, Upgrade: r.Upgrade,
		Header: r.Header, Client: r.Client, Identity: t.Identity, Vars: t.Vars, Route: route.Name, Binding: route.Binding, Calls: route.method,
	}
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
