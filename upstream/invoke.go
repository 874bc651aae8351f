package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// Call is one unary call: see unary.Call.
type Call = unary.Call

// Reply is what a unary call answers with. Its zero value is empty; it may be used again, by one call at a time, after
// Reset.
type Reply = unary.Reply

// Invoke makes a unary call. When a backend cannot be reached, or says that it has not begun with the call, the call
// goes to the next one. The error is a gRPC status.
func (p *Pool) Invoke(ctx context.Context, call *Call, reply *Reply) error {
	t := p.turn(ctx)
	return t.invoke(ctx, call, reply)
}

// invoke makes a unary call at the next endpoint that begins with it, when the pool lets it in.
func (t *turn) invoke(ctx context.Context, call *Call, reply *Reply) error {
	g := t.pool.gate
	if g == nil {
		return t.call(ctx, call, reply)
	}
	if err := g.enter(ctx, call.Deadline); err != nil {
		return err
	}
	start := time.Now()
	err := t.call(ctx, call, reply)
	g.leave(time.Since(start), outcomeOf(ctx, err))
	return err
}

func (t *turn) call(ctx context.Context, call *Call, reply *Reply) error {
	if d, ok := ctx.Deadline(); ok && (call.Deadline.IsZero() || d.Before(call.Deadline)) {
		call.Deadline = d
	}
	var last error
	for {
		e, anyway := t.next(ctx)
		if e == nil {
			return t.pool.unreachable(last)
		}
		l, c := e.line()
		if !anyway && (c == nil || e.isDown()) {
			l.connect()
			continue
		}
		r, ok := e.take()
		if !ok {
			continue
		}
		if c == nil {
			var err error
			if c, err = l.wait(ctx, call.Deadline); err != nil {
				if ended := callEnded(ctx, call); ended != nil {
					r.done(unjudged)
					return ended
				}
				e.failed()
				r.done(disconnected)
				last = err
				continue
			}
			e.downUntil.Store(0)
		}
		err := c.Invoke(ctx, call, reply)
		if !unary.NotSent(err) {
			o := outcomeOf(ctx, err)
			if o == endedByTimeout && t.limited {
				o = gatewayFailed
			}
			r.done(o)
			return err
		}
		r.done(unjudged)
		reply.Reset()
		last = err
	}
}

// callEnded is the status of a call that nobody waits for any more, nil for one that somebody does.
func callEnded(ctx context.Context, call *Call) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.ErrClientGone
	case ctx.Err() != nil, !call.Deadline.IsZero() && !time.Now().Before(call.Deadline):
		return fault.ErrDeadline
	}
	return nil
}
