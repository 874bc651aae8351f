package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leaks()...) }

// replyTo is the channel of a gateway node that is not there: the test publishes and reads in its place.
const replyTo = "cg:out:node:n"

// running is a service that runs.
type running struct {
	*service.Service
	stop context.CancelFunc
	done chan error
}

// run runs the service "chat" until the test ends, and returns when it listens.
func run(t *testing.T, client *redis.Client, set func(*service.Service), options ...service.Option) *running {
	t.Helper()
	options = append([]service.Option{service.WithLogger(slog.New(slog.DiscardHandler))}, options...)
	s := service.New(client, "chat", options...)
	set(s)
	ctx, stop := context.WithCancel(context.Background())
	r := &running{s, stop, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx); close(r.done) }()
	t.Cleanup(func() {
		stop()
		<-r.done
	})
	redistest.Eventually(t, "the service listens", func() bool { return listens(client) })
	return r
}

func listens(client *redis.Client) bool {
	groups, _ := client.XInfoGroups(context.Background(), "cg:queue:chat").Result()
	return len(groups) > 0 || client.PubSubNumSub(context.Background(), "cg:in:chat").Val()["cg:in:chat"] > 0
}

// envelope is what a gateway publishes.
func envelope(kind, id, route, data string) string {
	m := bus.Inbound{V: bus.Version, ID: id, Type: kind, Connection: "c", Route: route, Data: json.RawMessage(data), ReplyTo: replyTo, Time: time.Now()}
	return string(m.Append(nil))
}

func publish(t *testing.T, client *redis.Client, payload string) {
	t.Helper()
	if n, err := client.Publish(t.Context(), "cg:in:chat", payload).Result(); n != 1 || err != nil {
		t.Fatalf("published to %d replicas, %v", n, err)
	}
}

func enqueue(t *testing.T, client *redis.Client, payload string) {
	t.Helper()
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "cg:queue:chat", Values: []any{"m", payload}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// listen subscribes to channels as a gateway does.
func listen(t *testing.T, client *redis.Client, channels ...string) *redis.PubSub {
	t.Helper()
	pubsub := client.Subscribe(t.Context(), channels...)
	t.Cleanup(func() { pubsub.Close() })
	for range channels {
		if _, err := pubsub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return pubsub
}

// want reads the next payload, which must be exactly this.
func want(t *testing.T, from *redis.PubSub, channel, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	select {
	case m := <-from.Channel():
		if m.Channel != channel || m.Payload != payload {
			t.Fatalf("got  %s on %s\nwant %s on %s", m.Payload, m.Channel, payload, channel)
		}
	case <-ctx.Done():
		t.Fatalf("nothing comes, want %s", payload)
	}
}

// pending is how many messages were handed to a replica and not acknowledged.
func pending(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	p, err := client.XPending(t.Context(), "cg:queue:chat", "chat").Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}

func TestWhatAHandlerReturnsIsTheReply(t *testing.T) {
	client := redistest.Start(t).Client()
	var log bytes.Buffer
	run(t, client, func(s *service.Service) {
		s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
		s.Handle("refuse", func(context.Context, *service.Message) (any, error) {
			return nil, fmt.Errorf("looking: %w", &bus.ReplyError{Code: "no_room", Message: "there is no such room"})
		})
		s.Handle("fail", func(context.Context, *service.Message) (any, error) { return nil, errors.New("password is 1234") })
		s.Handle("unspeakable", func(context.Context, *service.Message) (any, error) { return make(chan int), nil })
	}, service.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), service.WithWorkers(1))
	node := listen(t, client, replyTo)
	for _, c := range []struct{ name, route, reply string }{
		{"a value is data", "echo", `"data":{"a":1}`},
		{"a reply error is the client's", "refuse", `"error":{"code":"no_room","message":"there is no such room"}`},
		{"another error keeps its text", "fail", `"error":{"code":"internal","message":"the service failed"}`},
		{"a value without a JSON form is an error", "unspeakable", `"error":{"code":"internal","message":"the service failed"}`},
		{"a route that nobody handles is an error", "other", `"error":{"code":"not_found","message":"the service has no such route"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			publish(t, client, envelope(bus.Message, "m-"+c.route, c.route, `{"a":1}`))
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"m-`+c.route+`",`+c.reply+`}`)
		})
	}
	if !bytes.Contains(log.Bytes(), []byte("password is 1234")) {
		t.Errorf("the log does not say why a handler failed: %s", &log)
	}
}

func TestANilReplyIsNone(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(s *service.Service) {
		s.Handle("quiet", func(context.Context, *service.Message) (any, error) { return nil, nil })
		s.Handle("*", func(_ context.Context, m *service.Message) (any, error) { return m.Route, nil })
	}, service.WithWorkers(1))
	node := listen(t, client, replyTo)
	publish(t, client, envelope(bus.Message, "1", "quiet", "1"))
	publish(t, client, envelope(bus.Message, "2", "whatever", "1"))
	publish(t, client, envelope(bus.Message, "3", "", "1")) // of a raw client
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"2","data":"whatever"}`)
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"3","data":""}`)
}

func TestConnectionsComeAndGo(t *testing.T) {
	client := redistest.Start(t).Client()
	seen := make(chan string, 2)
	run(t, client, func(s *service.Service) {
		s.OnConnect(func(_ context.Context, m *service.Message) { seen <- "connect " + m.Connection })
		s.OnDisconnect(func(_ context.Context, m *service.Message) { seen <- "disconnect " + m.Connection })
	}, service.WithWorkers(1))
	publish(t, client, envelope(bus.Connect, "1", "", ""))
	publish(t, client, envelope(bus.Disconnect, "2", "", ""))
	if first, second := <-seen, <-seen; first != "connect c" || second != "disconnect c" {
		t.Errorf("told of %s, %s", first, second)
	}
}

func TestWhatIsNoEnvelopeOfThisVersionIsSkipped(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(s *service.Service) {
		s.Handle("*", func(_ context.Context, m *service.Message) (any, error) { return m.ID, nil })
	}, service.WithWorkers(1))
	node := listen(t, client, replyTo)
	publish(t, client, "nonsense")
	publish(t, client, `{"v":2,"id":"1","type":"message","connection":"c","reply_to":"`+replyTo+`"}`)
	publish(t, client, `{"v":1,"id":"2","type":"news","connection":"c","reply_to":"`+replyTo+`"}`)
	publish(t, client, envelope(bus.Message, "3", "r", "1"))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"3","data":"3"}`)
}

func TestWhomAServiceSendsTo(t *testing.T) {
	client := redistest.Start(t).Client()
	s := service.New(client, "chat", service.WithPrefix("x:"))
	gateway := listen(t, client, "x:out:user:ann", "x:out:channel:room:1", "x:out:all", replyTo)
	for _, c := range []struct {
		name    string
		send    func() error
		channel string
		payload string
	}{
		{"a user", func() error { return s.SendUser(t.Context(), "ann", 1) }, "x:out:user:ann", "1"},
		{"a channel", func() error { return s.SendChannel(t.Context(), "room:1", []int{2}) }, "x:out:channel:room:1", "[2]"},
		{"everyone", func() error { return s.SendAll(t.Context(), "three") }, "x:out:all", `"three"`},
		{"one connection", func() error { return s.Send(t.Context(), &service.Message{Connection: "c", ReplyTo: replyTo}, 4) },
			replyTo, `{"connection":"c","data":4}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.send(); err != nil {
				t.Fatal(err)
			}
			want(t, gateway, c.channel, c.payload)
		})
	}
	t.Run("what has no JSON form is an error", func(t *testing.T) {
		if s.SendAll(t.Context(), make(chan int)) == nil {
			t.Error("it was sent")
		}
	})
}

func TestOneWorkerKeepsTheOrder(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(s *service.Service) {
		s.Handle("*", func(_ context.Context, m *service.Message) (any, error) { return m.ID, nil })
	}, service.WithWorkers(1))
	node := listen(t, client, replyTo)
	for i := range 50 {
		publish(t, client, envelope(bus.Message, strconv.Itoa(i), "r", "1"))
	}
	for i := range 50 {
		want(t, node, replyTo, fmt.Sprintf(`{"connection":"c","in_reply_to":"%d","data":"%d"}`, i, i))
	}
}

func TestAQueuedMessageIsAcknowledgedOnceItIsHandled(t *testing.T) {
	client := redistest.Start(t).Client()
	begun, finish := make(chan struct{}), make(chan struct{})
	run(t, client, func(s *service.Service) {
		s.Handle("r", func(context.Context, *service.Message) (any, error) {
			close(begun)
			<-finish
			return true, nil
		})
	}, service.WithQueue())
	node := listen(t, client, replyTo)
	enqueue(t, client, envelope(bus.Message, "1", "r", "1"))
	<-begun
	if n := pending(t, client); n != 1 {
		t.Errorf("%d messages are pending while one is being handled", n)
	}
	close(finish)
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"1","data":true}`)
	redistest.Eventually(t, "it is acknowledged", func() bool { return pending(t, client) == 0 })
}

func TestEachQueuedMessageGoesToOneReplica(t *testing.T) {
	client := redistest.Start(t).Client()
	var mu sync.Mutex
	handled := map[string]int{}
	for range 3 {
		run(t, client, func(s *service.Service) {
			s.Handle("r", func(_ context.Context, m *service.Message) (any, error) {
				mu.Lock()
				defer mu.Unlock()
				handled[m.ID]++
				return nil, nil
			})
		}, service.WithQueue())
	}
	for i := range 200 {
		enqueue(t, client, envelope(bus.Message, strconv.Itoa(i), "r", "1"))
	}
	redistest.Eventually(t, "all are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) == 200
	})
	redistest.Eventually(t, "all are acknowledged", func() bool { return pending(t, client) == 0 })
	for id, n := range handled {
		if n != 1 {
			t.Errorf("message %s was handled %d times", id, n)
		}
	}
}

func TestAQueuedEntryThatIsNoEnvelopeDoesNotComeForever(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(*service.Service) {}, service.WithQueue())
	enqueue(t, client, "nonsense")
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "cg:queue:chat", Values: []any{"other", "field"}}).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "both are read and acknowledged", func() bool {
		groups, err := client.XInfoGroups(t.Context(), "cg:queue:chat").Result()
		return err == nil && groups[0].EntriesRead == 2 && groups[0].Pending == 0
	})
}

func TestAServiceThatStopsFinishesWhatItHasBegunAndLeavesTheRest(t *testing.T) {
	client := redistest.Start(t).Client()
	begun, finish := make(chan struct{}), make(chan struct{})
	s := run(t, client, func(s *service.Service) {
		s.Handle("slow", func(ctx context.Context, _ *service.Message) (any, error) {
			close(begun)
			<-finish
			return true, ctx.Err()
		})
		s.Handle("late", func(context.Context, *service.Message) (any, error) {
			t.Error("a message was begun after the service was told to stop")
			return nil, nil
		})
	}, service.WithQueue(), service.WithWorkers(1))
	node := listen(t, client, replyTo)
	enqueue(t, client, envelope(bus.Message, "1", "slow", "1"))
	<-begun
	enqueue(t, client, envelope(bus.Message, "2", "late", "1"))
	redistest.Eventually(t, "the second waits for the worker", func() bool { return pending(t, client) == 2 })
	s.stop()
	close(finish)
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"1","data":true}`)
	if err := <-s.done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	if n := pending(t, client); n != 1 {
		t.Errorf("%d messages are left for another replica, want the one that was not begun", n)
	}
}

func TestAServiceOutlivesRedis(t *testing.T) {
	for name, options := range map[string][]service.Option{"channel": nil, "queue": {service.WithQueue()}} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			client := server.Client()
			run(t, client, func(s *service.Service) {
				s.Handle("r", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
			}, options...)
			server.Kill()
			server.Restart() // empty: the queue's group is gone, too
			redistest.Eventually(t, "the service listens again", func() bool { return listens(client) })
			node := listen(t, client, replyTo)
			if len(options) > 0 {
				enqueue(t, client, envelope(bus.Message, "1", "r", "7"))
			} else {
				publish(t, client, envelope(bus.Message, "1", "r", "7"))
			}
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"1","data":7}`)
		})
	}
}

func TestARedisThatHangsIsTakenForDead(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	log := &lockedBuffer{}
	run(t, client, func(*service.Service) {}, service.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	server.Hang()
	defer server.Continue()
	redistest.Eventually(t, "the service notices", func() bool { return log.contains("the bus broke") })
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

func TestWhatIsSentToAChannelWithHistoryIsKept(t *testing.T) {
	client := redistest.Start(t).Client()
	s := service.New(client, "chat", service.WithHistory("room:lobby", 2, time.Hour), service.WithHistory("room:*", 10, time.Minute))
	gateway := listen(t, client, "cg:out:channel:room:1", "cg:out:channel:news")
	next := func(channel string) bus.Kept {
		t.Helper()
		m, err := gateway.ReceiveMessage(t.Context())
		if err != nil || m.Channel != channel {
			t.Fatalf("got %v, %v, want a message on %s", m, err, channel)
		}
		kept, _ := bus.ParseKept([]byte(m.Payload))
		return kept
	}
	if err := s.SendChannel(t.Context(), "room:1", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if m := next("cg:out:channel:room:1"); m.Offset != 1 || string(m.Payload) != `{"n":1}` {
		t.Errorf("a message of a channel with history is %+v", m)
	}
	for range 2 { // the second time as after an answer that did not come
		if err := s.SendChannelOnce(t.Context(), "order-7", "room:1", "seven"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SendChannel(t.Context(), "news", 8); err != nil {
		t.Fatal(err)
	}
	if m := next("cg:out:channel:room:1"); m.Offset != 2 || string(m.Payload) != `"seven"` {
		t.Errorf("the message with an id is %+v", m)
	}
	if m := next("cg:out:channel:news"); m.Offset != 0 {
		t.Errorf("a channel without history has %+v", m)
	}
	for range 3 {
		if err := s.SendChannel(t.Context(), "room:lobby", 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := client.XLen(t.Context(), "cg:history:{cg:out:channel:room:lobby}").Val(); n != 2 {
		t.Errorf("%d messages are kept of the lobby, want 2", n)
	}
	if s.SendChannel(t.Context(), "room:1", make(chan int)) == nil {
		t.Error("what has no JSON form was sent")
	}
}
