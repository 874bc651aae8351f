package wsbridge

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// channelClaim is the claim of a subscription token that names its channel, or a list of channels.
const channelClaim = "channel"

// channel returns the first rule that fits a channel for an identity, nil for none.
func (r *Route) channel(name string, id *auth.Identity) *channelRule {
	for i := range r.channels {
		if c := &r.channels[i]; c.fits(name, id) {
			return c
		}
	}
	return nil
}

// authorize finds out whether the session may subscribe to a channel, and calls then if it may. If not, the client is
// told. Where the service is to be asked that is done later, in another goroutine. The caller has the turn, as then has.
func (s *session) authorize(ctx context.Context, r *request, then func(context.Context, *request)) {
	id := s.ticket.Identity
	rule := s.route.channel(r.Channel, id)
	if rule == nil || rule.allow == allowNobody {
		s.denied(r.ID, "not allowed to subscribe to this channel")
		return
	}
	if rule.allow == allowAuthenticated && !id.Authenticated() {
		s.denied(r.ID, "only users may subscribe to this channel")
		return
	}
	if len(rule.roles) > 0 && !slices.ContainsFunc(rule.roles, func(role string) bool { return slices.Contains(id.Roles, role) }) {
		s.denied(r.ID, "none of the roles that the channel asks for")
		return
	}
	switch rule.allow {
	case allowToken:
		if f := s.checkSubscriptionToken(ctx, r); f != nil {
			s.refused(r.ID, f)
			return
		}
	case allowService:
		s.ask(ctx, rule, r, then)
		return
	}
	then(ctx, r)
}

func (s *session) denied(id json.RawMessage, reason string) {
	s.refused(id, &admission.Refusal{Kind: admission.PermissionDenied, Reason: reason})
}

// checkSubscriptionToken holds a subscription token to what it is for: this user and this channel.
func (s *session) checkSubscriptionToken(ctx context.Context, r *request) *admission.Refusal {
	if r.Token == "" {
		return &admission.Refusal{Kind: admission.Unauthenticated, Reason: "the channel asks for a subscription token"}
	}
	id, f := s.ticket.Verify(ctx, r.Token)
	if f != nil {
		return f
	}
	if id.User != s.user {
		return &admission.Refusal{Kind: admission.PermissionDenied, Reason: "the subscription token is another user's"}
	}
	if v, _ := id.Claim(channelClaim); !isValue(v, r.Channel) {
		return &admission.Refusal{Kind: admission.PermissionDenied, Reason: "the subscription token is for another channel"}
	}
	return nil
}

// ask has the service decide.
func (s *session) ask(ctx context.Context, rule *channelRule, r *request, then func(context.Context, *request)) {
	key := s.decisionKey(r.Channel)
	if d, ok := s.route.decisions.get(key); ok {
		s.decided(ctx, r, d, then)
		return
	}
	kept := r.clone()
	m := s.envelope(bus.Subscribe)
	m.Channel = r.Channel
	s.deliver(ctx, m, &kept, func(o *bus.Outbound) {
		d := decisionOf(o)
		if key != (decisionKey{}) && d.final() {
			s.route.decisions.put(key, d, rule.decisionTTL)
		}
		s.spawn(func() {
			s.turn.Lock()
			defer s.turn.Unlock()
			s.decided(context.Background(), &kept, d, then)
		})
	})
}

func (s *session) decided(ctx context.Context, r *request, d decision, then func(context.Context, *request)) {
	if !d.allow {
		s.metrics.Refused(&admission.Refusal{Kind: admission.PermissionDenied})
		s.refuse(r.ID, d.code, d.reason)
		return
	}
	r.info = d.info
	then(ctx, r)
}
