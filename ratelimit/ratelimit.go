package ratelimit

import (
	"context"
	"errors"
	"time"
)

// Limit is a steady rate with a burst, by the generic cell rate algorithm (ITU-T I.371).
type Limit struct {
	Events int           // events in Per, at least 1
	Per    time.Duration // above 0
	Burst  int           // how many may come at once, at least 1
}

// interval is the time one event takes up.
func (l Limit) interval() time.Duration { return max(1, l.Per/time.Duration(l.Events)) }

// Take is one claim on one limit.
type Take struct {
	// Key names the bucket; it must tell rules apart as well as callers. It is read during the call only.
	Key   []byte
	Limit Limit
	// Cost is how many events, at least 1.
	Cost int
	// OnFailure is what Distributed does when Redis is gone.
	OnFailure Failure
}

// Failure is what happens to a limit over all nodes when Redis cannot be asked.
type Failure uint8

// The answers to a Redis that is gone.
const (
	CountLocally Failure = iota // this node counts for itself
	LetPass
	Refuse
)

// ErrUnavailable is what Distributed.Take returns when Redis is gone and a limit says Refuse.
var ErrUnavailable = errors.New("the rate limit cannot be checked now")

// Decision is the answer to one Take.
type Decision struct {
	Allowed   bool
	Limit     int           // the burst: the most that may come at once
	Remaining int           // how many more may come now
	Reset     time.Duration // until the bucket is full again
	// RetryAfter is how long to wait before the same Take may be allowed; 0 when Allowed.
	RetryAfter time.Duration
}

// Store keeps buckets. The takes of one call are decided together: when one is refused, none is charged. Decisions
// are appended to dst in the order of takes. Stores are safe for concurrent use.
type Store interface {
	Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error)
}

// decide says whether cost events fit a bucket whose theoretical arrival time lies ahead of now by lead, and the lead
// they leave it with.
func decide(l Limit, cost int, lead time.Duration) (Decision, time.Duration) {
	interval := l.interval()
	room := interval * time.Duration(l.Burst)
	lead = max(0, lead)
	next := lead + interval*time.Duration(cost)
	d := Decision{Limit: l.Burst, Allowed: next <= room}
	if d.Allowed {
		lead = next
	} else {
		d.RetryAfter = next - room
	}
	d.Remaining = int((room - lead) / interval)
	d.Reset = lead
	return d, lead
}
