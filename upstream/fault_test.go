package upstream

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/crossgate/crossgate/config"
)

// process is a backend in a process of its own: this test binary, run again.
type process struct {
	address string
	cmd     *exec.Cmd
}

// TestBackendProcess is that process' main function.
func TestBackendProcess(t *testing.T) {
	ready := os.Getenv("CROSSGATE_TEST_BACKEND")
	if ready == "" {
		t.Skip("runs as the backend of other tests")
	}
	b := startBackend(t, nil)
	if err := os.WriteFile(ready+".new", []byte(b.address), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(ready+".new", ready); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test that wants it has ended
}

func startProcess(t *testing.T) *process {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "address")
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^TestBackendProcess$")}
	p.cmd.Env = append(os.Environ(), "CROSSGATE_TEST_BACKEND="+ready)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	until(t, "the backend process", func() bool {
		address, err := os.ReadFile(ready)
		p.address = string(address)
		return err == nil
	})
	return p
}

func TestClientsDoNotSeeABackendProcessFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
	}{
		{"killed", syscall.SIGKILL},
		{"paused", syscall.SIGSTOP},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, bad := startProcess(t), startProcess(t)
			cfg := withBudget(upstreamOf(good.address, bad.address))
			cfg.RetryBudget.Percent = 100
			cfg.OutlierDetection = &config.OutlierDetection{ConsecutiveFailures: 3, Interval: ms(100), BaseEjection: ms(60000), MaxEjection: ms(60000), MaxEjected: 50}
			p := openSet(t, nil, cfg).Pool("shop")
			route := retrying("reset", "gateway", "timeout")
			route.TryTimeout = ms(4000) // a slow machine is not to look like a backend that is paused
			b := p.For(route, true)
			ctx, cancel := context.WithTimeout(context.Background(), 2*testTime)
			defer cancel()
			seen := map[string]bool{}
			until(t, "both to have answered", func() bool {
				address, err := call(ctx, p, "x")
				seen[address] = true
				return err == nil && len(seen) == 2
			})
			callers := startCallers(t, func() error { return ask(ctx, b, false, strings.Repeat("x", 100)) })
			until(t, "some calls", func() bool { return callers.calls.Load() > 100 })
			if err := bad.cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			before := callers.calls.Load()
			until(t, "calls to go on", func() bool { return callers.calls.Load() > before+500 })
			callers.stop(t)
		})
	}
}
