package admission

import (
	"context"
	"time"

	"github.com/crossgate/crossgate/auth"
)

// AdmitMessage decides about one message of a WebSocket session: its identity must not have expired, and the route's
// message limits must have room. One call at a time for a ticket.
func (t *Ticket) AdmitMessage(ctx context.Context, connection string) *Refusal {
	if exp := t.Identity.Expires; !exp.IsZero() && time.Now().After(exp) {
		return &Refusal{Kind: Unauthenticated, Reason: "the token has expired", Route: t.Route}
	}
	t.Limits, t.Noted = t.Limits[:0], false
	limits := &t.Route.messages
	f := charge(ctx, limits.early, t, nil, connection)
	if f == nil {
		early := len(t.Limits)
		if f = charge(ctx, limits.late, t, nil, connection); f != nil {
			t.giveBack(limits.early, nil, connection, early)
		}
	}
	return f
}

// Refresh verifies a new credential for the session, of the same user, asks the route's rules and its authorisation
// service about the session's request with it, and goes on with it.
func (t *Ticket) Refresh(ctx context.Context, token string) (*auth.Identity, *Refusal) {
	id, err := t.Route.Auth.AuthenticateToken(ctx, token)
	if err == nil {
		err = t.Route.check(id)
	}
	if err != nil {
		return nil, refusalOf(t.Route, err)
	}
	if id.User != t.Identity.User || id.Provider != t.Identity.Provider {
		return nil, &Refusal{Kind: PermissionDenied, Reason: "the new credential is another user's", Route: t.Route}
	}
	if f := t.authorizeAgain(ctx, id); f != nil {
		return nil, f
	}
	t.Identity = id
	return id, nil
}

// Verify verifies a token that came over the session beside its own, and returns whose it is. It never is anonymous.
func (t *Ticket) Verify(ctx context.Context, token string) (*auth.Identity, *Refusal) {
	id, err := t.Route.Auth.AuthenticateToken(ctx, token)
	if err == nil && t.Route.revoked.Refuses(id) {
		err = t.Route.Auth.Revoked()
	}
	if err != nil {
		return nil, refusalOf(t.Route, err)
	}
	if !id.Authenticated() {
		return nil, &Refusal{Kind: Unauthenticated, Reason: "the route has nobody to verify tokens", Route: t.Route}
	}
	return id, nil
}
