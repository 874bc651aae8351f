package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Sentinel looks after one master, and promotes a replica of it when it has been gone for a second.
type Sentinel struct {
	Address string

	t      testing.TB
	client *redis.SentinelClient
}

// StartSentinel starts a Sentinel that ends with the test.
func StartSentinel(t testing.TB, name string, master *Server) *Sentinel {
	t.Helper()
	address := FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor %s 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 5000\n", port, t.TempDir(), name, master.port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("redis-server", file, "--sentinel")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Sentinel{Address: address, t: t}
	s.client = redis.NewSentinelClient(&redis.Options{Addr: s.Address})
	t.Cleanup(func() {
		s.client.Close()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	Eventually(t, "the sentinel knows the master", func() bool {
		_, err := s.client.GetMasterAddrByName(context.Background(), name).Result()
		return err == nil
	})
	return s
}

// WaitForReplica waits until the Sentinel knows of a replica that it could promote.
func (s *Sentinel) WaitForReplica(name string) {
	s.t.Helper()
	Eventually(s.t, "the sentinel knows the replica", func() bool {
		replicas, err := s.client.Replicas(context.Background(), name).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
}
