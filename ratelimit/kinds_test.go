package ratelimit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// startNode returns a store of a node that shares a Redis.
func startNode(t testing.TB, client redis.UniversalClient) *Redis {
	t.Helper()
	r := NewRedis(client, "cg:", patience)
	t.Cleanup(r.Close)
	return r
}

func dailyQuota(n int) Limit {
	return Limit{Kind: Quota, Burst: n, Calendar: NewCalendar(Day, time.UTC)}
}

func atOnce(n int) Limit { return Limit{Kind: Concurrency, Burst: n} }

// stores are every kind of store, over a real Redis and the embedded one.
func stores(t *testing.T) map[string]Store {
	client, _ := startRedis(t)
	embedded := miniredis.RunT(t)
	small := redis.NewClient(&redis.Options{Addr: embedded.Addr()})
	t.Cleanup(func() { small.Close() })
	node := startNode(t, client)
	return map[string]Store{
		"memory":      NewMemory(),
		"redis":       node,
		"miniredis":   startNode(t, small),
		"distributed": NewDistributed(node, NewMemory()),
		"cluster":     startNode(t, redistest.StartCluster(t).Client()),
	}
}

func TestEveryStoreCountsEveryKindOfLimit(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			take := func(key string, l Limit, cost int) Take {
				return Take{Key: []byte(name + key), Slot: "shop", Limit: l, Cost: cost}
			}
			call := func(takes ...Take) []Decision {
				t.Helper()
				d, err := store.Take(context.Background(), nil, takes)
				if err != nil || len(d) != len(takes) {
					t.Fatalf("%v, %v", d, err)
				}
				return d
			}
			left := func(want int, takes ...Take) {
				t.Helper()
				if d := call(takes...)[0]; !d.Allowed || d.Remaining != want {
					t.Errorf("%+v, want %d to remain", d, want)
				}
			}
			refused := func(takes ...Take) Decision {
				t.Helper()
				d := call(takes...)
				for _, one := range d {
					if !one.Allowed {
						if one.RetryAfter <= 0 {
							t.Errorf("refused without a time to come again: %+v", one)
						}
						return one
					}
				}
				t.Errorf("allowed: %+v", d)
				return Decision{}
			}

			left(2, take("q", dailyQuota(5), 3))
			d := refused(take("q", dailyQuota(5), 3))
			untilMidnight := 24*time.Hour - time.Duration(time.Now().UnixNano())%(24*time.Hour)
			if d.Remaining != 2 || d.RetryAfter > untilMidnight+time.Minute || d.RetryAfter < untilMidnight-time.Minute {
				t.Errorf("%+v, want a quota that begins anew in %v", d, untilMidnight)
			}
			left(0, take("q", dailyQuota(5), 2))
			refused(take("q", dailyQuota(5), 1))

			one, two := []Take{take("c", atOnce(2), 1)}, []Take{take("c", atOnce(2), 1)}
			left(1, one...)
			left(0, two...)
			// The store writes a place into what it is given: each call has its own.
			refused(take("c", atOnce(2), 1))
			if d, err := store.Take(t.Context(), nil, one[:0]); err != nil || len(d) != 0 {
				t.Errorf("nothing to take: %v, %v", d, err)
			}

			all := func() []Take {
				return []Take{take("r2", hourly, 1), take("q2", dailyQuota(1), 1), take("c2", atOnce(1), 1), take("q", dailyQuota(5), 1)}
			}
			refused(all()...)
			left(0, all()[:3]...)

			dry := take("dry", hourly, 1)
			dry.DryRun = true
			left(4, take("beside", dailyQuota(5), 1), dry)
			left(3, take("beside", dailyQuota(5), 1), dry)
			if d := call(take("beside", dailyQuota(5), 1), dry); d[1].Allowed {
				t.Error("a dry run is never over its limit")
			}
		})
	}
}

func TestEveryStoreTakesBackWhatWasNotUsed(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			for kind, limit := range map[string]Limit{"rate": hourly, "quota": dailyQuota(1), "concurrency": atOnce(1)} {
				if name == "distributed" && kind != "concurrency" {
					continue // it is charged last, and gives only places back
				}
				used := []Take{{Key: []byte(name + kind), Slot: "s", Limit: limit, Cost: 1}}
				if d, err := store.Take(t.Context(), nil, used); err != nil || !d[0].Allowed {
					t.Fatalf("%s: %v, %v", kind, d, err)
				}
				if d, err := store.Take(t.Context(), nil, []Take{{Key: used[0].Key, Slot: "s", Limit: limit, Cost: 1}}); err != nil || d[0].Allowed {
					t.Fatalf("%s: there is room for a second: %v, %v", kind, d, err)
				}
				store.Return(used)
				eventually(t, kind+" is given back", func() bool {
					d, err := store.Take(t.Context(), nil, []Take{{Key: used[0].Key, Slot: "s", Limit: limit, Cost: 1}})
					return err == nil && d[0].Allowed
				})
			}
		})
	}
}

// patience is how long a test waits for what is to come, and for Redis: a loaded machine must not look like one that is gone.
const patience = time.Minute

// eventually waits for a condition, for as long as a loaded machine may take.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

func TestAQuotaBeginsAnewAtMidnightOfItsZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		period           Period
		zone             *time.Location
		at, start, until string
	}{
		{Day, time.UTC, "2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"},
		{Day, berlin, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, // of 23 hours
		{Day, berlin, "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // of 25
		{Week, time.UTC, "2026-11-22T23:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{Week, berlin, "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"},
		{Month, berlin, "2026-12-31T23:30:00Z", "2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z"},
		{Month, time.UTC, "2026-12-31T23:30:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		w := NewCalendar(c.period, c.zone).at(time.Duration(at.UnixNano()))
		text := func(d time.Duration) string { return time.Unix(0, int64(d)).UTC().Format(time.RFC3339) }
		if text(w.start) != c.start || text(w.end) != c.until || w.next <= w.end {
			t.Errorf("%v at %s: %s to %s, then to %s", c.period, c.at, text(w.start), text(w.end), text(w.next))
		}
	}
	at, _ := time.Parse(time.RFC3339, "2026-03-28T22:59:59Z")
	now := time.Duration(at.UnixNano())
	m := newMemory(func() time.Duration { return now })
	take := []Take{{Key: []byte("k"), Limit: Limit{Kind: Quota, Burst: 1, Calendar: NewCalendar(Day, berlin)}, Cost: 1}}
	for _, want := range []bool{true, false} {
		if d, _ := m.Take(t.Context(), nil, take); d[0].Allowed != want {
			t.Errorf("before midnight: %+v", d)
		}
	}
	now += time.Second
	if d, _ := m.Take(t.Context(), nil, take); !d[0].Allowed || d[0].Reset != 23*time.Hour {
		t.Errorf("after midnight: %+v", d)
	}
}

func TestAQuotaInRedisOutlivesTheNodeAndEnds(t *testing.T) {
	client, _ := startRedis(t)
	take := func(r *Redis) Decision {
		t.Helper()
		d, err := r.Take(t.Context(), nil, []Take{{Key: []byte("k"), Limit: dailyQuota(2), Cost: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	first := startNode(t, client)
	take(first)
	first.Close()
	second := startNode(t, client)
	if d := take(second); !d.Allowed || d.Remaining != 0 {
		t.Errorf("a new node: %+v", d)
	}
	if d := take(second); d.Allowed {
		t.Errorf("over the quota: %+v", d)
	}
	// As if it were from yesterday.
	key := second.key(&Take{Key: []byte("k")})
	if err := client.Set(t.Context(), key, fmt.Sprintf("2:%d", time.Now().Add(-time.Second).UnixMicro()), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if d := take(second); !d.Allowed || d.Remaining != 1 {
		t.Errorf("a new day: %+v", d)
	}
	if client.PTTL(t.Context(), key).Val() <= 0 {
		t.Error("the key stays for ever")
	}
}

func TestPlacesOfADeadNodeAreFreeOnceTheirLeaseIsOver(t *testing.T) {
	client, _ := startRedis(t)
	dead, alive := NewRedis(client, "cg:", patience), startNode(t, client)
	dead.places.lease, alive.places.lease = 300*time.Millisecond, 300*time.Millisecond
	place := func(r *Redis) bool {
		t.Helper()
		d, err := r.Take(t.Context(), nil, []Take{{Key: []byte("k"), Limit: atOnce(2), Cost: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return d[0].Allowed
	}
	if !place(dead) || !place(alive) || place(alive) {
		t.Fatal("two of three have a place")
	}
	dead.Close() // without giving back
	eventually(t, "the place of the dead node is free", func() bool { return place(alive) })
	// Those of a node that is alive are renewed; but where the machine makes it pause they end, and are taken again.
	eventually(t, "its places are kept for longer than a lease", func() bool {
		time.Sleep(600 * time.Millisecond)
		return !place(alive)
	})
}

func TestAFloodOfNewKeysDoesNotFreeALimitedOne(t *testing.T) {
	m := NewMemory()
	m.bound = 256
	limit := Limit{Events: 10, Per: time.Hour, Burst: 10}
	victim := []Take{{Key: []byte("attacker"), Limit: limit, Cost: 10}}
	if d, _ := m.Take(t.Context(), nil, victim); !d[0].Allowed {
		t.Fatal("no room")
	}
	victim[0].Cost = 1
	dst := make([]Decision, 0, 1)
	for i := range 20 * shards * m.bound {
		dst, _ = m.Take(context.Background(), dst[:0], []Take{{Key: fmt.Appendf(nil, "k%d", i), Limit: limit, Cost: 1}})
	}
	if d, _ := m.Take(t.Context(), nil, victim); d[0].Allowed {
		t.Error("it may come again")
	}
}
