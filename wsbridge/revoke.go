package wsbridge

import (
	"context"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// revocationTime is how long a revocation stands that does not say.
const revocationTime = 24 * time.Hour

// Revoke refuses a user's credentials or a token from now on: on every node, for every protocol. Sessions that were opened
// with one are closed with CloseRevoked. What it does not say is filled in: Before is now, Until a day from now.
func (n *Node) Revoke(ctx context.Context, r auth.Revocation) (auth.Revocation, error) {
	now := time.Now()
	if r.Before.IsZero() && r.User != "" {
		r.Before = now
	}
	if r.Until.IsZero() {
		r.Until = now.Add(revocationTime)
	}
	if err := n.bus.Revoke(ctx, n.keys.Revoked(), bus.Revocation(r)); err != nil {
		return r, err
	}
	n.refuse(r)
	_, err := n.command(ctx, &bus.Control{Type: bus.Revoke, User: r.User, TokenID: r.TokenID, Before: r.Before, Until: r.Until})
	return r, err
}

// revoked is told by another node, or by a service.
func (n *Node) revoked(c *bus.Control) {
	if (c.User == "") == (c.TokenID == "") {
		n.metrics.BusDropped("malformed")
		return
	}
	r := auth.Revocation{User: c.User, TokenID: c.TokenID, Before: c.Before, Until: c.Until}
	if r.Before.IsZero() {
		r.Before = time.Now()
	}
	if r.Until.IsZero() {
		r.Until = time.Now().Add(revocationTime)
	}
	n.refuse(r)
}

func (n *Node) refuse(r auth.Revocation) {
	n.revocations.Add(r)
	n.endRevoked()
}

// endRevoked closes the sessions whose credential is refused by now.
func (n *Node) endRevoked() {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, s := range n.sessions {
		s.endIfRevoked()
	}
}

// endIfRevoked is called too when a session has begun, or has a new token: a revocation that came while it was being
// admitted has not seen it.
func (s *session) endIfRevoked() {
	if s.node.revocations.Refuses(s.identity.Load()) {
		s.spawn(func() { s.end(CloseRevoked, "the credentials are revoked") })
	}
}

// loadRevocations learns what was revoked while this node did not listen. It tries until it succeeds or the bus is down,
// which is followed by another call.
func (n *Node) loadRevocations() {
	for n.up.Load() {
		list, err := n.bus.Revoked(n.ctx, n.keys.Revoked())
		if err == nil {
			known := make([]auth.Revocation, len(list))
			for i, r := range list {
				known[i] = auth.Revocation(r)
			}
			n.revocations.Merge(known)
			n.endRevoked()
			return
		}
		n.logger.Warn("revocations could not be read; trying again", "error", err)
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// Revocations returns those that are in force.
func (n *Node) Revocations(ctx context.Context) ([]auth.Revocation, error) {
	kept, err := n.bus.Revoked(ctx, n.keys.Revoked())
	list := make([]auth.Revocation, len(kept))
	for i, r := range kept {
		list[i] = auth.Revocation(r)
	}
	return list, err
}
