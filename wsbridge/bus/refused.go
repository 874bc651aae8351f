package bus

import "bytes"

// asked is a SUBSCRIBE that was sent. Redis answers each in its turn, with a push for each channel or with one error.
type asked struct {
	channels []string
	heard    int
}

// isRefusal reports whether an error says that a user may not subscribe to a channel. One about the command itself, or of
// another kind, is not about a channel.
func isRefusal(text []byte) bool {
	return bytes.HasPrefix(text, []byte("NOPERM")) && bytes.Contains(text, []byte("channel"))
}

// refused is told that Redis does not let its user subscribe to the channels of the command that it has to answer next, and
// reports false where there is none. Of several, each is asked for by itself then.
func (b *Redis) refused(l *link) bool {
	b.mu.Lock()
	if len(l.asked) == 0 || l.asked[0].heard > 0 {
		b.mu.Unlock()
		return false
	}
	channels := l.asked[0].channels
	l.asked = l.asked[1:]
	var told []string
	for _, channel := range channels {
		n := b.names[channel]
		if n == nil || n.link != l || n.inFlight == 0 {
			continue
		}
		l.unheard--
		if n.inFlight--; n.inFlight > 0 || !n.sent {
			b.forget(n)
			continue
		}
		n.sent, n.alone = false, true
		if len(channels) > 1 {
			b.change(n)
			continue
		}
		if n.refused = true; !n.told {
			n.told = true
			told = append(told, channel)
		}
		n.answer(ErrRefused)
		b.forget(n)
	}
	b.mu.Unlock()
	for _, channel := range told {
		b.handler.Denied(channel)
	}
	b.tell()
	return true
}

// askAgain asks for what was refused: somebody may have changed the user's rights.
func (b *Redis) askAgain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.names {
		if n.refused && n.wanted > 0 {
			n.refused = false
			b.change(n)
		}
	}
}
