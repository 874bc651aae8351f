package wsbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// outage is a Redis that fails and comes back.
type outage struct {
	client redis.UniversalClient
	fail   func()
	heal   func(t *testing.T, nodes []*gateway)
}

var outages = map[string]func(t *testing.T) outage{
	// With appendfsync always Redis keeps what it has answered.
	"killed and restarted": func(t *testing.T) outage {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--dir", t.TempDir())
		return outage{server.Client(), server.Kill, func(t *testing.T, nodes []*gateway) {
			for _, n := range nodes {
				redistest.Eventually(t, "the node notices", func() bool { return !n.BusUp() })
			}
			server.Restart()
		}}
	},
	"paused for ten seconds": func(t *testing.T) outage {
		server := redistest.Start(t)
		return outage{server.Client(), server.Hang, func(t *testing.T, nodes []*gateway) {
			began := time.Now()
			redistest.Eventually(t, "ten seconds are over", func() bool { return time.Since(began) > 10*time.Second })
			for _, n := range nodes {
				if n.BusUp() {
					t.Error("a node has not noticed that Redis hangs")
				}
			}
			server.Continue()
		}}
	},
	// The replica has what was answered before the master died: Redis replicates without waiting.
	"failed over": func(t *testing.T) outage {
		master, replica := redistest.Start(t), redistest.Start(t)
		replica.Follow(master)
		sentinel := redistest.StartSentinel(t, "main", master)
		sentinel.WaitForReplica("main")
		client := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "main", SentinelAddrs: []string{sentinel.Address}, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		return outage{client, func() {
			master.Replicated()
			master.Kill()
		}, func(*testing.T, []*gateway) {}}
	},
	// The one that has the queue; TestAMasterThatDiesLosesNoMessageOfAChannel is about channels.
	"a master of a cluster died": func(t *testing.T) outage {
		cluster := redistest.StartCluster(t)
		return outage{cluster.Client(), func() {
			queue := cluster.MasterOf(keys.Queue("chat"))
			cluster.Replicated()
			cluster.Masters[queue].Kill()
		}, func(*testing.T, []*gateway) {}}
	},
}

// TestNothingIsLostInAnOutage publishes to a channel with history and sends to a queue before, during and after an outage,
// as the contract says: who is not answered tries again, under the same id. Every subscriber gets every message once and in
// order on the connection that it has had all along, and the service gets every message, queued once.
func TestNothingIsLostInAnOutage(t *testing.T) {
	for name, start := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := start(t)
			section := keeping + ", delivery: at_least_once"
			nodes := []*gateway{startNode(t, o.client, section), startNode(t, o.client, section)}
			handled := handle(t, o.client)
			var subscribers []*subscriber
			for i := range 4 {
				subscribers = append(subscribers, subscribeTo(t, nodes[i%2]))
			}
			traffic := startTraffic(t, o.client, nodes[0].as(t, "ann"))
			redistest.Eventually(t, "there is traffic", func() bool { return traffic.published.Load() > 50 && traffic.queued.Load() > 20 })

			traffic.hold.Lock() // nothing is under way when the master dies; elsewhere it makes no difference
			o.fail()
			traffic.hold.Unlock()
			failed := time.Now()
			o.heal(t, nodes)
			healed := time.Now()
			published, queued := traffic.published.Load(), traffic.queued.Load()
			redistest.Eventually(t, "the traffic goes on", func() bool {
				return traffic.published.Load() > published+50 && traffic.queued.Load() > queued+20
			})
			resumed := time.Now()
			traffic.stop()

			last, back := int(traffic.published.Load()), time.Time{}
			for i, s := range subscribers {
				redistest.Eventually(t, fmt.Sprintf("subscriber %d has all %d messages; it has %s", i, last, s), func() bool { return s.next.Load() >= int64(last) })
				if first := s.firstAfter(healed); first.After(back) {
					back = first
				}
				s.close(t)
			}
			sent := int(traffic.queued.Load())
			redistest.Eventually(t, "the service has all that was queued", func() bool { return handled.count() >= sent })
			handled.check(t, sent)
			t.Logf("down for %v; every subscriber had messages again %v after that, and both kinds of traffic went on within %v; "+
				"of %d published and %d queued messages none was lost, and none came out of order or was queued twice",
				healed.Sub(failed).Round(time.Millisecond), back.Sub(healed).Round(time.Millisecond), resumed.Sub(healed).Round(time.Millisecond), last, sent)
		})
	}
}

// traffic is one who publishes numbers to room:1, and one who sends numbers to the service.
type traffic struct {
	published, queued atomic.Int64
	hold              sync.RWMutex // keeps both between two messages
	stop              func()
}

func startTraffic(t *testing.T, client redis.UniversalClient, c *client) *traffic {
	t.Helper()
	f := new(traffic)
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	f.stop = sync.OnceFunc(func() { cancel(); both.Wait() })
	t.Cleanup(f.stop)
	sender := service.New(client, "chat", service.WithHistory("room:*", 1000, 5*time.Minute))
	repeat := func(count *atomic.Int64, once func(i int64) bool) func() {
		return func() {
			for ctx.Err() == nil {
				f.hold.RLock()
				for i := count.Load(); !once(i); { // what was begun is brought to its end
					time.Sleep(20 * time.Millisecond)
					if ctx.Err() != nil && t.Failed() {
						break
					}
				}
				count.Add(1)
				f.hold.RUnlock()
				time.Sleep(5 * time.Millisecond) // a pace, so that history holds what an outage takes
			}
		}
	}
	both.Go(repeat(&f.published, func(i int64) bool {
		return sender.SendChannelOnce(context.WithoutCancel(ctx), strconv.FormatInt(i, 10), "room:1", i) == nil
	}))
	both.Go(repeat(&f.queued, func(i int64) bool {
		c.send(fmt.Sprintf(`{"id":%d,"type":"message","route":"r","client":"sender","data":%[1]d}`, i))
		for {
			_, frame, err := c.next()
			if err != nil {
				t.Error(err)
				return true
			}
			var m struct {
				ID   *int64
				Type string
			}
			if json.Unmarshal([]byte(frame), &m) == nil && m.ID != nil && *m.ID == i {
				return m.Type == "ok"
			}
		}
	}))
	return f
}

// subscriber reads room:1, in which there are numbers.
type subscriber struct {
	*client
	next atomic.Int64
	done chan struct{}

	mu    sync.Mutex
	times []time.Time // when which message came
	wrong string
}

func subscribeTo(t *testing.T, g *gateway) *subscriber {
	t.Helper()
	c := g.dial(t, nil)
	s := &subscriber{client: c, done: make(chan struct{})}
	from := c.follow(bus.Position{}, "")
	if from.Offset != 0 {
		t.Fatalf("the channel is at %v, before there is traffic", from)
	}
	go func() {
		defer close(s.done)
		for {
			_, frame, err := c.Read(context.Background())
			if err != nil {
				return
			}
			s.got(string(frame))
		}
	}()
	return s
}

func (s *subscriber) got(frame string) {
	var m struct {
		Type string
		Data int64
	}
	if err := json.Unmarshal([]byte(frame), &m); err != nil || m.Type == "bus" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if (m.Type != "message" || m.Data != s.next.Load()) && s.wrong == "" {
		s.wrong = fmt.Sprintf("%s comes, want message %d", frame, s.next.Load())
	}
	s.times = append(s.times, time.Now())
	s.next.Add(1)
}

func (s *subscriber) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d %s", s.next.Load(), s.wrong)
}

func (s *subscriber) firstAfter(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.times {
		if t.After(at) {
			return t
		}
	}
	return at
}

// close ends the subscriber, which is to have had each message once and in order.
func (s *subscriber) close(t *testing.T) {
	t.Helper()
	_ = s.CloseNow()
	<-s.done
	if s.wrong != "" {
		t.Error(s.wrong)
	}
}

// handled is what a service has got by its queue: the envelopes of each number.
type handled struct {
	mu sync.Mutex
	by map[string]map[string]bool
}

// handle runs a service on the queue.
func handle(t *testing.T, client redis.UniversalClient) *handled {
	t.Helper()
	h := &handled{by: map[string]map[string]bool{}}
	s := service.New(client, "chat", service.WithQueue(), service.WithClaimAfter(time.Second), service.WithLogger(slog.New(slog.DiscardHandler)))
	s.Handle("r", func(_ context.Context, m *service.Message) (any, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		number := string(m.Data)
		if h.by[number] == nil {
			h.by[number] = map[string]bool{}
		}
		h.by[number][m.ID] = true
		return nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

func (h *handled) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.by)
}

// check wants the numbers up to n, each of one envelope.
func (h *handled) check(t *testing.T, n int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		if envelopes := h.by[strconv.Itoa(i)]; len(envelopes) != 1 {
			t.Errorf("message %d was queued %d times", i, len(envelopes))
		}
	}
}
