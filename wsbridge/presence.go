package wsbridge

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// presencePage is how many members a client gets at a time that does not say, and the most that it gets.
	presencePage    = 100
	maxPresencePage = 1000
	// maxInfo is the most that is kept of what a service says of a connection: as much as a route may show.
	maxInfo = 64 << 10
)

// presenceRule is what holds for who is present in the channels of a pattern.
type presenceRule struct {
	read    string
	roles   []string
	events  string // as entries have it; empty for none
	claims  []string
	maxInfo int
	ttl     time.Duration
	grace   time.Duration
}

func compilePresence(cfg *config.Presence) *presenceRule {
	p := &presenceRule{read: cfg.Read, roles: cfg.Roles, claims: cfg.Claims, maxInfo: int(cfg.MaxInfo), ttl: cfg.TTL.Std(), grace: cfg.Grace.Std()}
	if cfg.Events != "none" {
		p.events = cfg.Events
	}
	return p
}

// mayRead reports whether an identity may know who is in a channel that it subscribes to, or may subscribe to.
func (p *presenceRule) mayRead(id *auth.Identity) bool {
	return p.read != "nobody" && (len(p.roles) == 0 || slices.ContainsFunc(p.roles, func(role string) bool { return slices.Contains(id.Roles, role) }))
}

// presenceOf returns the rule of a channel's presence for an identity, nil where there is none.
func (r *Route) presenceOf(channel string, id *auth.Identity) *presenceRule {
	if rule := r.channel(channel, id); rule != nil {
		return rule.presence
	}
	return nil
}

// attend has the session be present in a channel, where it has presence, and waits until Redis knows.
func (s *session) attend(ctx context.Context, channel string, info *json.RawMessage) {
	rule := s.route.presenceOf(channel, s.ticket.Identity)
	if rule == nil {
		return
	}
	if info == nil {
		info = s.info
	}
	told := s.node.rolls.join(channel, rule, s.id, s.user, s.shown(rule, info))
	if !s.node.up.Load() {
		return
	}
	timer := time.NewTimer(attending)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.node.ctx.Done():
	}
}

// depart undoes attend. Gone says that the connection is, and may come back as another.
func (s *session) depart(channel string, gone bool) {
	if s.route.presence {
		s.node.rolls.leave(channel, s.id, gone)
	}
}

// shown returns what others are shown of the session: what the service says of it, or else its claims.
func (s *session) shown(rule *presenceRule, said *json.RawMessage) json.RawMessage {
	var info json.RawMessage
	if said != nil {
		info = *said
	} else {
		claims := map[string]any{}
		for _, name := range rule.claims {
			if v, ok := s.ticket.Identity.Claim(name); ok {
				claims[name] = v
			}
		}
		if len(claims) == 0 {
			return nil
		}
		info, _ = json.Marshal(claims) // claims are JSON
	}
	var b bytes.Buffer
	if len(info) > rule.maxInfo || !utf8.Valid(info) || json.Compact(&b, info) != nil {
		s.limited(limitPresenceInfo)
		return nil
	}
	return b.Bytes()
}

// presence answers who is in a channel. It is for who subscribes or may subscribe, as the channel's rule says.
func (s *session) presence(ctx context.Context, r *request) {
	if !ValidChannel(r.Channel) {
		s.refuse(r.ID, codeInvalidArgument, "channel: expected 1 to 255 printable ASCII characters without spaces and braces")
		return
	}
	id := s.ticket.Identity
	rule := s.route.presenceOf(r.Channel, id)
	_, subscribes := s.channels[r.Channel]
	switch {
	case rule == nil:
		s.denied(r.ID, "the channel has no presence")
	case !rule.mayRead(id), rule.read == "subscribers" && !subscribes:
		s.denied(r.ID, "not allowed to know who is in this channel")
	case subscribes:
		s.showPresence(ctx, r)
	default:
		s.authorize(ctx, r, s.showPresence)
	}
}

func (s *session) showPresence(ctx context.Context, r *request) {
	page := r.paged()
	limit := page.limit
	if limit == 0 {
		limit = presencePage
	}
	if limit = min(limit, maxPresencePage); page.count {
		limit = 0
	}
	p, err := s.node.readPresence(ctx, r.Channel, page.next, limit, s.route.queueSize/4)
	switch {
	case errors.Is(err, ErrNext):
		s.refuse(r.ID, codeInvalidArgument, "next: expected that of a page of presence")
	case err != nil:
		s.refuse(r.ID, codeUnavailable, "the bus is down; ask again later")
	default:
		s.send(presenceFrame(r.ID, r.Channel, &p, page.count))
	}
}

// ErrNext says that what a page is to come after is nothing that a page before it said.
var ErrNext = errors.New("wsbridge: what a page comes after is that of a page before it")

// pageBytes is about how large a page may be that is not for a session.
const pageBytes = 1 << 20

// Presence returns up to limit members of a channel, of those that come after a page before, as its Next says, and how many
// there are. With a limit of 0 it only counts.
func (n *Node) Presence(ctx context.Context, channel, next string, limit int) (bus.Presence, error) {
	return n.readPresence(ctx, channel, next, limit, pageBytes)
}

// readPresence reads a page of who is in a channel. What it comes after, and what the next one does, is opaque to others.
func (n *Node) readPresence(ctx context.Context, channel, next string, limit, bytes int) (p bus.Presence, err error) {
	after, err := base64.RawURLEncoding.DecodeString(next)
	if err != nil {
		return p, ErrNext
	}
	n.rolls.watch()
	if p, err = n.rolls.store.ReadPresence(ctx, n.keys, channel, string(after), limit, bytes); err == nil {
		p.Next = base64.RawURLEncoding.EncodeToString([]byte(p.Next))
	}
	return p, err
}

// tellPresence tells the subscribers of a channel who may know it that somebody has joined or left.
func (n *Node) tellPresence(topic, channel string, joined bool, who *bus.Present) {
	frame := shared{plain: presenceEvent(channel, joined, who)}
	tell := func(s *session) {
		if s.raw || !s.route.presence {
			return
		}
		id := s.identity.Load()
		if rule := s.route.presenceOf(channel, id); rule != nil && rule.mayRead(id) {
			s.sendLater(frame.of(s))
		}
	}
	n.hub.each(topic, func(s *session, _ bool) { tell(s) })
	if l := n.lines.of(topic); l != nil {
		l.each(tell)
	}
}
