package admission

import (
	"fmt"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
)

// Stores keep the buckets of limits.
type Stores struct {
	Memory ratelimit.Store // nil for one of each policy's own
	Redis  ratelimit.Store // nil where there is none
	Leased ratelimit.Store // and so is this
	// Shared are the limits that routes may name.
	Shared []config.RateLimit
	// Overload sheds requests; nil for never.
	Overload *Overload
	// Revoked are credentials that are refused before their time; nil for none.
	Revoked *auth.Revocations
	// Signer signs what backends are told of callers; nil for none.
	Signer *auth.Signer
	// Upstream finds who calls an upstream, nil for none of that name.
	Upstream func(name string) auth.Caller
}

// Policy is what a configured route asks of its callers. It is immutable.
type Policy struct {
	Name string
	Pos  config.Position
	Auth *auth.Policy

	revoked  *auth.Revocations
	rules    *auth.Rules     // nil for none
	talk     *auth.Rules     // about messages of sessions; nil for none
	external *auth.External  // nil for none
	forward  *auth.Forwarder // and so is this
	trusted  *trusted        // and so is this
	keeps    bool            // sessions are asked about again
	pages    bool            // credentials may be in the query: an EventSource cannot choose headers
	overload *Overload
	priority Priority
	requests limits
	messages limits // of each WebSocket message
	// method is the gRPC method that the binding calls, which limits may look at; "" for none.
	method string
}

// CompilePolicy compiles the policies of a route.
func CompilePolicy(r *config.Route, providers *auth.Providers, stores Stores) (*Policy, error) {
	p := &Policy{Name: r.Name, Pos: r.Pos, revoked: stores.Revoked, overload: stores.Overload, priority: Normal,
		pages: r.WebSocket != nil && r.WebSocket.HasEvents()}
	if named, ok := priorities[r.Priority]; ok {
		p.priority = named
	}
	var errs config.Errors
	var err error
	if p.Auth, err = providers.Policy(r.Auth); err != nil {
		errs.Add(r.Pos, err)
	}
	p.trusted = compileTrusted(r, p.Auth)
	if p.forward, err = auth.CompileForwarder(r.ForwardIdentity, stores.Signer); err != nil {
		errs.Add(r.ForwardIdentity.Pos, err)
	}
	if p.rules, err = auth.CompileRules(r.Name, r.Authorize); err != nil {
		errs.Add(r.Authorize.Pos, err)
	}
	if e := r.ExternalAuth; e != nil {
		if caller := stores.Upstream(e.Upstream); caller != nil {
			p.external = auth.CompileExternal(r.Name, e, caller)
		} else {
			errs.Add(e.Pos, fmt.Errorf("route %s: there is no upstream %q", r.Name, e.Upstream))
		}
	}
	if w := r.WebSocket; w != nil {
		if p.talk, err = auth.CompileMessageRules(r.Name, w.AuthorizeMessages); err != nil {
			errs.Add(w.AuthorizeMessages.Pos, err)
		}
		p.keeps = p.rules != nil || p.external != nil || p.talk != nil
	}
	if stores.Memory == nil {
		stores.Memory = ratelimit.NewMemory()
	}
	compile := func(to *limits, scope string, list []config.RateLimit) {
		c := limitCompiler{route: r.Name, scope: scope, stores: stores}
		errs.Add(r.Pos, c.compile(to, list))
	}
	compile(&p.requests, "", r.RateLimits)
	switch {
	case r.WebSocket != nil:
		messages := r.WebSocket.MessageRateLimits
		if messages == nil {
			messages = config.DefaultMessageRateLimits
		}
		compile(&p.messages, "messages", messages)
	case r.GRPC != nil && r.GRPC.WebSocket != nil:
		compile(&p.messages, "messages", r.GRPC.WebSocket.MessageRateLimits)
	}
	return p, errs.Err()
}

// Rules are the limits of requests.
func (p *Policy) Rules() []*Rule { return p.requests.public }

// For returns the policy of a binding that calls a gRPC method, by its full name.
func (p *Policy) For(method string) *Policy {
	own := *p
	own.method = method
	own.requests = p.requests.forMethod(method)
	own.messages = p.messages.forMethod(method)
	return &own
}
