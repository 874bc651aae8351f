package ratelimit

import (
	"context"
	"errors"
	"time"
)

// Take is one claim on one limit.
type Take struct {
	// Key names the bucket; it must tell rules apart as well as callers, and be no other take's of the same call. It is
	// read during the call only, and stores keep a hash of it.
	Key []byte
	// Slot is the hash tag of the key in Redis: in a cluster the takes of a slot are decided by one script.
	Slot  string
	Limit Limit
	// Cost is how many events, at least 1. One above the most that the limit allows is never allowed. A concurrency limit
	// gives one place whatever the cost.
	Cost int
	// OnFailure is what Distributed and Leased do when Redis is gone, and Share the percentage of the limit that this
	// node then gives alone by CountLocally; 0 is all of it.
	OnFailure Failure
	Share     int
	// DryRun is for a limit that is decided and charged, but stops no other take of the call.
	DryRun bool
	// Place is what a store has given of a concurrency limit, for Return.
	Place uint64
}

// Failure is what happens to a limit over all nodes when Redis cannot be asked.
type Failure uint8

// The answers to a Redis that is gone.
const (
	CountLocally Failure = iota // this node counts for itself
	LetPass
	Refuse
)

// ErrUnavailable is what Take returns when Redis is gone and a limit says Refuse.
var ErrUnavailable = errors.New("the rate limit cannot be checked now")

// Decision is the answer to one Take.
type Decision struct {
	Allowed   bool
	Uncounted bool          // it is let pass because Redis is gone
	Limit     int           // the most: a rate's burst, a quota, how many at once
	Remaining int           // how many more may come now
	Reset     time.Duration // until the bucket is full again, or the quota begins anew; 0 for a concurrency limit
	// RetryAfter is how long to wait before the same Take may be allowed; 0 when Allowed. A concurrency limit says when
	// to ask again.
	RetryAfter time.Duration
}

// Store keeps buckets. The takes of one call are decided together: when one is refused that is no DryRun, none is
// charged. Decisions are appended to dst in the order of takes, one for each. Stores are safe for concurrent use.
type Store interface {
	Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error)
	// Return gives back what a call of Take has charged: events of a rate or a quota that were not used after all, the
	// place of a concurrency limit. It does not wait.
	Return(takes []Take)
}
