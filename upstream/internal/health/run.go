package health

import (
	"context"
	"math/rand/v2"
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
	// Before is what is known already.
	Before Verdict
}

// Verdict is what is known of a backend.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota
	Well
	Unwell
)

// Run asks until ctx ends and calls verdict when it changes, with nil for well. Of a backend of which nothing is known the first
// answer is a verdict by itself; one that it finds well, as it was taken to be, is not reported.
func Run(ctx context.Context, check Check, o Options, verdict func(error)) {
	well, run, first := o.Before != Unwell, 0, o.Before == Unknown
	for {
		err := ask(ctx, check, o.Timeout)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) == well {
			run = 0
		} else if run++; first || err != nil && run >= o.Unhealthy || err == nil && run >= o.Healthy {
			well, run = !well, 0
			verdict(err)
		}
		first = false
		t := time.NewTimer(jitter(o.Interval))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
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
