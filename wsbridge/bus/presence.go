package bus

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Present is a connection that is present in a channel.
type Present struct {
	Connection string          `json:"connection"`
	Node       string          `json:"node"`
	User       string          `json:"user"`
	Info       json.RawMessage `json:"info"` // null where there is none
}

// Presence is a page of who is present in a channel, and how many that are in all.
type Presence struct {
	Connections int64
	Users       int64
	Members     []Present
	Next        string // what the next page comes after; empty for the last
}

// PresenceChange is one connection's coming or going.
type PresenceChange struct {
	Change     string // Join, Leave or Sweep
	Connection string
	Epoch      string // of a Join: when subscribers were told of it before; empty where they were not
	Entry      []byte // of a Join
}

// The changes of a PresenceChange.
const (
	Join  = "join"
	Leave = "leave"
	// Sweep is a Leave of a connection that is still the node's.
	Sweep = "sweep"
)

// AppendPresence appends the entry of a connection. Events says what subscribers are told: connections, users, or nothing.
func AppendPresence(b []byte, node, events, user string, info json.RawMessage) []byte {
	b = append(append(b, `{"node":"`...), node...)
	b = append(append(b, `","events":"`...), events...)
	b = AppendString(append(b, `","user":`...), user)
	if b = append(b, `,"info":`...); len(info) == 0 {
		return append(b, "null}"...)
	}
	return append(append(b, info...), '}')
}

//go:embed presence.lua
var presenceLua string

//go:embed present.lua
var presentLua string

//go:embed beat.lua
var beatLua string

var (
	presenceScript = newScript(presenceLua)
	presentScript  = newScript(presentLua)
	beatScript     = newScript(beatLua)
)

var errPresence = errors.New("bus: a script of presence answers something else than it should")

// ChangePresence changes who is present in a channel: connections of a node. It returns the epoch in which that is, and how
// many connections are there no more. A change that is made already changes nothing.
func (s *Servers) ChangePresence(ctx context.Context, keys Keys, channel, node string, changes []PresenceChange) (epoch string, removed int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	topic := keys.Channel(channel)
	server := s.of(topic)
	words := make([]any, 0, 3+4*len(changes))
	words = append(words, topic, server.publish, node)
	for i := range changes {
		c := &changes[i]
		words = append(words, c.Change, c.Connection, c.Epoch, c.Entry)
	}
	answer, err := server.pipeline.run(ctx, presenceScript, keys.presence(channel), words...)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrDown, err)
	}
	got, _ := answer.([]any)
	if len(got) != 2 {
		return "", 0, errPresence
	}
	epoch, ok := got[0].(string)
	removed, isCount := got[1].(int64)
	if !ok || !isCount {
		return "", 0, errPresence
	}
	return epoch, removed, nil
}

// ReadPresence returns who is present in a channel: at most limit connections, of about so many bytes, that come after those
// of another page. With a limit of 0 it only counts.
func (s *Servers) ReadPresence(ctx context.Context, keys Keys, channel, after string, limit, bytes int) (p Presence, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	answer, err := s.of(keys.Channel(channel)).pipeline.run(ctx, presentScript, keys.presence(channel)[:3], after, limit, bytes)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrDown, err)
	}
	got, _ := answer.([]any)
	if len(got) != 4 {
		return p, errPresence
	}
	p.Connections, _ = got[0].(int64)
	p.Users, _ = got[1].(int64)
	p.Next, _ = got[2].(string)
	page, _ := got[3].([]any)
	for ; len(page) > 1; page = page[2:] {
		connection, _ := page[0].(string)
		entry, _ := page[1].(string)
		m := Present{}
		if json.Unmarshal([]byte(entry), &m) != nil {
			continue // services may write there too
		}
		m.Connection = connection
		p.Members = append(p.Members, m)
	}
	return p, nil
}

// ParsePresence reads what subscribers are told: that a connection has joined, or has left. Anything else is another payload,
// and ok is false.
func ParsePresence(payload []byte) (joined bool, who Present, ok bool) {
	if len(payload) < 2 || payload[0] != marker || payload[1] != 'j' && payload[1] != 'l' {
		return false, who, false
	}
	connection, entry, _ := bytes.Cut(payload[2:], []byte{' '})
	if json.Unmarshal(entry, &who) != nil {
		return false, who, false
	}
	who.Connection = string(connection)
	return payload[1] == 'j', who, true
}

// Beat is a node's sign of life.
type Beat struct {
	Node   string
	Former string // the name that the node had until now; empty where it keeps it
	First  bool   // by this name
	Sweep  bool   // ask for nodes to sweep
	// Patience is how long a node may be silent; Lease for how long whoever sweeps does.
	Patience, Lease time.Duration
}

// GoneNode is a node without a sign of life.
type GoneNode struct {
	Name   string
	Silent time.Duration
}

// BeatPresence says that a node lives. Lives is false where the others have taken it for gone, or Redis has forgotten it, and
// then what it has in Redis is not its any more. Time is Redis's: clocks of nodes do not matter.
func (s *Servers) BeatPresence(ctx context.Context, keys Keys, b Beat) (lives bool, gone []GoneNode, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	answer, err := s.of(keys.roster()).pipeline.run(ctx, beatScript, keys.rosters(), b.Node, b.Former, bit(b.First), bit(b.Sweep),
		b.Patience.Milliseconds(), b.Lease.Milliseconds())
	if err != nil {
		return false, nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	got, _ := answer.([]any)
	if len(got) != 2 {
		return false, nil, errPresence
	}
	list, _ := got[1].([]any)
	for ; len(list) > 1; list = list[2:] {
		name, _ := list[0].(string)
		silent, err := offset(list[1])
		if err != nil {
			return false, nil, errPresence
		}
		gone = append(gone, GoneNode{name, time.Duration(silent) * time.Millisecond})
	}
	return got[0] == int64(1), gone, nil
}

func bit(is bool) int {
	if is {
		return 1
	}
	return 0
}

// HoldPresence keeps that a node has somebody in a channel, before it has, so that whoever sweeps finds it.
func (s *Servers) HoldPresence(ctx context.Context, keys Keys, node, channel string, ttl time.Duration) error {
	return s.onRoster(ctx, keys, redis.NewIntCmd(ctx, "ZADD", keys.presenceOf(node), ttl.Milliseconds(), channel))
}

// DropPresence undoes HoldPresence, once the node has nobody there.
func (s *Servers) DropPresence(ctx context.Context, keys Keys, node string, channels ...string) error {
	words := []any{"ZREM", keys.presenceOf(node)}
	for _, c := range channels {
		words = append(words, c)
	}
	return s.onRoster(ctx, keys, redis.NewIntCmd(ctx, words...))
}

// HeldPresence returns up to limit channels in which a node may have somebody, of those whose TTL is not longer.
func (s *Servers) HeldPresence(ctx context.Context, keys Keys, node string, ttl time.Duration, limit int) ([]string, error) {
	cmd := redis.NewStringSliceCmd(ctx, "ZRANGEBYSCORE", keys.presenceOf(node), "-inf", ttl.Milliseconds(), "LIMIT", 0, limit)
	err := s.onRoster(ctx, keys, cmd)
	return cmd.Val(), err
}

// ForgetPresence ends a node's beats, if nobody is held for it any more.
func (s *Servers) ForgetPresence(ctx context.Context, keys Keys, node string) error {
	left := redis.NewIntCmd(ctx, "ZCARD", keys.presenceOf(node))
	if err := s.onRoster(ctx, keys, left); err != nil || left.Val() > 0 {
		return err
	}
	for _, key := range keys.rosters()[:2] {
		if err := s.onRoster(ctx, keys, redis.NewIntCmd(ctx, "ZREM", key, node)); err != nil {
			return err
		}
	}
	return nil
}

// SweepPresence takes the connections of a node that is gone out of a channel, and returns how many that were. Subscribers are
// told of each once, however many sweep.
func (s *Servers) SweepPresence(ctx context.Context, keys Keys, node, channel string) (removed int64, err error) {
	for {
		left := redis.NewStringSliceCmd(ctx, "ZRANGEBYLEX", keys.presence(channel)[2], "["+node+" ", "("+node+"!", "LIMIT", 0, sweepBatch)
		if err := s.of(keys.Channel(channel)).pipeline.do(ctx, left); err != nil {
			return removed, fmt.Errorf("%w: %w", ErrDown, err)
		}
		if len(left.Val()) == 0 {
			return removed, nil
		}
		changes := make([]PresenceChange, len(left.Val()))
		for i, member := range left.Val() {
			changes[i] = PresenceChange{Change: Sweep, Connection: member[len(node)+1:]}
		}
		_, n, err := s.ChangePresence(ctx, keys, channel, node, changes)
		if err != nil {
			return removed, err
		}
		removed += n
	}
}

// sweepBatch is how many connections are swept in one step.
const sweepBatch = 256

// onRoster sends a command about nodes with presence.
func (s *Servers) onRoster(ctx context.Context, keys Keys, cmd redis.Cmder) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if err := s.of(keys.roster()).pipeline.do(ctx, cmd); err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}
