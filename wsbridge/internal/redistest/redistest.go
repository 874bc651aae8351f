// Package redistest starts a real redis-server for the tests of the bridge, one that can be killed and hung.
package redistest

import (
	"context"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server on a free loopback port, without persistence.
type Server struct {
	Address string

	t       testing.TB
	port    string
	command *exec.Cmd
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: l.Addr().String(), t: t}
	if _, s.port, err = net.SplitHostPort(s.Address); err != nil {
		t.Fatal(err)
	}
	l.Close()
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Restart starts the server again, empty, after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	s.command = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", s.port, "--save", "", "--repl-diskless-sync-delay", "0", "--dir", s.t.TempDir())
	if err := s.command.Start(); err != nil {
		s.t.Fatalf("redis-server does not start; `make test` installs it: %v", err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Address, MaxRetries: -1})
	defer client.Close()
	Eventually(s.t, "redis-server answers", func() bool { return client.Ping(context.Background()).Err() == nil })
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

// Hang stops the server's process without closing its connections; Continue lets it go on.
func (s *Server) Hang() { _ = s.command.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Hang.
func (s *Server) Continue() { _ = s.command.Process.Signal(syscall.SIGCONT) }

// Follow makes the server a replica of another, until Promote.
func (s *Server) Follow(master *Server) {
	s.t.Helper()
	if err := s.Client().ReplicaOf(context.Background(), "127.0.0.1", master.port).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Promote makes a replica a master.
func (s *Server) Promote() {
	s.t.Helper()
	if err := s.Client().ReplicaOf(context.Background(), "NO", "ONE").Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Client returns a client that is closed with the test.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Address})
	s.t.Cleanup(func() { client.Close() })
	return client
}

// Eventually waits until ok is true, and fails the test when it is not in time.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
