package pace

import (
	"context"
	"io"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func begin(t *testing.T) *Pace {
	ctx, end := Begin(t.Context())
	t.Cleanup(end)
	return Of(ctx)
}

func TestPacedWorkRestsAsLongAsItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := begin(t)
		began := time.Now()
		for range 100 {
			time.Sleep(stint / 5) // a step of the work
			p.Step()
		}
		if took, want := time.Since(began), 2*100*stint/5; took != want {
			t.Errorf("work of %v took %v, want %v", 100*stint/5, took, want)
		}
	})
}

func TestWorkThatIsNotPacedNeverRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Of(context.Background())
		began := time.Now()
		time.Sleep(10 * stint)
		p.Step()
		if text, err := io.ReadAll(p.Reader(strings.NewReader("text"))); string(text) != "text" || err != nil {
			t.Errorf("read %q, %v", text, err)
		}
		if took := time.Since(began); took != 10*stint {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAReadIsAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := begin(t)
		r := p.Reader(strings.NewReader("text"))
		began := time.Now()
		time.Sleep(stint)
		if n, err := r.Read(make([]byte, 2)); n != 2 || err != nil || time.Since(began) != 2*stint {
			t.Errorf("read %d bytes, %v, after %v", n, err, time.Since(began))
		}
	})
}

func TestCollectionIsDeferredUntilTheLastWorkEnds(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	for before, during := range map[int]int{100: roomy, 50: roomy, 1000: 1000, -1: -1} {
		own := debug.SetGCPercent(before)
		_, endOne := Begin(t.Context())
		_, endTwo := Begin(t.Context())
		if got := percent(); got != during {
			t.Errorf("GOGC is %d during work, was %d before; want %d", got, before, during)
		}
		endOne()
		endOne()
		if got := percent(); got != during {
			t.Errorf("GOGC is %d with one work ended, want %d", got, during)
		}
		endTwo()
		if got := percent(); got != before {
			t.Errorf("GOGC is %d after work, was %d before", got, before)
		}
		debug.SetGCPercent(own)
	}
}
