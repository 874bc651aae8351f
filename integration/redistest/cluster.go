package redistest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// nodeTimeout is how long, in milliseconds, a cluster does not hear of a node before it takes it for dead.
const nodeTimeout = "1000"

// Cluster is a Redis Cluster of three masters, each with a replica.
type Cluster struct {
	Masters, Replicas [3]*Server

	t testing.TB
}

// StartCluster starts a cluster that ends with the test, and returns when all of it is up.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	buses := map[*Server]string{}
	for _, list := range []*[3]*Server{&c.Masters, &c.Replicas} {
		for i := range list {
			_, port, _ := net.SplitHostPort(FreeAddress(t))
			list[i] = Start(t, "--cluster-enabled", "yes", "--cluster-port", port, "--cluster-node-timeout", nodeTimeout,
				"--cluster-replica-validity-factor", "0", "--cluster-require-full-coverage", "no")
			buses[list[i]] = port
		}
	}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := c.Masters[0].Client()
	for i, s := range slices.Concat(c.Masters[1:], c.Replicas[:]) {
		must(s.Client().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+2).Err())
		must(first.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", s.port, buses[s]).Err())
	}
	const slots = 16384
	for i, s := range c.Masters {
		must(s.Client().ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
	}
	for i, s := range c.Replicas {
		id := c.Masters[i].Client().ClusterMyID(ctx).Val()
		Eventually(t, "a replica has its master", func() bool { return s.Client().ClusterReplicate(ctx, id).Err() == nil })
	}
	c.Settle()
	return c
}

// Settle waits until every node that runs knows of a master for each slot, and each replica is in step with its master.
func (c *Cluster) Settle() {
	c.t.Helper()
	ctx := context.Background()
	for i, list := range [][3]*Server{c.Masters, c.Replicas} {
		for _, s := range list {
			if s.killed {
				continue
			}
			client := s.Client()
			Eventually(c.t, fmt.Sprint("the cluster is up on ", s.Address), func() bool {
				info, err := client.ClusterInfo(ctx).Result()
				state, _ := client.Info(ctx, "replication").Result()
				return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") &&
					strings.Contains(info, "cluster_known_nodes:6") && (i == 0 || strings.Contains(state, "master_link_status:up") || strings.Contains(state, "role:master"))
			})
		}
	}
}

// Replicated waits until every replica has all that its master has.
func (c *Cluster) Replicated() {
	c.t.Helper()
	for _, s := range c.Masters {
		s.Replicated()
	}
}

// MasterOf returns which of Masters has a key.
func (c *Cluster) MasterOf(key string) int {
	c.t.Helper()
	slot, err := c.Masters[0].Client().ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		c.t.Fatal(err)
	}
	return int(slot * 3 / 16384)
}

// Move gives the slot of a key, which is to be without keys, to another master.
func (c *Cluster) Move(key string) {
	c.t.Helper()
	ctx := context.Background()
	slot, err := c.Masters[0].Client().ClusterKeySlot(ctx, key).Result()
	if err != nil {
		c.t.Fatal(err)
	}
	to := c.Masters[(c.MasterOf(key)+1)%3].Client().ClusterMyID(ctx).Val()
	for _, s := range c.Masters {
		if err := s.Client().Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", to).Err(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Client returns a client of the cluster that is closed with the test.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{c.Masters[0].Address, c.Masters[1].Address, c.Replicas[0].Address}, MaxRetries: -1, ContextTimeoutEnabled: true})
	c.t.Cleanup(func() { client.Close() })
	return client
}
