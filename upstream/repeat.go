package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/crossgate/crossgate/fault"
)

// errTryTimeout is why a try was given up.
var errTryTimeout = errors.New("upstream: the route's try_timeout passed")

// RoundTrip passes a request through, again if it must. An upgrade of the connection is tried once.
func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header["Upgrade"] != nil {
		return c.pool.RoundTrip(r)
	}
	a := c.begin(c.idempotent || isIdempotent(r.Method))
	defer a.end()
	ctx, watch := watchIdle(r.Context(), c.idle)
	var body *replay
	if r.Body != nil && r.Body != http.NoBody {
		body = &replay{source: r.Body, most: c.buffer}
		if c.retries == 0 && !c.hedges(r, body) {
			body.settle()
		}
	}
	for t := c.pool.turn(ctx); ; {
		answer, v, err := c.try(ctx, &t, r, body)
		if err == nil && v == final {
			body.settle()
			if watch != nil {
				answer.Body = &idleBody{answer.Body, watch}
			}
			return answer, nil
		}
		pause, said, ok := time.Duration(0), false, true
		if err == nil {
			pause, said, ok = pushback(answer.Header.Get("Grpc-Retry-Pushback-Ms"))
		}
		repeatable := body == nil || body.again() != nil
		if !ok || !repeatable || !a.again(ctx, deadlineOf(ctx), v, pause, said) {
			body.settle()
			if err == nil { // what the backend says is the answer
				if watch != nil {
					answer.Body = &idleBody{answer.Body, watch}
				}
				return answer, nil
			}
			err = watch.explain(err)
			watch.stop()
			if body != nil {
				_ = body.source.Close()
			}
			return nil, err
		}
		if answer != nil {
			_ = answer.Body.Close()
		}
		if t.spent() {
			t = c.pool.turn(ctx)
		}
	}
}

// try makes one try, or two where the request is hedged, and says what it amounts to.
func (c *caller) try(ctx context.Context, t *turn, r *http.Request, body *replay) (*http.Response, verdict, error) {
	var answer *http.Response
	var err error
	if c.hedges(r, body) {
		answer, err = c.hedgeRequest(ctx, t, r, body)
	} else {
		answer, err = c.send(ctx, t, r, body)
	}
	if err == nil {
		return answer, c.on.ofAnswer(answer), nil
	}
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return nil, c.on.ofError(own), err
	}
	switch {
	case ctx.Err() != nil:
		return nil, final, err
	case c.on&onReset != 0:
		return nil, again, err
	}
	return nil, final, err
}

// send makes one try, for at most try_timeout until there are headers.
func (c *caller) send(ctx context.Context, t *turn, r *http.Request, body *replay) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	out := r.WithContext(ctx)
	if body != nil {
		out.Body = body.again()
		out.GetBody = func() (io.ReadCloser, error) {
			if again := body.again(); again != nil {
				return again, nil
			}
			return nil, errBeyondBuffer
		}
	}
	var limit *time.Timer
	if c.tryTimeout > 0 {
		limit = time.AfterFunc(c.tryTimeout, func() { cancel(errTryTimeout) })
	}
	answer, err := t.roundTrip(out)
	if limit != nil && !limit.Stop() && errors.Is(context.Cause(ctx), errTryTimeout) {
		if err == nil {
			_ = answer.Body.Close()
		}
		cancel(nil)
		return nil, fault.ErrDeadline
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	answer.Body = &lastBody{answer.Body, cancel}
	return answer, nil
}

// lastBody is the body of an answer, with which the try's context ends.
type lastBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *lastBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
