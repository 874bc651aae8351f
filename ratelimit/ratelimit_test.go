package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// startRedis starts a real redis-server and returns a client of it.
func startRedis(t testing.TB) (*redis.Client, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	return server.Client(), server
}

// TestStores runs the same specification over every store.
func TestStores(t *testing.T) {
	client, _ := startRedis(t)
	for name, store := range map[string]Store{
		"memory":      NewMemory(),
		"redis":       NewRedis(client, "cg:", patience),
		"distributed": NewDistributed(NewRedis(client, "cg:d:", patience), NewMemory()),
	} {
		t.Run(name, func(t *testing.T) {
			hour := Limit{Events: 1, Per: time.Hour, Burst: 3}
			take := func(key string, l Limit, cost int) Take { return Take{Key: []byte(key), Limit: l, Cost: cost} }
			call := func(takes ...Take) []Decision {
				t.Helper()
				d, err := store.Take(context.Background(), nil, takes)
				if err != nil || len(d) != len(takes) {
					t.Fatalf("%v, %v", d, err)
				}
				return d
			}
			for i := range 3 {
				if d := call(take("a", hour, 1))[0]; !d.Allowed || d.Remaining != 2-i || d.Limit != 3 || d.RetryAfter != 0 {
					t.Errorf("take %d: %+v", i, d)
				}
			}
			d := call(take("a", hour, 1))[0]
			if d.Allowed || d.Remaining != 0 || d.RetryAfter < 59*time.Minute || d.RetryAfter > time.Hour || d.Reset < 2*time.Hour {
				t.Errorf("the fourth: %+v", d)
			}
			if d := call(take("b", hour, 1))[0]; !d.Allowed {
				t.Error("another key shares the bucket")
			}
			if d := call(take("c", hour, 4))[0]; d.Allowed {
				t.Error("a cost above the burst fits")
			}
			if d := call(take("c", hour, 3))[0]; !d.Allowed || d.Remaining != 0 {
				t.Errorf("a cost of the whole burst: %+v", d)
			}
			both := call(take("fresh", hour, 1), take("a", hour, 1))
			if !both[0].Allowed || both[1].Allowed {
				t.Errorf("one refused of two: %+v", both)
			}
			if d := call(take("fresh", hour, 3))[0]; !d.Allowed {
				t.Error("a limit was charged although another refused")
			}
			// The bucket is emptied first, and must then be refused; which it is only by who asks again before it is full.
			fast := Limit{Events: 4, Per: time.Second, Burst: 1}
			eventually(t, "the bucket is empty", func() bool { return !call(take("fast", fast, 1))[0].Allowed })
			eventually(t, "the bucket is full again", func() bool { return call(take("fast", fast, 1))[0].Allowed })
		})
	}
}

func TestMemoryFollowsTheClock(t *testing.T) {
	var now time.Duration
	m := newMemory(func() time.Duration { return now })
	l := Limit{Events: 10, Per: time.Second, Burst: 2}
	allowed := func() bool {
		d, _ := m.Take(context.Background(), nil, []Take{{Key: []byte("k"), Limit: l, Cost: 1}})
		return d[0].Allowed
	}
	for _, step := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {0, true}, {0, false}, {99 * time.Millisecond, false}, {100 * time.Millisecond, true}, {100 * time.Millisecond, false},
		{time.Second, true}, {time.Second, true}, {time.Second, false}} {
		now = step.at
		if got := allowed(); got != step.want {
			t.Errorf("at %v: %v, want %v", step.at, got, step.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory()
	m.bound = 256
	l := Limit{Events: 1, Per: time.Hour, Burst: 1}
	for i := range 2 * shards * m.bound {
		m.Take(context.Background(), nil, []Take{{Key: fmt.Appendf(nil, "k%d", i), Limit: l, Cost: 1}})
	}
	for i := range m.shards {
		if n := len(m.shards[i].at); n > m.bound {
			t.Fatalf("shard %d has %d keys", i, n)
		}
	}
}

func TestAKnownKeyAllocatesNothing(t *testing.T) {
	m := NewMemory()
	takes := []Take{{Key: []byte("a"), Limit: Limit{Events: 1, Per: time.Second, Burst: 1}, Cost: 1}, {Key: []byte("b"), Limit: Limit{Events: 1, Per: time.Second, Burst: 1}, Cost: 1}}
	dst := make([]Decision, 0, 2)
	if n := testing.AllocsPerRun(100, func() { dst, _ = m.Take(context.Background(), dst[:0], takes) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRedisGone(t *testing.T) {
	client, server := startRedis(t)
	server.Kill()
	store := NewDistributed(NewRedis(client, "cg:", 0), NewMemory())
	l := Limit{Events: 1, Per: time.Hour, Burst: 1}
	call := func(f Failure) ([]Decision, error) {
		return store.Take(context.Background(), nil, []Take{{Key: []byte("k"), Limit: l, Cost: 1, OnFailure: f}})
	}
	for i, want := range []bool{true, false} {
		if d, err := call(CountLocally); err != nil || d[0].Allowed != want {
			t.Errorf("local take %d: %v, %v", i, d, err)
		}
	}
	if d, err := call(LetPass); err != nil || len(d) != 1 || !d[0].Allowed || !d[0].Uncounted {
		t.Errorf("let pass: %v, %v", d, err)
	}
	if _, err := call(Refuse); !errors.Is(err, ErrUnavailable) {
		t.Errorf("refuse: %v", err)
	}
}

func TestRedisIsLeftAloneForASecondAfterAFailure(t *testing.T) {
	calls := 0
	now := time.Unix(1000, 0)
	store := NewDistributed(storeFunc(func() error { calls++; return errors.New("down") }), NewMemory())
	store.now = func() time.Time { return now }
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {500 * time.Millisecond, 1}, {499 * time.Millisecond, 1}, {time.Millisecond, 2}} {
		now = now.Add(step.after)
		store.Take(context.Background(), nil, []Take{{Key: []byte("k"), Limit: Limit{Events: 1, Per: time.Second, Burst: 1}, Cost: 1}})
		if calls != step.want {
			t.Errorf("%d calls, want %d", calls, step.want)
		}
	}
}

type storeFunc func() error

func (f storeFunc) Take(_ context.Context, dst []Decision, _ []Take) ([]Decision, error) {
	return dst, f()
}

func (storeFunc) Return([]Take) {}

func TestTheScriptIsSentAgainAfterARestart(t *testing.T) {
	client, _ := startRedis(t)
	store := NewRedis(client, "cg:", patience)
	take := []Take{{Key: []byte("k"), Limit: Limit{Events: 1, Per: time.Second, Burst: 1}, Cost: 1}}
	for range 2 {
		if _, err := store.Take(context.Background(), nil, take); err != nil {
			t.Fatal(err)
		}
		if err := client.ScriptFlush(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory()
	takes := []Take{{Key: []byte("route/0/10.0.0.1"), Limit: Limit{Events: 1 << 30, Per: time.Second, Burst: 1 << 30}, Cost: 1}}
	dst := make([]Decision, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = m.Take(context.Background(), dst[:0], takes)
	}
}
