package upstream

import (
	"context"
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
	first := *t
	t.skip()
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
				second := *t
				go try(second) // as the first
				t.skip()
			}
		}
	}
	return fault.ErrClientGone
}
