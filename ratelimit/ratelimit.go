package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limit is a steady rate with a burst, by the generic cell rate algorithm (ITU-T I.371). Stores count limits that pass
// Check.
type Limit struct {
	Events int           // events in Per, at least 1
	Per    time.Duration // above 0
	Burst  int           // how many may come at once, at least 1
}

// maxSpan bounds the time an empty bucket takes to fill, so that no sum of times overflows.
const maxSpan = 100 * 365 * 24 * time.Hour

// Check reports what of l no store can count.
func (l Limit) Check() error {
	switch {
	case l.Events < 1 || l.Per < 1 || l.Burst < 1:
		return fmt.Errorf("%d events in %v with a burst of %d; each is at least 1", l.Events, l.Per, l.Burst)
	case time.Duration(l.Burst) > maxSpan/l.interval():
		return fmt.Errorf("a burst of %d at %d events in %v takes more than 100 years to fill", l.Burst, l.Events, l.Per)
	}
	return nil
}

// interval is the time one event takes up.
func (l Limit) interval() time.Duration { return max(1, l.Per/time.Duration(l.Events)) }

// Take is one claim on one limit.
type Take struct {
	// Key names the bucket; it must tell rules apart as well as callers, and be no other take's of the same call. It is
	// read during the call only.
	Key   []byte
	Limit Limit
	// Cost is how many events, at least 1. One above the burst is never allowed.
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
