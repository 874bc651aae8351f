package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Check asks once; nil says that the backend is well. It returns when ctx ends.
type Check func(ctx context.Context) error

// Options are how often to ask and what makes of answers a verdict.
type Options struct {
	Interval  time.Duration
	Timeout   time.Duration
	Unhealthy int // answers in a row
	Healthy   int
}

// Record is what is known of a backend: the verdict, how many answers in a row have been against it, and when to ask
// again. The zero Record knows nothing. It is safe for concurrent use.
type Record struct {
	mu     sync.Mutex
	known  bool
	unwell bool
	run    int
	due    time.Time
}

// Copy returns a record that says the same, for another that goes on asking.
func (r *Record) Copy() *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Record{known: r.known, unwell: r.unwell, run: r.run, due: r.due}
}

// Unwell reports whether the verdict is that the backend is unwell.
func (r *Record) Unwell() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unwell
}

// note adds an answer, and reports whether it changes the verdict. Of a backend of which nothing is known the first answer
// is a verdict by itself; one that it finds well, as it was taken to be, is no change.
func (r *Record) note(err error, o *Options) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.known
	r.known, r.due = true, time.Now().Add(jitter(o.Interval))
	if (err != nil) == r.unwell {
		r.run = 0
		return false
	}
	r.run++
	if first || err != nil && r.run >= o.Unhealthy || err == nil && r.run >= o.Healthy {
		r.unwell, r.run = err != nil, 0
		return true
	}
	return false
}

func (r *Record) wait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.due)
}

// Run asks until ctx ends, each time that it is due by what the record says, and calls verdict when that changes, with nil
// for well.
func Run(ctx context.Context, check Check, o Options, record *Record, verdict func(error)) {
	for {
		if wait := record.wait(); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
		err := ask(ctx, check, o.Timeout)
		if ctx.Err() != nil {
			return
		}
		if record.note(err, &o) {
			verdict(err)
		}
	}
}

func ask(ctx context.Context, check Check, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return check(ctx)
}

// jitter keeps the nodes of a gateway, and the endpoints of an upstream, from being in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
