package wsbridge_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// queueLength is how many entries the queue has, of which the connects are the first.
func queueLength(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	return client.XLen(t.Context(), "cg:queue:chat").Val()
}

func TestAMessageThatIsSentAgainIsQueuedOnce(t *testing.T) {
	rdb := redistest.Start(t).Client()
	one, two := startNode(t, rdb, "delivery: at_least_once"), startNode(t, rdb, "delivery: at_least_once")
	first, other, bob := one.as(t, "ann"), two.as(t, "ann"), two.as(t, "bob")
	for _, c := range []*client{first, other, bob} {
		c.roundTrip()
	}
	connects := queueLength(t, rdb)
	const frame = `{"id":"m-1","type":"message","route":"r","client":"phone","data":1}`
	for _, c := range []struct {
		name   string
		who    *client
		frame  string
		answer string
		queued int64
	}{
		{"the first time", first, frame, `{"id":"m-1","type":"ok"}`, 1},
		{"again, as after an answer that was late", first, frame, `{"id":"m-1","type":"ok","duplicate":true}`, 1},
		{"after a reconnect, to another node", other, frame, `{"id":"m-1","type":"ok","duplicate":true}`, 1},
		{"another user's", bob, frame, `{"id":"m-1","type":"ok"}`, 2},
		{"another client's of the user", other, strings.Replace(frame, "phone", "desk", 1), `{"id":"m-1","type":"ok"}`, 3},
		{"another message", first, strings.Replace(frame, "m-1", "m-2", 1), `{"id":"m-2","type":"ok"}`, 4},
		{"of a client that does not say which it is", first, `{"id":"m-1","type":"message","route":"r"}`, `{"id":"m-1","type":"ok"}`, 5},
		{"of it again", first, `{"id":"m-1","type":"message","route":"r"}`, `{"id":"m-1","type":"ok"}`, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.who.send(c.frame)
			c.who.want(c.answer)
			if n := queueLength(t, rdb) - connects; n != c.queued {
				t.Errorf("%d messages are queued, want %d", n, c.queued)
			}
		})
	}
	first.send(`{"type":"message","route":"r","client":"phone"}`)
	first.wantError("", "invalid_argument")
	first.send(`{"id":1,"type":"message","route":"r","client":"` + strings.Repeat("x", 65) + `"}`)
	first.wantError("1", "invalid_argument")
}

func TestAFullQueueRefusesAndForgetsNothing(t *testing.T) {
	rdb := redistest.Start(t).Client()
	log := new(lockedLog)
	g := startNodeWith(t, rdb, "delivery: at_least_once, queue: {max_length: 4}", slog.New(slog.NewTextHandler(log, nil)), httptest.NewServer)
	if err := rdb.XGroupCreateMkStream(t.Context(), "cg:queue:chat", "chat", "0").Err(); err != nil {
		t.Fatal(err)
	}
	c := g.dial(t, nil) // the connect is the first entry
	c.roundTrip()
	for _, id := range []string{"1", "2", "3"} {
		c.send(`{"id":` + id + `,"type":"message","route":"r"}`)
		c.want(`{"id":` + id + `,"type":"ok"}`)
	}
	for range 20 {
		c.send(`{"id":4,"type":"message","route":"r","client":"c"}`)
		c.want(`{"id":4,"type":"error","code":"resource_exhausted","message":"the service's queue is full; send it again later"}`)
	}
	if n := g.of("limited queue_length"); n != 20 {
		t.Errorf("%d refusals are counted, want 20", n)
	}
	if n := strings.Count(log.String(), "queue is full"); n != 1 || !strings.Contains(log.String(), "group=chat") {
		t.Errorf("twenty refusals are logged %d times: %s", n, log)
	}
	// What is read and not acknowledged still counts.
	read, err := rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "chat", Consumer: "c", Streams: []string{"cg:queue:chat", ">"}}).Result()
	if err != nil || len(read[0].Messages) != 4 {
		t.Fatalf("the service reads %v, %v, want all four", read, err)
	}
	c.send(`{"id":4,"type":"message","route":"r","client":"c"}`)
	c.wantError("4", "resource_exhausted")
	rdb.XAck(t.Context(), "cg:queue:chat", "chat", read[0].Messages[0].ID)
	c.send(`{"id":4,"type":"message","route":"r","client":"c"}`)
	c.want(`{"id":4,"type":"ok"}`) // what was refused is no duplicate
	if n := queueLength(t, rdb); n != 4 {
		t.Errorf("the queue has %d entries, want 4", n)
	}
}

func TestClientsKnowThatNoServiceListens(t *testing.T) {
	const section = `, reply_timeout: 20s, channels: [{pattern: "room:*", subscribe: service}]`
	t.Run("at most once: from the start", func(t *testing.T) {
		g, _ := start(t, "delivery: at_most_once"+section)
		c := g.as(t, "ann")
		c.send(`{"id":1,"type":"message","route":"r"}`)
		c.wantError("1", "unavailable")
		c.send(`{"id":2,"type":"subscribe","channel":"room:1"}`)
		c.wantError("2", "unavailable")
	})
	t.Run("at least once: once its heartbeat has stopped", func(t *testing.T) {
		g, rdb := start(t, "delivery: at_least_once"+section)
		heartbeat := bus.Keys{Prefix: "cg:"}.Heartbeat("chat")
		rdb.Set(t.Context(), heartbeat, "1", bus.HeartbeatTTL-11*time.Second) // as it is eleven seconds later
		c := g.as(t, "ann")
		c.send(`{"id":1,"type":"message","route":"r"}`)
		c.want(`{"id":1,"type":"ok","unattended":true}`) // it waits for the service
		queued := queueLength(t, rdb)
		c.send(`{"id":2,"type":"subscribe","channel":"room:1"}`)
		c.want(`{"id":2,"type":"error","code":"unavailable","message":"no instance of the service is listening"}`)
		if n := queueLength(t, rdb); n != queued {
			t.Error("a question that nobody answers in time is queued")
		}
		serve(t, rdb, func(s *service.Service) {
			s.Handle("r", func(_ context.Context, m *service.Message) (any, error) { return "late", nil })
			s.Authorize(func(context.Context, *service.Message) error { return nil })
		}, service.WithQueue())
		c.want(`{"id":1,"type":"reply","data":"late"}`)
		redistest.Eventually(t, "its heart beats", func() bool { return rdb.PTTL(t.Context(), heartbeat).Val() > bus.HeartbeatTTL-10*time.Second })
		c.send(`{"id":3,"type":"message","route":"r"}`)
		c.want(`{"id":3,"type":"ok"}`)
		c.want(`{"id":3,"type":"reply","data":"late"}`)
		c.send(`{"id":4,"type":"subscribe","channel":"room:1"}`)
		c.want(`{"id":4,"type":"ok","channel":"room:1"}`)
	})
}

// TestAnOkThatIsLateStillComes has Redis hang for longer than a reply may take.
func TestAnOkThatIsLateStillComes(t *testing.T) {
	server := redistest.Start(t)
	g := startNode(t, server.Client(), "delivery: at_least_once, reply_timeout: 50ms")
	c := g.dial(t, nil)
	c.roundTrip()
	// A slow machine may take so long that Redis is taken for dead, but not each time.
	redistest.Eventually(t, "the ok comes", func() bool {
		redistest.Eventually(t, "the bus is up", g.BusUp)
		server.Hang()
		c.send(`{"id":1,"type":"message","route":"r"}`)
		time.Sleep(300 * time.Millisecond) // the reply's time is over
		server.Continue()
		for {
			_, frame, err := c.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case strings.HasPrefix(frame, `{"type":"bus"`):
			case strings.Contains(frame, `"code":"unavailable"`):
				return false
			case frame != `{"id":1,"type":"ok"}`:
				t.Fatalf("got %s", frame)
			default:
				return true
			}
		}
	})
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
