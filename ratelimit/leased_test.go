package ratelimit

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/integration/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, append(redistest.Leaks(), goleak.IgnoreTopFunction("github.com/alicebob/miniredis/v2/server.(*Server).servePeer"))...)
}

func startLeased(t testing.TB, client redis.UniversalClient) *Leased {
	t.Helper()
	s := NewLeased(startNode(t, client), NewMemory())
	t.Cleanup(s.Close)
	return s
}

// scripts returns how many scripts a server has run.
func scripts(t testing.TB, client *redis.Client) (n int) {
	t.Helper()
	stats, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=([0-9]+)`).FindAllStringSubmatch(stats, -1) {
		calls, _ := strconv.Atoi(m[1])
		n += calls
	}
	return n
}

func TestHowOftenRedisIsAsked(t *testing.T) {
	client, _ := startRedis(t)
	limit := Limit{Events: 10_000, Per: time.Hour, Burst: 10_000}
	var takes []Take
	for _, key := range []string{"a", "b", "c"} {
		takes = append(takes, Take{Key: []byte(key), Slot: key, Limit: limit, Cost: 1})
	}
	takes = append(takes, Take{Key: []byte("q"), Limit: dailyQuota(10_000), Cost: 1})
	for _, c := range []struct {
		name  string
		store Store
		takes []Take
		most  int // for 500 calls
		least int
	}{
		{"redis is asked once a call, whatever the number of limits", startNode(t, client), takes, 500, 500},
		// A batch has 1000 events: 500 calls take three leases, and fill each up once.
		{"leased asks for a batch of each, and once more as half of it is used", startLeased(t, client), takes[:3], 4, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.store.Take(t.Context(), nil, []Take{{Key: []byte("loads the script"), Limit: hourly, Cost: 1}}); err != nil {
				t.Fatal(err)
			}
			before := scripts(t, client)
			for range 500 {
				if d, err := c.store.Take(t.Context(), nil, c.takes); err != nil || !d[0].Allowed {
					t.Fatal(d, err)
				}
			}
			if n := scripts(t, client) - before; n > c.most || n < c.least {
				t.Errorf("Redis was asked %d times, want %d to %d", n, c.least, c.most)
			}
		})
	}
}

func TestThreeNodesThatLeaseKeepToTheBound(t *testing.T) {
	client, _ := startRedis(t)
	var nodes []*Leased
	for range 3 {
		nodes = append(nodes, startLeased(t, client))
	}
	for _, cost := range []int{1, 3} {
		t.Run(fmt.Sprint("at a cost of ", cost), func(t *testing.T) {
			// Nothing comes back while the test runs.
			limit := Limit{Events: 1, Per: time.Hour, Burst: 600}
			var used atomic.Int64
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					for range 200 {
						take := []Take{{Key: fmt.Append(nil, "k", cost), Limit: limit, Cost: cost}}
						d, err := nodes[i%3].Take(context.Background(), nil, take)
						if err != nil {
							t.Error(err)
							return
						}
						if d[0].Allowed {
							used.Add(int64(cost))
						}
					}
				})
			}
			all.Wait()
			// What other nodes have leased and not used is missing: a batch of each.
			if n, least := int(used.Load()), limit.Burst-2*Batch(&limit)-cost; n > limit.Burst || n < least {
				t.Errorf("%d were used, want %d to %d", n, least, limit.Burst)
			}
		})
	}
	t.Run("over time", func(t *testing.T) {
		limit := Limit{Events: 1000, Per: time.Second, Burst: 100}
		start := time.Now()
		var used atomic.Int64
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() {
				for time.Since(start) < time.Second || used.Load() < int64(limit.Burst) {
					d, err := n.Take(context.Background(), nil, []Take{{Key: []byte("fast"), Limit: limit, Cost: 1}})
					if err != nil {
						t.Error(err)
						return
					}
					if d[0].Allowed {
						used.Add(1)
					}
				}
			})
		}
		all.Wait()
		took := time.Since(start)
		if n, most := int(used.Load()), limit.Burst+int(took/time.Millisecond)+1; n > most || n < limit.Burst {
			t.Errorf("%d in %v, want %d to %d", n, took, limit.Burst, most)
		}
	})
}

func TestALeaseIsChargedAllOrNoneWithItsNeighbours(t *testing.T) {
	client, _ := startRedis(t)
	s := startLeased(t, client)
	wide, narrow := Limit{Events: 1, Per: time.Hour, Burst: 5}, Limit{Events: 1, Per: time.Hour, Burst: 1}
	for i, want := range []bool{true, false, false} {
		d, err := s.Take(t.Context(), nil, []Take{{Key: []byte("wide"), Limit: wide, Cost: 1}, {Key: []byte("narrow"), Limit: narrow, Cost: 1}})
		if err != nil || (d[0].Allowed && d[1].Allowed) != want {
			t.Fatalf("call %d: %+v, %v", i, d, err)
		}
	}
	for i := range 5 {
		d, err := s.Take(t.Context(), nil, []Take{{Key: []byte("wide"), Limit: wide, Cost: 1}})
		if err != nil || d[0].Allowed != (i < 4) {
			t.Errorf("take %d of the wide limit: %+v, %v", i, d, err)
		}
	}
}

func TestLeasedWithoutRedis(t *testing.T) {
	for name, gone := range map[string]func(*redistest.Server){"killed": (*redistest.Server).Kill, "stopped": (*redistest.Server).Hang} {
		t.Run(name, func(t *testing.T) {
			client, server := startRedis(t)
			store := NewRedis(client, "cg:", 200*time.Millisecond)
			t.Cleanup(store.Close)
			s := NewLeased(store, NewMemory())
			t.Cleanup(s.Close)
			limit := Limit{Events: 1, Per: time.Hour, Burst: 40}
			take := func(key string, f Failure, share int) (Decision, error) {
				d, err := s.Take(t.Context(), nil, []Take{{Key: []byte(key), Limit: limit, Cost: 1, OnFailure: f, Share: share}})
				if err != nil {
					return Decision{}, err
				}
				return d[0], nil
			}
			eventually(t, "there is a lease", func() bool { d, err := take("leased", Refuse, 0); return err == nil && d.Allowed && !s.gateShut() })
			gone(server)
			if d, err := take("leased", Refuse, 0); err != nil || !d.Allowed {
				t.Errorf("what is leased cannot be used: %+v, %v", d, err)
			}
			start := time.Now()
			if _, err := take("deny", Refuse, 0); err == nil {
				t.Error("it is allowed")
			}
			if d, err := take("allow", LetPass, 0); err != nil || !d.Allowed || !d.Uncounted {
				t.Errorf("%+v, %v", d, err)
			}
			for i := range 12 {
				if d, err := take("local", CountLocally, 25); err != nil || d.Allowed != (i < 10) {
					t.Errorf("take %d of a share of 10: %+v, %v", i, d, err)
				}
			}
			if waited := time.Since(start); waited > patience {
				t.Errorf("14 calls waited for %v", waited)
			}
			server.Continue()
		})
	}
}

// gateShut reports whether Redis is left alone just now.
func (s *Leased) gateShut() bool { return s.until.Load() != 0 }

func BenchmarkStores(b *testing.B) {
	client, _ := startRedis(b)
	limit := Limit{Events: 1 << 30, Per: time.Second, Burst: 1 << 30}
	for _, c := range []struct {
		name  string
		store Store
	}{{"memory", NewMemory()}, {"leased", startLeased(b, client)}, {"redis", startNode(b, client)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				takes := []Take{{Key: []byte("route/0/10.0.0.1"), Limit: limit, Cost: 1}, {Key: []byte("route/1/ada"), Limit: limit, Cost: 1}}
				dst := make([]Decision, 0, 2)
				for pb.Next() {
					dst, _ = c.store.Take(context.Background(), dst[:0], takes)
				}
			})
		})
	}
}
