package bus

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// History is how much of a channel is kept.
type History struct {
	Size int           // messages
	TTL  time.Duration // of a message
}

// Position is a place in a channel's history. Offsets grow with each message of an epoch; an epoch ends when Redis has
// forgotten the channel.
type Position struct {
	Epoch  string
	Offset uint64
}

// Kept is a message of a channel with history.
type Kept struct {
	Position
	// Previous is the offset of the message before it, mostly Offset-1: a gap between the two is none.
	Previous uint64
	Payload  []byte
}

// Page is a part of a channel's history.
type Page struct {
	Position      // the latest
	Whole    bool // nothing is missing between the position that was asked for and the first message
	More     bool // there is more to read
	Messages []Kept
}

// Start returns the offset that the page's messages come after.
func (p *Page) Start() uint64 {
	if len(p.Messages) == 0 {
		return p.Offset
	}
	return p.Messages[0].Previous
}

//go:embed publish.lua
var publishLua string

//go:embed read.lua
var readLua string

var (
	publishScript = newScript(publishLua)
	readScript    = newScript(readLua)
)

// pageBytes is about how much one read of a history returns.
const pageBytes = 256 << 10

// PublishKept publishes to a channel with history, and returns where the message is. With an id, a second call within the
// history's TTL does nothing but return the same.
func (s *Servers) PublishKept(ctx context.Context, keys Keys, channel string, payload []byte, h History, id string) (Position, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	topic := keys.Channel(channel)
	on := []string{keys.History(channel), keys.Position(channel)}
	if id != "" {
		on = append(on, keys.Published(channel, id))
	}
	server := s.of(topic)
	answer, err := server.pipeline.run(ctx, publishScript, on, topic, payload, h.Size, h.TTL.Milliseconds(), server.publish)
	if err != nil {
		return Position{}, fmt.Errorf("%w: %w", ErrDown, err)
	}
	got, _ := answer.([]any)
	if len(got) != 3 {
		return Position{}, errors.New("bus: the publish script answers something else than it should")
	}
	return position(got[0], got[1])
}

// ReadHistory returns what a channel has kept since a position; without an epoch only the latest position.
func (s *Servers) ReadHistory(ctx context.Context, keys Keys, channel string, since Position, ttl time.Duration) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	on := []string{keys.History(channel), keys.Position(channel)}
	answer, err := s.of(keys.Channel(channel)).pipeline.run(ctx, readScript, on, since.Epoch, since.Offset, ttl.Milliseconds(), pageBytes)
	if err != nil {
		return Page{}, fmt.Errorf("%w: %w", ErrDown, err)
	}
	got, _ := answer.([]any)
	return page(got)
}

func page(got []any) (p Page, err error) {
	strange := errors.New("bus: the read script answers something else than it should")
	if len(got) != 5 {
		return p, strange
	}
	if p.Position, err = position(got[0], got[1]); err != nil {
		return p, err
	}
	p.Whole, p.More = got[2] == int64(1), got[3] == int64(1)
	messages, ok := got[4].([]any)
	if !ok || len(messages)%3 != 0 {
		return p, strange
	}
	for ; len(messages) > 0; messages = messages[3:] {
		m := Kept{Position: Position{Epoch: p.Epoch}}
		payload, ok := messages[2].(string)
		if m.Offset, err = offset(messages[0]); err == nil {
			m.Previous, err = offset(messages[1])
		}
		if err != nil || !ok {
			return p, strange
		}
		m.Payload = []byte(payload)
		p.Messages = append(p.Messages, m)
	}
	return p, nil
}

func position(epoch, at any) (p Position, err error) {
	var ok bool
	if p.Epoch, ok = epoch.(string); !ok {
		return p, errors.New("bus: a script returned an epoch that is no string")
	}
	p.Offset, err = offset(at)
	return p, err
}

func offset(v any) (uint64, error) {
	s, ok := v.(string)
	if !ok {
		return 0, errors.New("bus: a script returned an offset that is no string")
	}
	return strconv.ParseUint(s, 10, 64)
}

// marker begins what the scripts publish. No JSON and no UTF-8 has it, so that it is told from a plain payload.
const marker = 0xC1

// ParseKept reads what the publish script publishes. Anything else is a plain payload, and ok is false.
func ParseKept(payload []byte) (m Kept, ok bool) {
	if len(payload) < 2 || payload[0] != marker || payload[1] != 'm' {
		return m, false
	}
	epoch, rest, _ := bytes.Cut(payload[2:], []byte{' '})
	at, rest, _ := bytes.Cut(rest, []byte{' '})
	previous, data, found := bytes.Cut(rest, []byte{' '})
	if !found || len(epoch) == 0 {
		return m, false
	}
	var err error
	if m.Offset, err = strconv.ParseUint(string(at), 10, 64); err == nil {
		m.Previous, err = strconv.ParseUint(string(previous), 10, 64)
	}
	if err != nil || m.Previous >= m.Offset {
		return m, false
	}
	m.Epoch, m.Payload = string(epoch), data
	return m, true
}
