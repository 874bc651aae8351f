package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leaks()...) }

// inbox is a handler that keeps what it gets.
type inbox struct {
	slow time.Duration

	mu      sync.Mutex
	got     []string
	states  []bool
	stood   map[string]int
	refused []string
}

func (i *inbox) Subscribed(channel string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stood == nil {
		i.stood = map[string]int{}
	}
	i.stood[channel]++
}

// count returns how many times a subscription has come to stand.
func (i *inbox) count(channel string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stood[channel]
}

func (i *inbox) Receive(channel string, payload []byte) {
	if i.slow > 0 {
		time.Sleep(i.slow)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, channel+"="+string(payload))
}

func (i *inbox) Denied(channel string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused = append(i.refused, channel)
}

func (i *inbox) State(up bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.states = append(i.states, up)
}

func (i *inbox) received() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.got...)
}

func (i *inbox) up() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.states) > 0 && i.states[len(i.states)-1]
}

// open starts a bus and waits until it is up.
func open(t *testing.T, client redis.UniversalClient) (*bus.Redis, *inbox) {
	t.Helper()
	box := new(inbox)
	b := bus.NewRedis(bus.One(client), box)
	t.Cleanup(b.Close)
	_ = b.Subscribe(t.Context(), "node") // a bus without a subscription is not up
	redistest.Eventually(t, "the bus is up", box.up)
	return b, box
}

func want(t *testing.T, box *inbox, messages ...string) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprint(messages, " come"), func() bool { return len(box.received()) >= len(messages) })
	if got := box.received(); fmt.Sprint(got) != fmt.Sprint(messages) {
		t.Fatalf("got %q, want %q", got, messages)
	}
}

// TestBus runs against a real redis-server, a cluster of them, and the embedded one, which must not differ.
func TestBus(t *testing.T) {
	cluster := redistest.StartCluster(t)
	servers := map[string]func(*testing.T) redis.UniversalClient{
		"redis-server": func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client() },
		"miniredis": func(t *testing.T) redis.UniversalClient {
			client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			t.Cleanup(func() { client.Close() })
			return client
		},
		"cluster": func(t *testing.T) redis.UniversalClient {
			client := cluster.Client()
			t.Cleanup(func() { client.Del(context.Background(), "q") })
			return client
		},
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Run("what is published arrives, in its order", func(t *testing.T) {
				client := start(t)
				b, box := open(t, client)
				if err := b.Subscribe(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					if n, err := b.Publish(t.Context(), "a", []byte(strconv.Itoa(i))); n != 1 || err != nil {
						t.Fatalf("%d subscribers, %v", n, err)
					}
				}
				want(t, box, "a=0", "a=1", "a=2")
				if n, err := b.Publish(t.Context(), "b", nil); n != 0 || err != nil {
					t.Fatalf("a channel nobody subscribes to has %d subscribers, %v", n, err)
				}
			})
			t.Run("a subscription lasts until its last user has gone", func(t *testing.T) {
				b, box := open(t, start(t))
				for range 2 {
					if err := b.Subscribe(t.Context(), "a"); err != nil {
						t.Fatal(err)
					}
				}
				if n, _ := b.Publish(t.Context(), "a", []byte("1")); n != 1 {
					t.Fatalf("the node is subscribed %d times, want once", n)
				}
				b.Unsubscribe("a")
				if n, _ := b.Publish(t.Context(), "a", []byte("2")); n != 1 {
					t.Fatalf("%d subscriptions while one user is left", n)
				}
				b.Unsubscribe("a")
				want(t, box, "a=1", "a=2")
				redistest.Eventually(t, "the subscription ends", func() bool {
					n, err := b.Publish(t.Context(), "a", nil)
					return n == 0 && err == nil
				})
			})
			t.Run("a channel can be left and joined over and over", func(t *testing.T) {
				b, box := open(t, start(t))
				for i := range 50 {
					if err := b.Subscribe(t.Context(), "a"); err != nil {
						t.Fatal(err)
					}
					if n, _ := b.Publish(t.Context(), "a", []byte(strconv.Itoa(i))); n != 1 {
						t.Fatalf("round %d has %d subscriptions", i, n)
					}
					b.Unsubscribe("a")
				}
				redistest.Eventually(t, "all come", func() bool { return len(box.received()) == 50 })
			})
			t.Run("many channels are subscribed to at once", func(t *testing.T) {
				b, box := open(t, start(t))
				var all sync.WaitGroup
				for i := range 1500 {
					all.Go(func() {
						if err := b.Subscribe(t.Context(), "c"+strconv.Itoa(i)); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				for i := range 1500 {
					if n, err := b.Publish(t.Context(), "c"+strconv.Itoa(i), nil); n != 1 {
						t.Fatalf("channel %d has %d subscriptions, %v", i, n, err)
					}
				}
				redistest.Eventually(t, "all come", func() bool { return len(box.received()) == 1500 })
			})
		})
	}
}

func TestASlowHandlerLosesNothing(t *testing.T) {
	client := redistest.Start(t).Client()
	box := &inbox{slow: 20 * time.Microsecond}
	b := bus.NewRedis(bus.One(client), box)
	t.Cleanup(b.Close)
	_ = b.Subscribe(t.Context(), "a")
	redistest.Eventually(t, "the bus is up", box.up)
	const count = 5000
	pipe := client.Pipeline()
	for i := range count {
		pipe.Publish(t.Context(), "a", i)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "all come", func() bool { return len(box.received()) == count })
	for i, m := range box.received() {
		if m != "a="+strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, m)
		}
	}
}

func TestSubscriptionsComeBackWithRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	b, box := open(t, client)
	for i := range 1200 { // more than one SUBSCRIBE holds
		if err := b.Subscribe(t.Context(), "c"+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		server.Kill()
		redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
		if err := b.Subscribe(t.Context(), "late"); !errors.Is(err, bus.ErrDown) {
			t.Fatalf("a subscription while Redis is gone ends in %v", err)
		}
		if _, err := b.Publish(t.Context(), "c1", nil); !errors.Is(err, bus.ErrDown) {
			t.Fatalf("a publish while Redis is gone ends in %v", err)
		}
		if _, err := b.Enqueue(t.Context(), keys, "chat", &bus.Entry{}, bus.Queue{MaxLength: 1}); !errors.Is(err, bus.ErrDown) {
			t.Fatalf("an enqueue while Redis is gone ends in %v", err)
		}
		server.Restart()
		redistest.Eventually(t, "the bus is up again", box.up)
		before := len(box.received())
		for _, channel := range []string{"c0", "c1199", "late"} {
			if n, err := b.Publish(t.Context(), channel, []byte("back")); n != 1 || err != nil {
				t.Fatalf("round %d: %s has %d subscriptions, %v", round, channel, n, err)
			}
		}
		redistest.Eventually(t, "all come", func() bool { return len(box.received()) == before+3 })
	}
}

func TestWhatIsLeftWhileRedisIsGoneStaysLeft(t *testing.T) {
	server := redistest.Start(t)
	b, box := open(t, server.Client())
	if err := b.Subscribe(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
	b.Unsubscribe("a")
	server.Restart()
	redistest.Eventually(t, "the bus is up again", box.up)
	if n, err := b.Publish(t.Context(), "a", nil); n != 0 || err != nil {
		t.Errorf("%d subscriptions are back that nobody wants, %v", n, err)
	}
}

func TestARedisThatHangsIsTakenForDead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b, box := open(t, server.Client())
	server.Hang()
	defer server.Continue()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	if _, err := b.Publish(ctx, "node", nil); !errors.Is(err, bus.ErrDown) {
		t.Errorf("a publish to a Redis that hangs ends in %v", err)
	}
	redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v to notice", took)
	}
	server.Continue()
	redistest.Eventually(t, "the bus is up again", box.up)
}

func TestABusWithoutRedisClosesAtOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	b := bus.NewRedis(bus.One(client), new(inbox))
	if err := b.Subscribe(t.Context(), "a"); !errors.Is(err, bus.ErrDown) {
		t.Errorf("a subscription without Redis ends in %v", err)
	}
	began := time.Now()
	b.Close()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
}
