package service

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// claimAfter is how long a replica that says nothing keeps its messages unless told otherwise.
	claimAfter = time.Minute
	// readBlock is how long one read of the queue waits.
	readBlock = 2 * time.Second
	// page is the most entries that are read or taken over at a time.
	page = 100
	// rejoin is the pause before Redis is tried again.
	rejoin = 200 * time.Millisecond
)

// queue is a replica's part of the group that reads a service's stream.
type queue struct {
	*Service
	client redis.UniversalClient
	stream string
	work   chan<- func()

	mu   sync.Mutex
	held map[string]*entry // by its id, until it is acknowledged or left to others
	wait sync.WaitGroup    // for those that wait for their next attempt
}

// entry is a message of the queue that this replica has.
type entry struct {
	redis.XMessage
	attempt int       // how often it was handed to a replica, this time included
	since   time.Time // when Redis was last told that it is being handled
}

// readQueue handles the service's queue until ctx ends.
func (s *Service) readQueue(ctx context.Context, work chan<- func()) {
	stream := s.keys.Queue(s.name)
	q := &queue{Service: s, client: s.servers.Client(stream), stream: stream, work: work, held: map[string]*entry{}}
	var keeping sync.WaitGroup
	keeping.Go(func() { q.keep(ctx) })
	for ctx.Err() == nil {
		err := q.read(ctx)
		if ctx.Err() == nil {
			s.logger.Warn("the bus broke; trying again", "service", s.name, "error", err)
			pause(ctx, rejoin)
		}
	}
	keeping.Wait()
	q.wait.Wait()
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// read reads new entries until something fails.
func (q *queue) read(ctx context.Context) error {
	err := q.client.XGroupCreateMkStream(ctx, q.stream, q.name, "0").Err()
	if err != nil && !strings.Contains(err.Error(), "BUSYGROUP") {
		return err
	}
	for {
		streams, err := q.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: q.name, Consumer: q.consumer, Streams: []string{q.stream, ">"}, Count: int64(min(q.limit, page)), Block: readBlock}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, s := range streams {
			for _, m := range s.Messages {
				q.take(ctx, m, 1)
			}
		}
	}
}

// take has an entry handled, unless this replica has it already.
func (q *queue) take(ctx context.Context, m redis.XMessage, attempt int) {
	e := &entry{XMessage: m, attempt: attempt, since: time.Now()}
	q.mu.Lock()
	_, has := q.held[m.ID]
	if !has {
		q.held[m.ID] = e
	}
	q.mu.Unlock()
	if !has {
		q.work <- func() { q.attempt(ctx, e) }
	}
}

// leave leaves an entry to whoever claims it.
func (q *queue) leave(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.held, e.ID)
}

// acknowledge is the last that is done about an entry.
func (q *queue) acknowledge(ctx context.Context, e *entry) {
	if err := q.client.XAck(ctx, q.stream, q.name, e.ID).Err(); err != nil {
		q.logger.Warn("a message was handled but not acknowledged; it will come again", "service", q.name, "error", err)
	}
	q.leave(e)
}

// keep says that the replica is alive and has what it has, and takes over what replicas had that say nothing any more.
func (q *queue) keep(ctx context.Context) {
	claims := min(q.claim/2, bus.HeartbeatInterval)
	ticks := time.NewTicker(claims)
	defer ticks.Stop()
	var beat, claimed time.Time
	for {
		if time.Since(beat) >= bus.HeartbeatInterval-claims/2 && q.servers.Beat(ctx, q.keys, q.name) == nil {
			beat = time.Now()
		}
		q.renew(ctx)
		if time.Since(claimed) >= q.claim/2 && q.takeOver(ctx) == nil {
			claimed = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// renew tells Redis of entries that are with this replica for long.
func (q *queue) renew(ctx context.Context) {
	var old []*entry
	var commands [][]any
	q.mu.Lock()
	for _, e := range q.held {
		if time.Since(e.since) > q.claim/3 {
			old = append(old, e)
			commands = append(commands, q.claimCommand(e, e.attempt))
		}
	}
	q.mu.Unlock()
	if len(old) == 0 {
		return
	}
	now := time.Now()
	_, err := q.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, c := range commands {
			p.Do(ctx, c...)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range old {
		e.since = now
	}
}

// claimCommand claims an entry that the replica has, with its count of attempts: to be handed on to oneself is no attempt.
func (q *queue) claimCommand(e *entry, attempt int) []any {
	return []any{"XCLAIM", q.stream, q.name, q.consumer, 0, e.ID, "RETRYCOUNT", attempt, "JUSTID"}
}

// takeOver claims entries of replicas that say nothing any more.
func (q *queue) takeOver(ctx context.Context) error {
	for start := "0-0"; ; {
		dead, next, err := q.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: q.stream, Group: q.name, Consumer: q.consumer, MinIdle: q.claim, Start: start, Count: page}).Result()
		if err != nil {
			return err
		}
		if len(dead) > 0 {
			counts, err := q.deliveries(ctx, dead)
			if err != nil {
				return err // they are this replica's now, and come again when they are old enough
			}
			if q.events.Claimed != nil {
				q.events.Claimed(len(dead))
			}
			for i, m := range dead {
				q.take(ctx, m, counts[i])
			}
		}
		if start = next; next == "0-0" {
			return nil
		}
	}
}

// deliveries asks how often entries were handed to a replica.
func (q *queue) deliveries(ctx context.Context, entries []redis.XMessage) ([]int, error) {
	answers := make([]*redis.XPendingExtCmd, len(entries))
	_, err := q.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, m := range entries {
			answers[i] = p.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: q.stream, Group: q.name, Start: m.ID, End: m.ID, Count: 1})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	counts := make([]int, len(entries))
	for i, a := range answers {
		counts[i] = 1
		if pending := a.Val(); len(pending) == 1 {
			counts[i] = int(pending[0].RetryCount)
		}
	}
	return counts, nil
}

// resign takes the replica's name out of the consumer group, unless a message is still with it: that would be lost.
func (s *Service) resign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readBlock)
	defer cancel()
	stream := s.keys.Queue(s.name)
	client := s.servers.Client(stream)
	left, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: stream, Group: s.name, Start: "-", End: "+", Count: 1, Consumer: s.consumer}).Result()
	if err == nil && len(left) == 0 {
		_ = client.XGroupDelConsumer(ctx, stream, s.name, s.consumer).Err()
	}
}
