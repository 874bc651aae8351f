// Package rig starts what the end-to-end tests need: real servers on free loopback ports, each stopped, by process,
// when its test ends.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/redistest"
)

// FreeAddress returns a loopback address that nothing listened on a moment ago, at a port that no connection takes.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return redistest.FreeAddress(t)
}

// Process is a running server.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// Run starts a command. A program that is not installed fails the test: `make test` installs what tests need.
func Run(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	return RunWith(t, nil, name, args...)
}

// RunWith starts a command with more in its environment.
func RunWith(t testing.TB, environment []string, name string, args ...string) *Process {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; `make test` installs what the tests need: %v", name, err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
		log.Close()
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil && len(text) > 0 {
				t.Logf("%s wrote:\n%s", name, text[max(0, len(text)-4000):])
			}
		}
	})
	return p
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Memory returns the process's resident memory, in bytes.
func (p *Process) Memory(t testing.TB) int64 {
	t.Helper()
	// proc_pid_statm(5): the second number is the resident pages.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Error(err)
	}
	return resident * int64(os.Getpagesize())
}

// Kill ends the process with SIGKILL and waits until it is gone. It may be called again.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Terminate sends SIGTERM and returns the exit code once the process has ended, or an error when it does not in time.
func (p *Process) Terminate(limit time.Duration) (int, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("process %d did not end within %v", p.cmd.Process.Pid, limit)
	}
}

// Patience is how long a test waits for what is to come.
const Patience = redistest.Patience

// Eventually waits until ok returns nil, and fails the test with its last error when it does not in time.
func Eventually(t testing.TB, limit time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not after %v: %v", limit, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// StartRedis starts redis-server on a free port.
func StartRedis(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.Start(t)
}

// StartEtcd starts an empty etcd and returns the address that serves both its gRPC API and its own JSON gateway.
func StartEtcd(t testing.TB) string {
	t.Helper()
	client, peer := FreeAddress(t), FreeAddress(t)
	Run(t, "etcd", "--data-dir", t.TempDir(), "--name", "one",
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "one=http://"+peer)
	Eventually(t, Patience, func() error {
		answer, err := http.Get("http://" + client + "/health")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && !strings.Contains(string(body), `"true"`) {
			err = fmt.Errorf("etcd says %s", body)
		}
		return err
	})
	return client
}

// Output runs a command to its end and returns what it printed, to both outputs, and its exit code.
func Output(t testing.TB, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}
