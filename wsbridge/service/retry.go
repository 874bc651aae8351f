package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// attempts is how often a message of the queue is tried unless told otherwise, and backoff the first pause between.
	attempts = 5
	backoff  = time.Second
	// maxBackoff is the longest pause before another attempt.
	maxBackoff = time.Minute
	// maxRetrying is the most messages that wait in this process for another attempt; the rest wait in Redis, until they
	// are claimed.
	maxRetrying = 1000
	// deadLetters is how many messages that came to nothing are kept unless told otherwise.
	deadLetters = 10_000
	// maxDeadReason bounds what is said of one, in bytes.
	maxDeadReason = 1 << 10
)

// Events tell of what goes wrong with messages of the queue, for metrics. They are called from several goroutines, and are
// not to wait. Any may be nil.
type Events struct {
	// Claimed: messages were taken over from replicas that have died, or from this one after it had lost Redis for long.
	Claimed func(messages int)
	// Retried: a handler has failed, and the message is tried again later.
	Retried func(m *Message, attempt int, err error)
	// Dead: a message is in the dead-letter stream. It is nil where the queue's entry was no envelope.
	Dead func(m *Message, attempts int, reason string)
}

// attempt handles an entry once.
func (q *queue) attempt(ctx context.Context, e *entry) {
	if ctx.Err() != nil {
		q.leave(e) // not begun: it is another replica's
		return
	}
	until, ctx := ctx, context.WithoutCancel(ctx)
	raw, _ := e.Values[bus.QueueField].(string)
	m, err := bus.ParseInbound([]byte(raw))
	switch {
	case err != nil:
		q.bury(ctx, e, nil, err.Error())
		return
	case e.attempt > q.attempts:
		// Each time it came, the replica was gone before it could say what is wrong.
		q.bury(ctx, e, m, fmt.Sprintf("replicas took it %d times and acknowledged it never", e.attempt-1))
		return
	}
	err = q.dispatch(ctx, m)
	switch {
	case err == nil:
		q.acknowledge(ctx, e)
	case e.attempt < q.attempts:
		q.retry(until, e, m, err)
	default:
		q.fail(ctx, m, err)
		q.bury(ctx, e, m, err.Error())
	}
}

// retry has an entry handled again after a pause. It stays pending meanwhile, so that it is not lost with this replica.
func (q *queue) retry(ctx context.Context, e *entry, m *Message, err error) {
	q.logger.Warn("a handler failed; its message is tried again", "service", q.name, "route", m.Route, "attempt", e.attempt, "error", err)
	if q.events.Retried != nil {
		q.events.Retried(m, e.attempt, err)
	}
	if q.retrying.Add(1) > maxRetrying {
		q.retrying.Add(-1)
		q.leave(e)
		return
	}
	q.wait.Go(func() {
		defer q.retrying.Add(-1)
		if !pause(ctx, q.pauseAfter(e.attempt)) {
			q.leave(e)
			return
		}
		// What is not this replica's any more, or not in the queue, is not returned.
		mine, err := q.client.Do(ctx, q.claimCommand(e, e.attempt+1)...).StringSlice()
		if err != nil || len(mine) == 0 {
			q.leave(e)
			return
		}
		q.mu.Lock()
		e.attempt++
		e.since = time.Now()
		q.mu.Unlock()
		q.work <- func() { q.attempt(ctx, e) }
	})
}

// pauseAfter doubles with each attempt, and is up to a half longer by chance, so that what failed together does not come
// back together.
func (q *queue) pauseAfter(attempt int) time.Duration {
	d := q.backoff << min(attempt-1, 20)
	if d > maxBackoff || d <= 0 {
		d = maxBackoff
	}
	return d + rand.N(d/2+1)
}

// bury puts an entry into the dead-letter stream and acknowledges it. A replica that dies between the two has it there
// twice.
func (q *queue) bury(ctx context.Context, e *entry, m *Message, reason string) {
	if len(reason) > maxDeadReason {
		reason = reason[:maxDeadReason]
	}
	reason = strings.ToValidUTF8(reason, "")
	raw, _ := e.Values[bus.QueueField].(string)
	dead := q.keys.Dead(q.name)
	err := q.servers.Client(dead).XAdd(ctx, &redis.XAddArgs{Stream: dead, MaxLen: int64(q.deadLetters), Approx: true, Values: []any{
		bus.QueueField, raw, "reason", reason, "attempts", e.attempt, "entry", e.ID,
		"queued", queuedAt(e.ID).Format(time.RFC3339Nano), "failed", time.Now().UTC().Format(time.RFC3339Nano),
	}}).Err()
	if err != nil {
		q.logger.Error("a message came to nothing and could not be put into the dead-letter stream; it will come again", "service", q.name, "error", err)
		q.leave(e)
		return
	}
	q.logger.Error("a message came to nothing; it is in the dead-letter stream", "service", q.name, "entry", e.ID, "attempts", e.attempt, "reason", reason)
	if q.events.Dead != nil {
		q.events.Dead(m, e.attempt, reason)
	}
	q.acknowledge(ctx, e)
}

// queuedAt is the time that an entry's id has.
func queuedAt(id string) time.Time {
	var milliseconds int64
	_, _ = fmt.Sscanf(id, "%d-", &milliseconds)
	return time.UnixMilli(milliseconds).UTC()
}

// fail answers a message whose handler has failed for good.
func (s *Service) fail(ctx context.Context, m *Message, err error) {
	s.logger.Error("a handler failed", "service", s.name, "route", m.Route, "error", err)
	s.reply(ctx, m, bus.Outbound{Error: &bus.ReplyError{Code: "internal", Message: "the service failed"}})
}

// answerable returns the error that a client gets, nil where it is none of a client's.
func answerable(err error) *bus.ReplyError {
	var told *bus.ReplyError
	errors.As(err, &told)
	return told
}
