package admission

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/routing"
)

// Route is what a table's rule stands for: the policies of a configured route and what serves it. The bindings of one
// configured route share its Policy.
type Route struct {
	*Policy
	// Binding is the path template or path matched, for logs and metrics.
	Binding string
	// Target is what serves an admitted request; opaque here.
	Target any
}

// Request is one request, stream or upgrade to admit.
type Request struct {
	routing.Request
	// Client is the address the request came from, after trusted proxies.
	Client netip.Addr
	// Upgrade says that this is a WebSocket upgrade, whose credentials may be in the query or a subprotocol.
	Upgrade bool
	// Authority is the Host header as it came, with its port.
	Authority string
	// RawQuery is the URL's query.
	RawQuery string
	// ClientCertificate is in DER, where the listener has asked for one and verified it.
	ClientCertificate string
	// ID and Protocol are what an authorisation service is told of the request: its id, and HTTP/1.1 or HTTP/2.
	ID, Protocol string
	// Body is the request's, for an authorisation service; nil for none.
	Body Body

	pages bool // the route is one whose clients may be unable to choose headers
}

// Body is a body that is looked at before who is to have it reads it, from its start.
type Body interface {
	// Peek returns the first bytes, at most most, and whether there are more. The error is a *fault.Error.
	Peek(most int64) (start []byte, more bool, err error)
}

// Ticket is an admission. It is valid for the request, or the session, it was given to.
type Ticket struct {
	Route    *Route
	Vars     routing.Vars
	Identity *auth.Identity
	Client   netip.Addr
	// Limits are the decisions of the route's rate limits.
	Limits []Charge
	// Noted says that one of them was over its limit, in a dry run or for a refusal, or not counted.
	Noted bool
	// Changes are what becomes of the request's and the answer's headers; nil for nothing.
	Changes *auth.Changes
	// Forward is what tells the backend who the caller is, after Changes; nil for nothing.
	Forward *auth.Changes
	// Decision is what was decided, and by which rule.
	Decision Decision

	method string         // HTTP
	asked  *auth.Question // of a session that is asked about again; nil for none
	header keyHeaders
	held   []held
	keys   []byte // of held
}

// Decision says which of a route's rules decided about a request. It is empty where the route has none.
type Decision struct {
	// Rule is the name of the rule that let the request pass, or did not.
	Rule string
	// Unanswered says that the rule's decision stands without the answer of the service that was asked.
	Unanswered bool
	// WouldDeny is the name of the first rule that only reports, and that would have refused the request.
	WouldDeny string
}

// Admitter admits requests by one table. It is immutable and safe for concurrent use.
type Admitter struct {
	table *routing.Table[*Route]
}

// New returns the admitter of a table.
func New(table *routing.Table[*Route]) *Admitter { return &Admitter{table} }

// Admit decides about a request. nil is an admission, and fills t, whose slices are used again. On a refusal t holds
// nothing of use but its Decision.
func (a *Admitter) Admit(ctx context.Context, r *Request, t *Ticket) *Refusal {
	route, vars, outcome := a.table.Match(&r.Request, t.Vars)
	t.Release()
	*t = Ticket{Route: route, Vars: vars, Client: r.Client, Limits: t.Limits[:0], method: r.Method, held: t.held, keys: t.keys}
	if outcome != routing.Matched {
		return a.unmatched(r, outcome)
	}
	r.pages = route.pages
	if route.overload.refuses(route.priority) {
		return &Refusal{Kind: Overloaded, Reason: "the gateway has too much to do", Route: route, RetryAfter: time.Second}
	}
	limits := &route.requests
	if f := charge(ctx, limits.early, t, r.Header, ""); f != nil {
		return f
	}
	id, byCookie, err := route.Auth.Authenticate(ctx, (*carrier)(r))
	if err == nil {
		err = route.check(id)
	}
	if err == nil && byCookie && route.trusted != nil && r.forged(route.trusted) {
		return &Refusal{Kind: CrossOrigin, Reason: "a cookie tells who the caller is, and neither Sec-Fetch-Site nor Origin says that a page of this origin has made the request", Route: route}
	}
	if err != nil {
		if f := charge(ctx, limits.guesses, t, r.Header, ""); f != nil {
			return f
		}
		return refusalOf(route, err)
	}
	t.Identity = id
	if route.forward != nil {
		if t.Forward, err = route.forward.Changes(id); err != nil {
			return &Refusal{Kind: IdentityUnavailable, Reason: "the caller's identity cannot be passed on", Route: route}
		}
	}
	if route.rules != nil || route.external != nil {
		if f := t.authorize(ctx, r); f != nil {
			if over := charge(ctx, limits.guesses, t, r.Header, ""); over != nil {
				return over
			}
			return f
		}
	}
	if route.keeps {
		t.keep(r)
	}
	t.header = route.messages.keep(r.Header)
	early := len(t.Limits)
	f := charge(ctx, limits.late, t, r.Header, "")
	if f != nil {
		t.giveBack(limits.early, r.Header, "", early)
	}
	return f
}

// check decides about an identity that has been verified.
func (p *Policy) check(id *auth.Identity) error {
	if p.revoked.Refuses(id) {
		return p.Auth.Revoked()
	}
	return p.Auth.Authorize(id)
}

func (a *Admitter) unmatched(r *Request, outcome routing.Outcome) *Refusal {
	switch outcome {
	case routing.MethodNotAllowed:
		return &Refusal{Kind: MethodNotAllowed, Reason: "the path does not take the method " + r.Method, Allow: a.table.Allow(&r.Request)}
	case routing.BadPath:
		return &Refusal{Kind: BadRequest, Reason: "the path has a broken escape or a . or .. segment"}
	}
	return &Refusal{Kind: NoRoute, Reason: "no route for this path"}
}

func refusalOf(route *Route, err error) *Refusal {
	f := &Refusal{Kind: Unauthenticated, Reason: err.Error(), Route: route}
	var why *auth.Error
	if errors.As(err, &why) {
		f.Challenge, f.Answer = why.Challenge, why.Answer
		switch {
		case why.Denied:
			f.Kind = PermissionDenied
		case why.Unavailable:
			f.Kind, f.RetryAfter = IdentityUnavailable, time.Second
		}
	}
	return f
}
