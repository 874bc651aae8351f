// Package redistest starts real redis-servers for tests, which can be killed, hung and promoted.
package redistest

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// Server is a redis-server on a free loopback port, without persistence.
type Server struct {
	Address string

	t       testing.TB
	port    string
	options []string
	command *exec.Cmd
	killed  bool
	client  *redis.Client
}

// Start starts a server that ends with the test, with more options of its command line.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s := &Server{t: t, Address: FreeAddress(t), options: options}
	_, s.port, _ = net.SplitHostPort(s.Address)
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// URL is the address as configuration has it.
func (s *Server) URL() string { return "redis://" + s.Address + "/0" }

// Restart starts the server again after Kill: empty, unless its options have it persist in a directory of their own.
func (s *Server) Restart() {
	s.t.Helper()
	s.command = exec.Command("redis-server", slices.Concat([]string{"--bind", "127.0.0.1", "--port", s.port, "--save", "",
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--dir", s.t.TempDir()}, s.options)...)
	if err := s.command.Start(); err != nil {
		s.t.Fatalf("redis-server does not start; `make test` installs it: %v", err)
	}
	s.killed = false
	client := redis.NewClient(&redis.Options{Addr: s.Address, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	Eventually(s.t, "redis-server answers", func() bool { return client.Ping(context.Background()).Err() == nil })
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.killed = true
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

// Hang stops the server's process without closing its connections; Continue lets it go on.
func (s *Server) Hang() { _ = s.command.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Hang.
func (s *Server) Continue() { _ = s.command.Process.Signal(syscall.SIGCONT) }

// Follow makes the server a replica of another, until Promote.
func (s *Server) Follow(master *Server) { s.replicaOf("127.0.0.1", master.port) }

// Replicated waits until a replica has all that the server has.
func (s *Server) Replicated() {
	s.t.Helper()
	// WAIT counts what its own connection has written.
	conn := s.Client().Conn()
	defer conn.Close()
	_ = conn.Publish(context.Background(), "replicated", "").Err()
	if n, err := conn.Wait(context.Background(), 1, Patience/2).Result(); n != 1 || err != nil {
		s.t.Fatalf("%d replicas of %s have all, %v", n, s.Address, err)
	}
}

// Promote makes a replica a master.
func (s *Server) Promote() { s.replicaOf("NO", "ONE") }

func (s *Server) replicaOf(host, port string) {
	s.t.Helper()
	if err := s.Client().ReplicaOf(context.Background(), host, port).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Client returns a client that is closed with the test, always the same.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		s.client = redis.NewClient(&redis.Options{Addr: s.Address, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
		s.t.Cleanup(func() { s.client.Close() })
	}
	return s.client
}

// Patience is how long a test waits for what is to come. A machine that is busy may take seconds over anything.
const Patience = time.Minute

// Eventually waits until ok is true, and fails the test when it is not in time.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Leaks is what goleak is to overlook: a go-redis pool whose server is gone looks for it every second, and finds out only
// then that it was closed; so does a cluster's client with what it knows of the cluster.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).dialConn"),
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*clusterStateHolder).LazyReload.func1"),
	}
}
