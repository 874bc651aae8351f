package auth

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/crossgate/crossgate/config"
)

// Policy is what one route asks of its callers. A nil *Policy lets everyone in as Anonymous.
type Policy struct {
	providers []*provider // whose credentials are words of the caller
	sources   []source
	optional  bool
	roles     []string
	scopes    []string
	challenge string
	login     *Login // of the first provider that has one
}

// source is one place to look for a credential, and the providers whose it may be.
type source struct {
	providers []*provider
	place
}

type place struct {
	header   string // canonical
	scheme   string // with a space after it, empty for none
	cookie   string
	query    string
	protocol string
	// certificate is the connection's own, in place of all those.
	certificate bool
}

// Policy compiles what a route asks for; nil stays nil.
func (p *Providers) Policy(cfg *config.RouteAuth) (*Policy, error) {
	if cfg == nil {
		return nil, nil
	}
	policy := &Policy{optional: cfg.Optional, roles: cfg.Roles, scopes: cfg.Scopes}
	var certificates []*provider
	for _, name := range cfg.Require {
		one := p.find(name)
		if one == nil {
			return nil, config.Errorf(cfg.Pos, "auth: there is no provider %q", name)
		}
		if one.kind == Certificate {
			certificates = append(certificates, one)
			continue
		}
		if policy.login == nil {
			policy.login = one.login
		}
		policy.providers = append(policy.providers, one)
		for _, from := range one.from {
			s := place{header: textproto.CanonicalMIMEHeaderKey(from.Header), cookie: from.Cookie, query: from.Query, protocol: from.Subprotocol}
			if from.Scheme != "" {
				s.scheme = from.Scheme + " "
			} else if s.header == "Authorization" {
				s.scheme = "Bearer "
			}
			if i := slices.IndexFunc(policy.sources, func(other source) bool { return other.place == s }); i >= 0 {
				policy.sources[i].providers = append(policy.sources[i].providers, one)
			} else {
				policy.sources = append(policy.sources, source{[]*provider{one}, s})
			}
		}
	}
	if certificates != nil {
		// After what a request says of itself: a proxy may make the requests of many callers on its connection.
		policy.sources = append(policy.sources, source{certificates, place{certificate: true}})
	}
	policy.challenge = challenge(policy.providers)
	return policy, nil
}

// challenge says with what a caller may try again (RFC 9110 section 11.6.1): a token first, for its errors have a place of
// their own. Keys, whose scheme is nobody's standard, are named where there is nothing else.
func challenge(providers []*provider) string {
	bearer, basic := "", ""
	for _, one := range providers {
		switch one.kind {
		case SignedToken, OpaqueToken:
			bearer = `Bearer realm="crossgate"`
		case Password:
			basic = `Basic realm="` + one.config.Basic.Realm + `", charset="UTF-8"`
		}
	}
	switch {
	case bearer != "" && basic != "":
		return bearer + ", " + basic
	case bearer+basic != "":
		return bearer + basic
	case slices.ContainsFunc(providers, func(one *provider) bool { return one.kind == Session }):
		return `Session realm="crossgate"` // nobody's standard: a browser logs in
	case len(providers) == 0:
		return `ClientCertificate realm="crossgate"` // nobody's standard either
	}
	return `ApiKey realm="crossgate"`
}

// Place is one place where a policy looks for a credential of a request.
type Place struct {
	// Provider is the name of the provider whose credential it is.
	Provider string
	Kind     Kind
	// Header is canonical, with Scheme before the credential, empty for none; or else Cookie is set.
	Header, Scheme, Cookie string
}

// Places returns where a credential may be, any one of them enough, but for places that only WebSocket upgrades have.
func (p *Policy) Places() []Place {
	if p == nil {
		return nil
	}
	var list []Place
	for i := range p.sources {
		s := &p.sources[i]
		if s.header == "" && s.cookie == "" {
			continue
		}
		for _, one := range s.providers {
			list = append(list, Place{
				Provider: one.name, Kind: one.kind, Header: s.header, Scheme: strings.TrimSuffix(s.scheme, " "), Cookie: s.cookie,
			})
		}
	}
	return list
}

// Login returns how browsers without a session get one; nil for not at all.
func (p *Policy) Login() *Login {
	if p == nil {
		return nil
	}
	return p.login
}

// Optional reports whether callers without a credential are let in.
func (p *Policy) Optional() bool { return p == nil || p.optional }

// Roles returns the roles of which a caller must have one; the caller must not change the slice.
func (p *Policy) Roles() []string {
	if p == nil {
		return nil
	}
	return p.roles
}

// Scopes returns the scopes all of which a caller must have; the caller must not change the slice.
func (p *Policy) Scopes() []string {
	if p == nil {
		return nil
	}
	return p.scopes
}

// QueryNames returns the query parameters that the policy looks for credentials in.
func (p *Policy) QueryNames() []string {
	var names []string
	if p == nil {
		return nil
	}
	for i := range p.sources {
		if name := p.sources[i].query; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// read returns the credential the carrier has in this place, "" for none.
func (s *place) read(c Carrier) string {
	switch {
	case s.certificate:
		return c.Certificate()
	case s.header != "":
		v := c.Header(s.header)
		if n := len(s.scheme); n > 0 {
			if len(v) <= n || !strings.EqualFold(v[:n], s.scheme) {
				return ""
			}
			v = strings.TrimLeft(v[n:], " ")
		}
		return v
	case s.cookie != "":
		return c.Cookie(s.cookie)
	case s.query != "":
		return c.Query(s.query)
	}
	return c.Subprotocol(s.protocol)
}

// Authenticate finds the caller's credential and verifies it. Several providers may look in the same place: the caller is
// who the first of them that knows the credential says. byCookie says that the credential was a cookie, which browsers send whoever
// has made the request. The error is an *Error.
func (p *Policy) Authenticate(ctx context.Context, c Carrier) (id *Identity, byCookie bool, err error) {
	if p == nil {
		return Anonymous, false, nil
	}
	var refusal error
	for i := range p.sources {
		s := &p.sources[i]
		credential := s.read(c)
		if credential == "" {
			continue
		}
		id, err := verify(ctx, s.providers, credential)
		if err == nil {
			return id, s.cookie != "", nil
		}
		refusal = worse(refusal, err)
	}
	id, err = p.refuse(refusal)
	return id, false, err
}

// AuthenticateToken verifies a credential that came by itself, as over an open WebSocket. The error is an *Error.
func (p *Policy) AuthenticateToken(ctx context.Context, credential string) (*Identity, error) {
	if p == nil {
		return Anonymous, nil
	}
	id, err := verify(ctx, p.providers, credential)
	if id != nil {
		return id, nil
	}
	return p.refuse(err)
}

// verify asks the providers whose credential it may be. Those that remember it are asked first, so that which of several
// issuers a token has costs nothing after the first time.
func verify(ctx context.Context, providers []*provider, credential string) (*Identity, error) {
	d := digestOf(credential)
	for _, one := range providers {
		if id := one.verifier.recall(d); id != nil {
			return id, nil
		}
	}
	var refusal error
	for _, one := range providers {
		if one.kind == OpaqueToken && refusal != nil && !isNotMine(refusal) {
			continue // whose it was has refused it, and others need not see it
		}
		id, err := one.verifier.verify(ctx, d, credential)
		if err == nil {
			return id, nil
		}
		refusal = worse(refusal, err)
	}
	return nil, refusal
}

// notMine is what a verifier says of a credential that is not for it to judge: another issuer's token.
type notMine struct{ reason string }

func (e *notMine) Error() string { return e.reason }

func isNotMine(err error) bool {
	_, ok := err.(*notMine)
	return ok
}

// outage is what a verifier says when it cannot tell.
type outage struct{ reason string }

func (e *outage) Error() string { return e.reason }

// worse keeps the refusal that says most: that of the provider the credential was for.
func worse(old, err error) error {
	switch {
	case old == nil, isNotMine(old) && !isNotMine(err):
		return err
	}
	return old
}

func (p *Policy) refuse(err error) (*Identity, error) {
	if err == nil {
		if p.optional {
			return Anonymous, nil
		}
		return nil, &Error{Reason: "a credential is needed", Challenge: p.challenge}
	}
	if err == errNoSession && p.optional {
		return Anonymous, nil // a browser has the cookie for longer than the session lasts
	}
	if _, ok := err.(*outage); ok {
		return nil, &Error{Unavailable: true, Reason: err.Error()}
	}
	challenge := p.challenge
	const bearer = `Bearer realm="crossgate"`
	if rest, ok := strings.CutPrefix(challenge, bearer); ok {
		challenge = fmt.Sprintf(`%s, error="invalid_token", error_description=%q%s`, bearer, err.Error(), rest)
	}
	return nil, &Error{Reason: err.Error(), Challenge: challenge}
}

// Revoked is the refusal of a credential that is good by itself and was revoked.
func (p *Policy) Revoked() error {
	_, err := p.refuse(errors.New("the credential is revoked"))
	return err
}

// UsesCookies reports whether the policy takes credentials from cookies.
func (p *Policy) UsesCookies() bool {
	return p != nil && slices.ContainsFunc(p.sources, func(s source) bool { return s.cookie != "" })
}

// Authorize reports whether an identity may use the route. The error is an *Error with Denied.
func (p *Policy) Authorize(id *Identity) error {
	if p == nil {
		return nil
	}
	if len(p.roles) > 0 && !slices.ContainsFunc(p.roles, func(r string) bool { return slices.Contains(id.Roles, r) }) {
		return &Error{Denied: true, Reason: "none of the roles that the route asks for"}
	}
	for _, s := range p.scopes {
		if !slices.Contains(id.Scopes, s) {
			return &Error{Denied: true, Reason: fmt.Sprintf("the scope %q is missing", s)}
		}
	}
	return nil
}
