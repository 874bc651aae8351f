package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// events keeps what a service tells of.
type events struct {
	mu      sync.Mutex
	retried []int
	dead    []string
	claimed int
}

func (e *events) hooks() service.Option {
	return service.WithEvents(service.Events{
		Claimed: func(n int) { e.mu.Lock(); defer e.mu.Unlock(); e.claimed += n },
		Retried: func(_ *service.Message, attempt int, _ error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.retried = append(e.retried, attempt)
		},
		Dead: func(m *service.Message, attempts int, reason string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			id := "none"
			if m != nil {
				id = m.ID
			}
			e.dead = append(e.dead, fmt.Sprint(id, " ", attempts, " ", reason))
		},
	})
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprint("retried ", e.retried, " dead ", e.dead, " claimed ", e.claimed)
}

func dead(t *testing.T, client *redis.Client) []redis.XMessage {
	t.Helper()
	entries, err := client.XRange(t.Context(), "cg:dead:chat", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// TestAMessageThatFailsIsTriedAgainAndThenSetAside runs on the real server and on the embedded one, which must not differ.
func TestAMessageThatFailsIsTriedAgainAndThenSetAside(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) *redis.Client{
		"redis-server": func(t *testing.T) *redis.Client { return redistest.Start(t).Client() },
		"miniredis": func(t *testing.T) *redis.Client {
			client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			t.Cleanup(func() { client.Close() })
			return client
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := start(t)
			told := new(events)
			var mu sync.Mutex
			tries := map[string]int{}
			run(t, client, func(s *service.Service) {
				s.Handle("*", func(_ context.Context, m *service.Message) (any, error) {
					mu.Lock()
					defer mu.Unlock()
					tries[m.ID]++
					switch {
					case m.ID == "refused":
						return nil, &bus.ReplyError{Code: "no", Message: "never"}
					case m.ID == "panics":
						panic("at the disco")
					case m.ID == "passes" && tries[m.ID] == 2:
						return m.ID, nil
					}
					return nil, errors.New("the database is away")
				})
			}, service.WithQueue(), service.WithWorkers(1), service.WithRetries(3, 20*time.Millisecond), told.hooks())
			node := listen(t, client, replyTo)
			for _, id := range []string{"refused", "passes"} {
				enqueue(t, client, envelope(bus.Message, id, "r", "1"))
			}
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"refused","error":{"code":"no","message":"never"}}`)
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"passes","data":"passes"}`)
			enqueue(t, client, envelope(bus.Message, "fails", "r", "1"))
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"fails","error":{"code":"internal","message":"the service failed"}}`)
			enqueue(t, client, envelope(bus.Message, "panics", "r", "1"))
			want(t, node, replyTo, `{"connection":"c","in_reply_to":"panics","error":{"code":"internal","message":"the service failed"}}`)
			enqueue(t, client, "nonsense")
			redistest.Eventually(t, "all is acknowledged", func() bool { return pending(t, client) == 0 && len(dead(t, client)) == 3 })
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(tries) != "map[fails:3 panics:3 passes:2 refused:1]" {
				t.Errorf("tried %v", tries)
			}
			letters := dead(t, client)
			if v := letters[0].Values; v["reason"] != "the database is away" || v["attempts"] != "3" || v["m"] == "" {
				t.Errorf("the dead letter is %v", v)
			}
			for _, field := range []string{"queued", "failed"} {
				at, err := time.Parse(time.RFC3339Nano, letters[0].Values[field].(string))
				if age := time.Since(at); err != nil || age < -time.Second || age > time.Minute {
					t.Errorf("%s is %v, %v", field, at, err)
				}
			}
			if v := letters[2].Values; v["m"] != "nonsense" || v["attempts"] != "1" {
				t.Errorf("what is no envelope is set aside as %v", v)
			}
			if got := told.String(); len(told.retried) != 5 || len(told.dead) != 3 || told.dead[0] != "fails 3 the database is away" {
				t.Errorf("told of %s", got)
			}
		})
	}
}

func TestAMessageThatWaitsForItsNextAttemptHoldsUpNoOther(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(s *service.Service) {
		s.Handle("fails", func(context.Context, *service.Message) (any, error) { return nil, errors.New("the database is away") })
		s.Handle("fine", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
	}, service.WithQueue(), service.WithWorkers(1), service.WithRetries(3, time.Hour))
	node := listen(t, client, replyTo)
	enqueue(t, client, envelope(bus.Message, "1", "fails", "1"))
	enqueue(t, client, envelope(bus.Message, "2", "fine", "2"))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"2","data":2}`)
}

func TestAMessageThatEndsEachReplicaIsSetAside(t *testing.T) {
	client := redistest.Start(t).Client()
	if err := client.XGroupCreateMkStream(t.Context(), "cg:queue:chat", "chat", "0").Err(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, client, envelope(bus.Message, "poison", "r", "1"))
	read := &redis.XReadGroupArgs{Group: "chat", Consumer: "crashed", Streams: []string{"cg:queue:chat", ">"}}
	got, err := client.XReadGroup(t.Context(), read).Result()
	if err != nil {
		t.Fatal(err)
	}
	// Two more replicas have it, one after the other.
	for range 2 {
		if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "cg:queue:chat", Group: "chat", Consumer: "crashed", Messages: []string{got[0].Messages[0].ID}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	told := new(events)
	run(t, client, func(s *service.Service) {
		s.Handle("*", func(context.Context, *service.Message) (any, error) {
			t.Error("it was handled once more")
			return nil, nil
		})
	}, service.WithQueue(), service.WithClaimAfter(50*time.Millisecond), service.WithRetries(3, 0), told.hooks())
	redistest.Eventually(t, "it is set aside", func() bool { return len(dead(t, client)) == 1 && pending(t, client) == 0 })
	redistest.Eventually(t, "the events say so", func() bool {
		return told.String() == "retried [] dead [poison 4 replicas took it 3 times and acknowledged it never] claimed 1"
	})
}

func TestAReplicaThatLivesKeepsWhatTakesLong(t *testing.T) {
	client := redistest.Start(t).Client()
	began, finish := make(chan string, 1000), make(chan struct{})
	for range 2 {
		run(t, client, func(s *service.Service) {
			s.Handle("*", func(_ context.Context, m *service.Message) (any, error) {
				began <- m.ID
				<-finish
				return nil, nil
			})
		}, service.WithQueue(), service.WithClaimAfter(300*time.Millisecond))
	}
	// Where the machine makes a replica pause for longer than the claim's time another takes its message, and rightly.
	redistest.Eventually(t, "a message stays for four times the claim's time", func() bool {
		enqueue(t, client, envelope(bus.Message, "1", "r", "1"))
		<-began
		time.Sleep(1200 * time.Millisecond)
		alone := len(began) == 0
		finish <- struct{}{}
		for range len(began) {
			<-began
			finish <- struct{}{}
		}
		return alone
	})
	close(finish)
	redistest.Eventually(t, "all are acknowledged", func() bool { return pending(t, client) == 0 })
}

func TestTheDeadLettersAreBounded(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(*service.Service) {}, service.WithQueue(), service.WithDeadLetters(100))
	pipe := client.Pipeline()
	for range 1000 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "cg:queue:chat", Values: []any{"m", "nonsense"}})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "all are set aside", func() bool {
		groups, err := client.XInfoGroups(t.Context(), "cg:queue:chat").Result()
		return err == nil && groups[0].EntriesRead == 1000 && groups[0].Pending == 0
	})
	if n := client.XLen(t.Context(), "cg:dead:chat").Val(); n < 100 || n > 300 {
		t.Errorf("%d dead letters are kept, want about 100", n)
	}
}
