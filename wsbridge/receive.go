package wsbridge

import (
	"strings"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Receive hands a payload of the bus to the sessions it is for.
func (n *Node) Receive(channel string, published []byte) {
	if len(published) > bus.MaxPayload {
		n.metrics.BusDropped("too_large")
		return
	}
	switch {
	case channel == n.replyTo:
		n.direct(published)
	case channel == n.keys.Control(), channel == n.keys.Peer(n.name):
		n.control(published)
	case channel == n.keys.All():
		m := broadcast{payload: payloadOf(published)}
		n.mu.RLock()
		defer n.mu.RUnlock()
		for _, s := range n.sessions {
			m.to(s, false)
		}
	default:
		n.broadcast(channel, published)
	}
}

func (n *Node) broadcast(channel string, published []byte) {
	// A user's channel has no name for its clients.
	name, named := strings.CutPrefix(channel, n.channels)
	if !named {
		name = ""
	}
	l := n.lines.of(channel)
	kept, ok := bus.ParseKept(published)
	if ok {
		published = kept.Payload
		if l != nil {
			l.receive(&kept)
		}
	} else if joined, who, ok := bus.ParsePresence(published); ok {
		n.tellPresence(channel, name, joined, &who)
		return
	}
	m := broadcast{channel: name, payload: payloadOf(published)}
	if l != nil && !ok {
		l.plain(&m)
	}
	n.hub.each(channel, m.to)
}

// Subscribed has what was published before read from history.
func (n *Node) Subscribed(channel string) {
	if l := n.lines.of(channel); l != nil {
		l.subscribed()
	}
	if name, ok := strings.CutPrefix(channel, n.channels); ok {
		n.rolls.restore(name)
	}
}

func (n *Node) direct(envelope []byte) {
	o, err := bus.ParseOutbound(envelope)
	if err != nil {
		n.metrics.BusDropped("malformed")
		return
	}
	n.mu.RLock()
	s := n.sessions[o.Connection]
	n.mu.RUnlock()
	if s == nil {
		n.metrics.BusDropped("unknown_connection")
		return
	}
	if o.HasPayload() {
		s.reply(o)
	}
	if o.Close != nil {
		s.dismissLater(o.Close)
	}
}

// broadcast is one payload for many sessions. It is encoded once for all, when the first one needs it.
type broadcast struct {
	channel   string
	payload   payload
	enveloped []byte
	others    *otherForms // nil where nobody needs them
}

// otherForms are those of a broadcast besides the one of most sessions.
type otherForms struct {
	enveloped shared // compressed
	raw       shared
}

// to sends it to one session, of few or of many.
func (b *broadcast) to(s *session, areFew bool) {
	if (s.raw || s.deflates) && b.others == nil {
		b.others = new(otherForms)
	}
	if s.raw {
		if b.others.raw.plain == nil {
			b.others.raw.plain = rawFrame(b.payload)
		}
		s.sendToFew(&b.others.raw, areFew)
		return
	}
	if b.enveloped == nil {
		b.enveloped = messageFrame(b.channel, b.payload)
	}
	if !s.deflates {
		s.sendToFew(&shared{plain: b.enveloped}, areFew)
		return
	}
	b.others.enveloped.plain = b.enveloped
	s.sendToFew(&b.others.enveloped, areFew)
}
