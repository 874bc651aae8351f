package wsbridge

import (
	"context"
	"strings"
	"time"

	"github.com/crossgate/crossgate/auth"
)

// assignAgain is the pause before channels are assigned once more that need a bus which is down.
const assignAgain = time.Second

// nameTemplate makes names of channels for an identity.
type nameTemplate []channelPart

// names returns up to limit names: one for each value, or each combination of them, none where a value is missing. As in a
// pattern, a value that has the byte in it which ends it stands for nothing.
func (t nameTemplate) names(id *auth.Identity, limit int) []string {
	names := []string{""}
	for i := range t {
		values := []string{t[i].text}
		if t[i].value != nil {
			values = valuesOf(t[i].value(id))
		}
		var longer []string
		for _, name := range names {
			for _, v := range values {
				if len(longer) < limit && (t[i].value == nil || t[i].ends == 0 || strings.IndexByte(v, t[i].ends) < 0) {
					longer = append(longer, name+v)
				}
			}
		}
		names = longer
	}
	return names
}

// valuesOf returns what isValue takes for a value.
func valuesOf(v any) []string {
	switch v := v.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case float64:
		if number, whole := wholeNumber(v); whole {
			return []string{number}
		}
	case []any:
		var all []string
		for _, one := range v {
			if _, list := one.([]any); !list {
				all = append(all, valuesOf(one)...)
			}
		}
		return all
	}
	return nil
}

// assignedChannels returns the channels that the configuration and the token give the connection.
func (s *session) assignedChannels() []string {
	id, limit := s.ticket.Identity, s.route.maxSubscriptions
	var names []string
	for _, t := range s.route.assigned {
		names = append(names, t.names(id, limit)...)
	}
	if s.route.channelsClaim != "" {
		v, _ := id.Claim(s.route.channelsClaim)
		names = append(names, valuesOf(v)...)
	}
	return names
}

// assign subscribes the session to channels that its client did not ask for. Those that need a bus which is down come with
// it.
func (s *session) assign(ctx context.Context, channels []string) {
	if len(channels) == 0 {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	for i, channel := range channels {
		if _, has := s.channels[channel]; has || !ValidChannel(channel) {
			continue
		}
		if len(s.channels) >= s.route.maxSubscriptions {
			s.limited(limitSubscriptions)
			return
		}
		if s.left {
			return
		}
		if err := s.assignOne(ctx, channel); err != nil {
			left := channels[i:]
			time.AfterFunc(assignAgain, func() {
				s.spawn(func() { s.assign(context.Background(), left) })
			})
			return
		}
	}
}

// assignOne subscribes to a channel and tells the client before anything of the channel comes. A raw client is told nothing,
// and gets the payloads.
func (s *session) assignOne(ctx context.Context, channel string) error {
	rule := s.route.channel(channel, s.ticket.Identity)
	if rule != nil && rule.history.Size > 0 && !s.raw {
		l, err := s.node.joinLine(ctx, s, channel, rule.history.TTL, func(l *line) error { return s.followNew(ctx, l) })
		if err != nil {
			return err
		}
		s.entered(ctx, channel, l, nil)
		return nil
	}
	var first []byte
	if !s.raw {
		first = assignedFrame(channel, nil)
	}
	key := s.node.keys.Channel(channel)
	_ = s.node.bus.Subscribe(ctx, key) // without Redis it is subscribed to once Redis is there
	s.node.hub.add(key, s, first)
	s.entered(ctx, channel, nil, nil)
	return nil
}
