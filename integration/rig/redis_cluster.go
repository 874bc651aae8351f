package rig

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// RedisCluster is a Redis Cluster of three masters without replicas: of one that is killed the keys are gone, and the others serve
// theirs.
type RedisCluster struct{ Masters [3]*redistest.Server }

// StartRedisCluster starts a cluster on free ports, and returns when all of it is up.
func StartRedisCluster(t testing.TB) *RedisCluster {
	t.Helper()
	ctx := context.Background()
	c := &RedisCluster{}
	var clients []*redis.Client
	do := func(client *redis.Client, args ...any) {
		t.Helper()
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	const slots = 16384
	for i := range c.Masters {
		_, bus, _ := net.SplitHostPort(FreeAddress(t))
		c.Masters[i] = redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
			"--cluster-require-full-coverage", "no")
		client := redis.NewClient(&redis.Options{Addr: c.Masters[i].Address, MaxRetries: -1})
		defer client.Close()
		clients = append(clients, client)
		do(client, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		do(client, "CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		host, port, _ := net.SplitHostPort(c.Masters[i].Address)
		do(clients[0], "CLUSTER", "MEET", host, port, bus)
	}
	for _, client := range clients {
		Eventually(t, Patience, func() error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !(strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")) {
				err = fmt.Errorf("the cluster says %s", info)
			}
			return err
		})
	}
	return c
}

// URL names all masters, as configuration has them.
func (c *RedisCluster) URL() string {
	return fmt.Sprintf("redis+cluster://%s?addr=%s&addr=%s", c.Masters[0].Address, c.Masters[1].Address, c.Masters[2].Address)
}

// MasterOf returns which of Masters a key belongs to.
func (c *RedisCluster) MasterOf(t testing.TB, key string) int {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: c.Masters[0].Address})
	defer client.Close()
	slot, err := client.ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(slot * 3 / 16384)
}
