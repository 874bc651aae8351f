package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var hourly = Limit{Events: 1, Per: time.Hour, Burst: 1}

func TestACallWaitsForRedisNoLongerThanItsDeadline(t *testing.T) {
	client, server := startRedis(t)
	take := []Take{{Key: []byte("k"), Limit: hourly, Cost: 1}}
	// What go-redis waits for by itself is longer than the test lasts: only the store's own deadline ends a call in time.
	const never = time.Hour
	inTime := func(t *testing.T, s Store) {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			_, err := s.Take(t.Context(), nil, take)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Error("there is a decision")
			}
		case <-time.After(patience):
			t.Error("the call goes on")
		}
	}
	for name, options := range map[string]*redis.Options{
		"as go-redis is by default": {},
		"without retries":           {MaxRetries: -1},
		"with context timeouts":     {ContextTimeoutEnabled: true},
	} {
		options.Addr, options.ReadTimeout, options.WriteTimeout = client.Options().Addr, never, never
		t.Run("a server that is connected and stopped, the client "+name, func(t *testing.T) {
			c := redis.NewClient(options)
			t.Cleanup(func() { c.Close() })
			s := NewRedis(c, "cg:", 0)
			eventually(t, "it is connected", func() bool { _, err := s.Take(t.Context(), nil, take); return err == nil })
			server.Hang()
			defer server.Continue()
			inTime(t, s)
		})
	}
	t.Run("a server that takes no connection", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: "redis.example:6379", DialTimeout: 200 * time.Millisecond, Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		t.Cleanup(func() { c.Close() })
		inTime(t, NewRedis(c, "cg:", 0))
	})
}

func TestRedisStartsAgain(t *testing.T) {
	client, server := startRedis(t)
	store := NewDistributed(NewRedis(client, "cg:", patience), NewMemory())
	now := time.Now()
	store.now = func() time.Time { return now }
	allowed := func(key string) bool {
		t.Helper()
		d, err := store.Take(t.Context(), nil, []Take{{Key: []byte(key), Limit: hourly, Cost: 1}})
		if err != nil || len(d) != 1 {
			t.Fatalf("%v, %v", d, err)
		}
		return d[0].Allowed
	}
	counted := func() int64 { return client.DBSize(t.Context()).Val() }
	if !allowed("a") || counted() != 1 {
		t.Fatal("Redis does not count")
	}
	server.Kill()
	if !allowed("a") || allowed("a") {
		t.Error("this node does not count for itself while Redis is down")
	}
	server.Restart()
	if !allowed("b") || counted() != 0 {
		t.Error("Redis is asked before the pause is over")
	}
	now = now.Add(pause)
	// The new server does not know the script.
	if !allowed("c") || counted() != 1 {
		t.Error("Redis does not count again")
	}
	if !allowed("d") || counted() != 2 {
		t.Error("Redis does not go on counting")
	}
}

func TestOneCallAsksWhetherRedisIsBack(t *testing.T) {
	var calls atomic.Int32
	asked, answer := make(chan struct{}), make(chan error)
	now := time.Unix(1000, 0)
	store := NewDistributed(storeFunc(func() error {
		if calls.Add(1) == 1 {
			return errors.New("down")
		}
		asked <- struct{}{}
		return <-answer
	}), NewMemory())
	store.now = func() time.Time { return now }
	take := func() {
		if _, err := store.Take(context.Background(), nil, []Take{{Key: []byte("k"), Limit: hourly, Cost: 1}}); err != nil {
			t.Error(err)
		}
	}
	take()
	now = now.Add(pause)
	var probe sync.WaitGroup
	probe.Go(take)
	<-asked
	for range 20 {
		take()
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("Redis was asked %d times, want 2", n)
	}
	answer <- nil
	probe.Wait()
	probe.Go(take)
	<-asked
	answer <- nil
	probe.Wait()
}

func TestACallerWithoutTimeSaysNothingAboutRedis(t *testing.T) {
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for name, ctx := range map[string]context.Context{"its deadline is over": expired, "it went away": gone} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			store := NewDistributed(storeFunc(func() error { calls++; return ctx.Err() }), NewMemory())
			takes := []Take{{Key: []byte("k"), Limit: hourly, Cost: 1, OnFailure: LetPass}}
			for want := 1; want <= 3; want++ {
				if _, err := store.Take(ctx, nil, takes); err == nil {
					t.Error("it is let pass uncounted")
				}
				if calls != want {
					t.Errorf("Redis was asked %d times, want %d", calls, want)
				}
			}
		})
	}
}

func TestNoMoreThanTheBurstGetsThroughAtOnce(t *testing.T) {
	client, _ := startRedis(t)
	for name, nodes := range map[string][]Store{
		"memory": {NewMemory()},
		"redis":  {NewRedis(client, "cg:", patience), NewRedis(client, "cg:", patience)},
	} {
		t.Run(name, func(t *testing.T) {
			limit := Limit{Events: 1, Per: time.Hour, Burst: 50}
			var passed atomic.Int32
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					for range 20 {
						// Two limits, in either order: calls must not wait for each other for ever.
						takes := []Take{{Key: []byte("a"), Limit: limit, Cost: 1}, {Key: []byte("b"), Limit: limit, Cost: 1}}
						if i%2 == 1 {
							takes[0], takes[1] = takes[1], takes[0]
						}
						d, err := nodes[i%len(nodes)].Take(context.Background(), nil, takes)
						if err != nil {
							t.Error(err)
							return
						}
						if d[0].Allowed && d[1].Allowed {
							passed.Add(1)
						}
					}
				})
			}
			all.Wait()
			if n := passed.Load(); n != 50 {
				t.Errorf("%d of 160 got through, want 50", n)
			}
		})
	}
}

func TestRedisForgetsAKeyWhenItsBucketIsFullAgain(t *testing.T) {
	client, _ := startRedis(t)
	store := NewRedis(client, "cg:", patience)
	if _, err := store.Take(t.Context(), nil, []Take{
		{Key: []byte("minute"), Limit: Limit{Events: 1, Per: time.Minute, Burst: 2}, Cost: 1},
		{Key: []byte("hour"), Limit: Limit{Events: 1, Per: time.Hour, Burst: 2}, Cost: 2},
	}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]time.Duration{"minute": time.Minute, "hour": 2 * time.Hour} {
		if got := client.PTTL(t.Context(), store.key(&Take{Key: []byte(key)})).Val(); got > want || got < want-patience/2 {
			t.Errorf("%s lives for %v more, want %v", key, got, want)
		}
	}
}

func TestMemoryForgetsKeysWhoseBucketsAreFullAgain(t *testing.T) {
	var now time.Duration
	m := newMemory(func() time.Duration { return now })
	const n = 64 * 500
	add := func(prefix string) {
		for i := range n {
			m.Take(context.Background(), nil, []Take{{Key: fmt.Appendf(nil, "%s%d", prefix, i), Limit: hourly, Cost: 1}})
		}
	}
	add("old")
	now = 2 * time.Hour
	add("new")
	total := 0
	for i := range m.shards {
		total += len(m.shards[i].at)
	}
	if total > n*3/2 {
		t.Errorf("%d keys, of which %d are in use", total, n)
	}
	d, _ := m.Take(context.Background(), nil, []Take{{Key: []byte("new1"), Limit: hourly, Cost: 1}})
	if d[0].Allowed {
		t.Error("a bucket that was not full was dropped")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		l    Limit
		want string
	}{
		{"a limit in order", Limit{Events: 100, Per: time.Second, Burst: 200}, ""},
		{"the highest rate and burst", Limit{Events: 1<<31 - 1, Per: 3 * time.Second, Burst: 1<<31 - 1}, ""},
		{"a bucket that fills in less than 100 years", Limit{Events: 1, Per: 24 * time.Hour, Burst: 36500}, ""},
		{"a bucket that fills in more", Limit{Events: 1, Per: 24 * time.Hour, Burst: 36501}, "more than 100 years"},
		{"a burst whose time overflows", Limit{Events: 1, Per: 24 * time.Hour, Burst: 1<<31 - 1}, "more than 100 years"},
		{"no events", Limit{Per: time.Second, Burst: 1}, "at least 1"},
		{"no time", Limit{Events: 1, Burst: 1}, "at least 1"},
		{"no burst", Limit{Events: 1, Per: time.Second}, "at least 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.l.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			if d, _ := c.l.decide(1, bucket{}, 0); !d.Allowed || d.Remaining != c.l.Burst-1 {
				t.Errorf("the first of it: %+v", d)
			}
		})
	}
}
