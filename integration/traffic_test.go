package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

// traffic is callers that each make one request after another, until they are stopped.
type traffic struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	stopped atomic.Bool
	kinds   map[string]*tally
}

// tally is what became of the requests of one kind.
type tally struct {
	calls, failed atomic.Int64
	last          atomic.Value // the last failure
}

// startTraffic starts so many callers of each kind, until the test ends.
func startTraffic(t testing.TB, callers int, kinds map[string]func(context.Context) error) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{cancel: cancel, kinds: map[string]*tally{}}
	for kind, call := range kinds {
		n := new(tally)
		f.kinds[kind] = n
		for range callers {
			f.running.Go(func() {
				for !f.stopped.Load() {
					if err := call(ctx); err != nil {
						n.failed.Add(1)
						n.last.Store(err.Error())
					}
					n.calls.Add(1)
				}
			})
		}
	}
	t.Cleanup(f.stop)
	return f
}

// more waits until n more requests of each kind have ended.
func (f *traffic) more(t testing.TB, n int64) {
	t.Helper()
	until := map[string]int64{}
	for kind, k := range f.kinds {
		until[kind] = k.calls.Load() + n
	}
	rig.Eventually(t, rig.Patience, func() error {
		for kind, k := range f.kinds {
			if calls := k.calls.Load(); calls < until[kind] {
				return fmt.Errorf("%d requests of %s have ended, want %d; the last failure: %v", calls, kind, until[kind], k.last.Load())
			}
		}
		return nil
	})
}

// stop lets every caller end its request. It may be called again.
func (f *traffic) stop() {
	f.stopped.Store(true)
	f.running.Wait()
	f.cancel()
}

// during makes a change, has n more requests of each kind end after it, and wants none of all these to fail.
func (f *traffic) during(t testing.TB, n int64, change func()) {
	t.Helper()
	before := map[string]int64{}
	for kind, k := range f.kinds {
		before[kind] = k.failed.Load()
	}
	change()
	f.more(t, n)
	for kind, k := range f.kinds {
		if failed := k.failed.Load() - before[kind]; failed != 0 {
			t.Errorf("%d requests of %s failed, want none; the last with %v", failed, kind, k.last.Load())
		}
	}
}

// wantFailed stops, and checks how many requests of each kind have failed: none where most does not say how many may.
func (f *traffic) wantFailed(t testing.TB, most map[string]int64) {
	t.Helper()
	f.stop()
	for kind, k := range f.kinds {
		if failed := k.failed.Load(); failed > most[kind] {
			t.Errorf("%d of %d requests of %s failed, want at most %d; the last with %v", failed, k.calls.Load(), kind, most[kind], k.last.Load())
		} else {
			t.Logf("%s: %d of %d failed; the last with %v", kind, failed, k.calls.Load(), k.last.Load())
		}
	}
}

// getting gets an address over a connection of its own, and wants 200 with a whole body.
func getting(t testing.TB, url string) func(context.Context) error {
	t.Helper()
	client := httpClient(t, false)
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered %s: %s", answer.Status, body)
		}
		return err
	}
}
