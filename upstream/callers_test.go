package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
)

// callers are four who call one time after another, none of whose calls is to fail.
type callers struct {
	calls   atomic.Int64
	failed  atomic.Int64
	stopped atomic.Bool
	running sync.WaitGroup
}

func startCallers(t *testing.T, once func() error) *callers {
	t.Helper()
	c := new(callers)
	for range 4 {
		c.running.Go(func() {
			for !c.stopped.Load() {
				if err := once(); err != nil {
					t.Log(err)
					if c.failed.Add(1) > 10 {
						return // as the others will
					}
				}
				c.calls.Add(1)
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

func (c *callers) end() {
	c.stopped.Store(true)
	c.running.Wait()
}

// stop ends the callers, and wants none of their calls to have failed.
func (c *callers) stop(t *testing.T) {
	t.Helper()
	c.end()
	if n := c.failed.Load(); n != 0 {
		t.Errorf("%d of %d calls failed, want none", n, c.calls.Load())
	}
}
