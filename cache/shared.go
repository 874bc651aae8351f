package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// shared is what the nodes that share a Redis tell each other: purges, in a stream that each node reads to its end, so that a
// node whose connection broke misses none. A nil *shared is of a store that shares nothing.
type shared struct {
	client redis.UniversalClient
	stream string

	mu    sync.Mutex
	last  position
	since position // what was purged before it is not remembered
	log   []told   // in their order
	own   []told   // that this node has told and not heard yet
}

// told is a purge with its place in the stream.
type told struct {
	at position
	purge
}

// position is a place in the stream: the id of an entry.
type position struct{ ms, n uint64 }

func (p position) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.n, 10)
}

func (p position) before(q position) bool { return p.ms < q.ms || p.ms == q.ms && p.n < q.n }

func parsePosition(id string) (p position, err error) {
	ms, n, _ := strings.Cut(id, "-")
	if p.ms, err = strconv.ParseUint(ms, 10, 64); err == nil {
		p.n, err = strconv.ParseUint(n, 10, 64)
	}
	return p, err
}

const (
	// streamLength is how many purges the stream has, about.
	streamLength = 4096
	// streamBlock is how long a read waits for the next purge, and so Close for the read.
	streamBlock = 500 * time.Millisecond
	// streamRetry is how soon a stream that could not be read is asked for again.
	streamRetry = time.Second
	// tellTimeout bounds telling the others while a client waits for its answer, and purgeTimeout while somebody wants to know.
	tellTimeout  = 2 * time.Second
	purgeTimeout = 10 * time.Second
)

// Share has the store tell purges to those who share a Redis, and hear of theirs once a route keeps something.
func (s *Store) Share(client redis.UniversalClient, prefix string) {
	s.shared = &shared{client: client, stream: prefix + "cache:purges"}
	s.tier = newTier(s, client, prefix)
}

// Follow begins to hear of others' purges. Later calls do nothing.
func (s *Store) Follow() {
	if s.shared == nil {
		return
	}
	s.following.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.background.Go(s.follow)
			s.background.Go(s.tier.write)
		}
	})
}

// follow ends with the store's life.
func (s *Store) follow() {
	for s.life.Err() == nil {
		if s.catchUp() == nil {
			for s.listen() == nil {
				if s.life.Err() != nil {
					return
				}
			}
		}
		select {
		case <-s.life.Done():
		case <-time.After(streamRetry):
		}
	}
}

// catchUp reads what the stream has from its beginning. What this node has heard last must be in it, or purges may be lost: then
// all is forgotten.
func (s *Store) catchUp() error {
	ctx, cancel := context.WithTimeout(s.life, tellTimeout)
	defer cancel()
	messages, err := s.shared.client.XRange(ctx, s.shared.stream, "-", "+").Result()
	if err != nil {
		return err
	}
	heard := parseTold(messages)
	c := s.shared
	c.mu.Lock()
	last := c.last
	gap := last != position{} && (len(heard) == 0 || last.before(heard[0].at))
	if len(heard) >= streamLength {
		c.since = heard[0].at
	}
	c.mu.Unlock()
	if gap {
		s.forget(purge{kind: ofEverything})
	}
	s.hear(heard)
	return nil
}

// listen waits for more, for a while.
func (s *Store) listen() error {
	streams, err := s.shared.client.XRead(s.life, &redis.XReadArgs{Streams: []string{s.shared.stream, s.shared.position().String()}, Block: streamBlock, Count: 256}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	for i := range streams {
		s.hear(parseTold(streams[i].Messages))
	}
	return err
}

// hear does what others have told.
func (s *Store) hear(list []told) {
	for i := range list {
		if s.shared.note(list[i]) {
			s.forget(list[i].purge)
		}
	}
}

// note remembers a purge, and reports whether it is news.
func (c *shared) note(t told) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.before(t.at) {
		return false
	}
	c.last = t.at
	c.own = slices.DeleteFunc(c.own, func(o told) bool { return !t.at.before(o.at) })
	if c.log = append(c.log, t); len(c.log) > 2*streamLength {
		c.since = c.log[streamLength].at
		c.log = slices.Clone(c.log[streamLength:])
	}
	return true
}

// parseTold leaves out what is none of this version's.
func parseTold(messages []redis.XMessage) []told {
	var list []told
	for i := range messages {
		at, err := parsePosition(messages[i].ID)
		kind, _ := messages[i].Values["k"].(string)
		value, _ := messages[i].Values["v"].(string)
		if err == nil && len(kind) == 1 {
			list = append(list, told{at, purge{purgeKind(kind[0]), value}})
		}
	}
	return list
}

// position returns where the newest purge stands that this node has heard of.
func (c *shared) position() position {
	if c == nil {
		return position{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// hit reports whether an answer that was asked for when the newest purge was at since has been purged.
func (c *shared) hit(since position, uri string, tags []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since.before(c.since) {
		return true
	}
	for i := range c.own {
		if since.before(c.own[i].at) && c.own[i].covers(uri, tags) {
			return true
		}
	}
	for i := len(c.log) - 1; i >= 0 && since.before(c.log[i].at); i-- {
		if c.log[i].covers(uri, tags) {
			return true
		}
	}
	return false
}

// tell puts purges into the stream.
func (c *shared) tell(ctx context.Context, limit time.Duration, list ...purge) error {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	answers, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range list {
			p.XAdd(ctx, &redis.XAddArgs{Stream: c.stream, MaxLen: streamLength, Approx: true, Values: []string{"k", string(list[i].kind), "v", list[i].value}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purged on this node, and the others could not be told: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, a := range answers {
		if at, err := parsePosition(a.(*redis.StringCmd).Val()); err == nil && c.last.before(at) {
			c.own = append(c.own, told{at, list[i]})
		}
	}
	return nil
}
