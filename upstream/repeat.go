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
		if c.retries == 0 {
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
	if c.hedge > 0 && body == nil && isIdempotent(r.Method) {
		answer, err = c.hedgeRequest(ctx, t, r)
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

// sent is how one of several tries of a request ended.
type sent struct {
	index  int
	answer *http.Response
	err    error
}

// hedgeRequest makes a request without a body and, when it is not answered in time, once more at the next endpoint. The
// first answer that is none of an endpoint that failed counts.
func (c *caller) hedgeRequest(ctx context.Context, t *turn, r *http.Request) (*http.Response, error) {
	results := make(chan sent, 2)
	var cancels [2]context.CancelFunc
	begun, running := 0, 0
	begin := func() {
		index, t := begun, *t
		ctx, cancel := context.WithCancel(ctx)
		cancels[index] = cancel
		out := r.Clone(ctx) // each has a URL of its own
		begun++
		running++
		go func() { // ends with the request, which cancel ends
			answer, err := c.send(ctx, &t, out, nil)
			results <- sent{index, answer, err}
		}()
	}
	begin()
	t.skip()
	timer := time.NewTimer(c.hedge)
	defer timer.Stop()
	for {
		select {
		case s := <-results:
			running--
			if running > 0 && (s.err != nil || outcomeOfHTTP(s.answer.StatusCode) != succeeded) {
				s.drop(cancels[s.index])
				continue
			}
			if running > 0 {
				other := cancels[1-s.index]
				other()
				go func() { // ends with the request that is given up
					late := <-results
					late.drop(other)
				}()
			}
			cancel := cancels[s.index]
			if s.err != nil {
				cancel()
				return nil, s.err
			}
			s.answer.Body = &lastBody{s.answer.Body, func(error) { cancel() }}
			return s.answer, nil
		case <-timer.C:
			if c.pool.budget.take() {
				defer c.pool.budget.give()
				c.pool.metrics.Hedged()
				begin()
				t.skip()
			}
		}
	}
}

// drop lets go of an answer that nobody wants.
func (s sent) drop(cancel context.CancelFunc) {
	if s.err == nil {
		_ = s.answer.Body.Close()
	}
	cancel()
}
