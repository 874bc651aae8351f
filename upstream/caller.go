package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
)

// Backend is a pool as a route calls it.
type Backend interface {
	Invoke(ctx context.Context, call *Call, reply *Reply) error
	NewStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error)
	RoundTrip(r *http.Request) (*http.Response, error)
}

// For returns the pool as a route calls it: the pool itself, or one that tries again, hedges and gives up as the route says.
// idempotent says that what is called may be repeated; of HTTP requests their method says it too.
func (p *Pool) For(r *config.Route, idempotent bool) Backend {
	if r.Retry == nil && r.Hedge == nil && r.TryTimeout == 0 && r.StreamIdleTimeout == 0 {
		return p
	}
	c := &caller{pool: p, tryTimeout: r.TryTimeout.Std(), idle: r.StreamIdleTimeout.Std(), idempotent: idempotent}
	if t := r.Retry; t != nil {
		c.retries, c.on, c.repeatAll = t.Retries, compileConditions(t.On), t.NonIdempotent
		c.backoff, c.maxBackoff, c.buffer = t.Backoff.Std(), t.MaxBackoff.Std(), int(t.Buffer)
	}
	if r.Hedge != nil {
		c.hedge = r.Hedge.After.Std()
		if r.Retry == nil {
			c.buffer = hedgeBuffer
		}
	}
	return c
}

// caller is a pool with the resilience of one route.
type caller struct {
	pool       *Pool
	idempotent bool
	retries    int
	on         conditions
	repeatAll  bool
	backoff    time.Duration
	maxBackoff time.Duration
	buffer     int           // of a request body
	tryTimeout time.Duration // 0 for none
	hedge      time.Duration // 0 for never
	idle       time.Duration // 0 for any
}

// hedgeBuffer is how much of a call is kept for a second endpoint where retry does not say: as much as it would by default.
const hedgeBuffer = 64 << 10

// attempts is the tries of one request.
type attempts struct {
	*caller
	repeatable bool
	retries    int // so far
	owed       bool
}

func (c *caller) begin(repeatable bool) attempts {
	c.pool.budget.requests.Add(1)
	return attempts{caller: c, repeatable: repeatable || c.repeatAll}
}

func (a *attempts) end() {
	a.settle()
	a.pool.budget.requests.Add(-1)
}

// settle gives back what a retry took of the budget.
func (a *attempts) settle() {
	if a.owed {
		a.owed = false
		a.pool.budget.give()
	}
}

// again waits before another try and returns true; or false when there is none. pause is the backend's, where it said one.
func (a *attempts) again(ctx context.Context, deadline time.Time, v verdict, pause time.Duration, said bool) bool {
	a.settle()
	if v == final || v != unbegun && !a.repeatable || a.retries == a.caller.retries {
		return false
	}
	if !said {
		pause = time.Duration(rand.Int64N(int64(min(a.backoff<<a.retries, a.maxBackoff)) + 1))
	}
	if !deadline.IsZero() && time.Until(deadline) <= pause {
		return false
	}
	if !a.pool.budget.take() {
		a.pool.metrics.Retried(overBudget)
		return false
	}
	a.owed = true
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	a.retries++
	a.pool.metrics.Retried(sentAgain)
	return true
}

// What became of a retry, as metrics have it.
const (
	sentAgain  = "sent"
	overBudget = "over_budget"
)

// Invoke makes a unary call, again if it must.
func (c *caller) Invoke(ctx context.Context, call *Call, reply *Reply) error {
	if d, ok := ctx.Deadline(); ok && (call.Deadline.IsZero() || d.Before(call.Deadline)) {
		call.Deadline = d
	}
	a := c.begin(c.idempotent)
	defer a.end()
	deadline := call.Deadline
	for t := c.pool.turn(ctx); ; {
		t.limited = false
		if c.tryTimeout > 0 {
			if limit := time.Now().Add(c.tryTimeout); deadline.IsZero() || limit.Before(deadline) {
				call.Deadline, t.limited = limit, true
			}
		}
		err := c.invoke(ctx, &t, call, reply)
		call.Deadline = deadline
		if err == nil {
			return nil
		}
		v := c.on.ofError(err)
		if v == timedOut && !t.limited {
			return err
		}
		pause, said, ok := pushback(reply.Pushback)
		if !ok || !a.again(ctx, deadline, v, pause, said) {
			return err
		}
		reply.Reset()
		if t.spent() {
			t = c.pool.turn(ctx)
		}
	}
}

func (c *caller) invoke(ctx context.Context, t *turn, call *Call, reply *Reply) error {
	if c.hedge > 0 && c.idempotent {
		return c.invokeHedged(ctx, t, call, reply)
	}
	return t.invoke(ctx, call, reply)
}

// NewStream opens a stream, and gives it up when it is silent for too long. It is not tried again once it is open: the
// caller has had messages of it, or has sent some.
func (c *caller) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error) {
	a := c.begin(false)
	defer a.end()
	ctx, w := watchIdle(ctx, c.idle)
	for t := c.pool.turn(ctx); ; {
		s, err := t.newStream(ctx, desc, method)
		if err == nil {
			if w == nil {
				return s, nil
			}
			return &idleStream{s, w}, nil
		}
		if own, ok := errors.AsType[*fault.Error](err); !ok || own.Reason != fault.UpstreamUnreachable ||
			!a.again(ctx, deadlineOf(ctx), unbegun, 0, false) {
			w.stop()
			return nil, err
		}
		t = c.pool.turn(ctx)
	}
}

func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}
