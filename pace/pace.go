// Package pace keeps long work in the background from holding up requests. Go's scheduler lets a goroutine have its
// processor for 10 ms, and looks for what the network brings where a processor is free: next to work of a second, and to the
// collection of its garbage, many a request would wait for that long. Paced work rests often, for as long as it has worked,
// and its garbage is collected when it is done, where memory allows.
package pace

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// stint is how long work goes on without a rest, and how long it rests.
const stint = 500 * time.Microsecond

// Pace is that of one piece of work. A nil one never rests. Its methods are safe for concurrent use.
type Pace struct {
	begun  time.Time
	rested atomic.Int64 // when, since begun
}

type key struct{}

// Begin returns a context whose work is paced, and what is to be called when that has ended.
func Begin(ctx context.Context) (paced context.Context, end func()) {
	deferCollection()
	return context.WithValue(ctx, key{}, &Pace{begun: time.Now()}), sync.OnceFunc(resumeCollection)
}

// Of returns the pace of a context's work, nil where that is not paced.
func Of(ctx context.Context) *Pace {
	p, _ := ctx.Value(key{}).(*Pace)
	return p
}

// Step is called between the steps of the work, which are to be short, and rests when it is time to. It costs little more than to
// look at the clock.
func (p *Pace) Step() {
	if p == nil || time.Since(p.begun)-time.Duration(p.rested.Load()) < stint {
		return
	}
	time.Sleep(stint)
	p.rested.Store(int64(time.Since(p.begun)))
}

// Reader returns a reader of r of which each Read is a step.
func (p *Pace) Reader(r io.Reader) io.Reader { return reader{p, r} }

type reader struct {
	pace *Pace
	r    io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	r.pace.Step()
	return r.r.Read(b)
}
