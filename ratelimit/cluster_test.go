package ratelimit

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startCluster starts a Redis Cluster of three masters and returns a client of it.
func startCluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	ctx := context.Background()
	var nodes []*redis.Client
	var addresses []string
	for range 3 {
		ports := [2]string{}
		for i := range ports {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_, ports[i], _ = net.SplitHostPort(l.Addr().String())
			l.Close()
		}
		cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", ports[0], "--save", "", "--dir", t.TempDir(),
			"--cluster-enabled", "yes", "--cluster-port", ports[1])
		if err := cmd.Start(); err != nil {
			t.Fatalf("redis-server does not start; `make test` installs it: %v", err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + ports[0], MaxRetries: -1})
		t.Cleanup(func() { c.Close() })
		eventually(t, "a node answers", func() bool { return c.Ping(ctx).Err() == nil })
		if i := len(nodes); i > 0 {
			if err := nodes[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", ports[0], ports[1]).Err(); err != nil {
				t.Fatal(err)
			}
			_ = c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err()
		}
		nodes, addresses = append(nodes, c), append(addresses, "127.0.0.1:"+ports[0])
	}
	const slots = 16384
	for i, c := range nodes {
		if err := c.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range nodes {
		eventually(t, "the cluster is up", func() bool {
			info, err := c.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")
		})
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestTakesOfSeveralSlotsAreChargedAllOrNone(t *testing.T) {
	store := startNode(t, startCluster(t))
	two := Limit{Events: 2, Per: time.Hour, Burst: 2}
	take := func(slot string, l Limit) Take { return Take{Key: []byte(slot), Slot: slot, Limit: l, Cost: 1} }
	call := func(takes ...Take) []Decision {
		t.Helper()
		d, err := store.Take(t.Context(), nil, takes)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	names := []string{"a", "b", "c", "d", "e"} // of several masters
	for i := range 2 {
		var takes []Take
		for _, n := range names {
			takes = append(takes, take(n, two))
		}
		for _, d := range call(takes...) {
			if !d.Allowed || d.Remaining != 1-i {
				t.Fatalf("call %d: %+v", i, d)
			}
		}
	}
	// "a" is used up: what the others were charged comes back.
	d := call(take("a", two), take("fresh", two), take("quota", dailyQuota(2)), take("place", atOnce(1)))
	if d[0].Allowed || !d[1].Allowed || d[1].Remaining != 2 {
		t.Errorf("%+v", d)
	}
	for _, fresh := range []Take{take("fresh", two), take("quota", dailyQuota(2)), take("place", atOnce(1))} {
		fresh.Cost = 2
		eventually(t, "all of "+fresh.Slot+" is there", func() bool { return call(fresh)[0].Allowed })
	}
}
