package upstream

import (
	"context"
	"net/http"
	"time"

	"github.com/crossgate/crossgate/fault"
)

// hedged is how one of several tries of a call ended.
type hedged struct {
	err   error
	reply *Reply
}

// invokeHedged makes a call and, when it is not answered in time, once more at the next endpoint. The first answer that is
// none of an endpoint that failed counts. It returns when neither runs any more, as both read the request.
func (c *caller) invokeHedged(ctx context.Context, t *turn, call *Call, reply *Reply) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan hedged, 2)
	first, other := t.apart()
	try := func(t turn) {
		one, r := *call, new(Reply)
		err := t.invoke(ctx, &one, r)
		results <- hedged{err, r}
	}
	go try(first) // ends with its call, which cancel ends
	running := 1
	timer := time.NewTimer(c.hedge)
	defer timer.Stop()
	var last hedged
	for running > 0 {
		select {
		case last = <-results:
			running--
			if o := outcomeOf(ctx, last.err); o == succeeded || running == 0 {
				cancel()
				for ; running > 0; running-- {
					<-results
				}
				*reply = *last.reply
				return last.err
			}
		case <-timer.C:
			if c.pool.budget.take() {
				defer c.pool.budget.give()
				c.pool.metrics.Hedged()
				running++
				go try(other()) // as the first
			}
		}
	}
	return fault.ErrClientGone
}

// sent is how one of several tries of a request ended.
type sent struct {
	index  int
	answer *http.Response
	err    error
}

// hedges reports whether a request may be sent to a second endpoint: one of HTTP without a body, or a call of gRPC.
func (c *caller) hedges(r *http.Request, body *replay) bool {
	return c.hedge > 0 && (c.idempotent || body == nil && isIdempotent(r.Method))
}

// hedgeRequest makes a request and, when it is not answered in time, once more at the next endpoint, provided that all of its
// body has come by then and is kept. The first answer that is none of an endpoint that failed counts.
func (c *caller) hedgeRequest(ctx context.Context, t *turn, r *http.Request, body *replay) (*http.Response, error) {
	results := make(chan sent, 2)
	var cancels [2]context.CancelFunc
	begun, running := 0, 0
	begin := func(t turn) {
		index := begun
		ctx, cancel := context.WithCancel(ctx)
		cancels[index] = cancel
		out := r.Clone(ctx) // each has a URL of its own
		begun++
		running++
		go func() { // ends with the request, which cancel ends
			answer, err := c.send(ctx, &t, out, body)
			results <- sent{index, answer, err}
		}()
	}
	first, other := t.apart()
	begin(first)
	timer := time.NewTimer(c.hedge)
	defer timer.Stop()
	for {
		select {
		case s := <-results:
			running--
			if running > 0 && (s.err != nil || outcomeOfHeaders(s.answer) != succeeded) {
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
			if !body.whole() {
				timer.Reset(c.hedge) // the client is not done yet
				continue
			}
			if c.pool.budget.take() {
				defer c.pool.budget.give()
				c.pool.metrics.Hedged()
				begin(other())
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
