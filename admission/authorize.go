package admission

import (
	"context"
	"errors"
	"sync"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/fault"
)

// externalRule is the name of an authorisation service among a route's rules.
const externalRule = "external_auth"

// questions are pooled: expressions and services see one through an interface, so that it is on the heap.
var questions = sync.Pool{New: func() any { return new(auth.Question) }}

// authorize asks the route's rules and then its authorisation service about a request whose caller is known.
func (t *Ticket) authorize(ctx context.Context, r *Request) (f *Refusal) {
	q := t.question(r)
	defer forget(q)
	if most, partial := t.Route.external.Body(); most > 0 && r.Body != nil {
		if f := show(q, r.Body, most, partial, t.Route); f != nil {
			return f
		}
	}
	t.Decision, t.Changes, f = t.Route.decide(ctx, q)
	return f
}

var errBodyTooLarge = fault.New(fault.MessageTooLarge, "the request's body is larger than the authorisation service is shown")

// show has a service be told the start of a body.
func show(q *auth.Question, body Body, most int64, partial bool, route *Route) *Refusal {
	start, more, err := body.Peek(most)
	if err == nil && more && !partial {
		err = errBodyTooLarge
	}
	if err != nil {
		e, ok := errors.AsType[*fault.Error](err)
		if !ok {
			e = fault.New(fault.InvalidRequest, err.Error())
		}
		return &Refusal{Kind: BodyRefused, Reason: e.Error(), Fault: e, Route: route}
	}
	q.Body, q.Partial = start, more
	return nil
}

func (route *Route) decide(ctx context.Context, q *auth.Question) (d Decision, changes *auth.Changes, f *Refusal) {
	if route.rules != nil {
		v := route.rules.Decide(q)
		d = Decision{Rule: v.Rule, WouldDeny: v.WouldDeny}
		if !v.Allowed {
			return d, nil, &Refusal{Kind: PermissionDenied, Reason: "the route's rules do not let the request pass", Route: route}
		}
	}
	if route.external == nil {
		return d, nil, nil
	}
	changes, failed, err := route.external.Check(ctx, q)
	d.Rule, d.Unanswered = externalRule, failed
	if err != nil {
		return d, nil, refusalOf(route, err)
	}
	return d, changes, nil
}

// keep keeps what a session's request was, to ask about it again.
func (t *Ticket) keep(r *Request) {
	q := t.question(r)
	defer forget(q)
	asked := *q
	t.asked = &asked
}

// authorizeAgain asks as authorize did, about another identity of the session. What the answer would change of the request
// is of no use any more.
func (t *Ticket) authorizeAgain(ctx context.Context, id *auth.Identity) *Refusal {
	if t.asked == nil {
		return nil
	}
	q := t.again(id)
	defer forget(q)
	_, _, f := t.Route.decide(ctx, q)
	return f
}

// AuthorizeMessage asks the route's rules about a message of the session.
func (t *Ticket) AuthorizeMessage(m auth.Message) *Refusal {
	if t.Route.talk == nil {
		return nil
	}
	q := t.again(t.Identity)
	defer forget(q)
	if q.Message = m; t.Route.talk.Decide(q).Allowed {
		return nil
	}
	return &Refusal{Kind: PermissionDenied, Reason: "the route's rules do not let the message pass", Route: t.Route}
}

// again is the question that the session's request was, about an identity, until it is forgotten.
func (t *Ticket) again(id *auth.Identity) *auth.Question {
	q := questions.Get().(*auth.Question)
	*q = *t.asked
	q.Identity = id
	return q
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
		ID: r.ID, Method: r.Method, Host: r.Host, Path: normal(r.Path), Query: r.RawQuery, Protocol: r.Protocol, Upgrade: r.Upgrade,
		Header: r.Header, Client: r.Client, Identity: t.Identity, Vars: t.Vars,
		Route: t.Route.Name, Binding: t.Route.Binding, Calls: t.Route.method,
	}
	return q
}

func forget(q *auth.Question) {
	*q = auth.Question{}
	questions.Put(q)
}
