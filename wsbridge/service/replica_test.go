package service_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestWhatADeadReplicaHadIsTakenOver(t *testing.T) {
	client := redistest.Start(t).Client()
	if err := client.XGroupCreateMkStream(t.Context(), "cg:queue:chat", "chat", "0").Err(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, client, envelope(bus.Message, "1", "r", "1"))
	taken := &redis.XReadGroupArgs{Group: "chat", Consumer: "dead", Streams: []string{"cg:queue:chat", ">"}}
	if got, err := client.XReadGroup(t.Context(), taken).Result(); err != nil || len(got) != 1 {
		t.Fatalf("the dead replica has %v, %v", got, err)
	}
	handled := make(chan string, 10)
	run(t, client, func(s *service.Service) {
		s.Handle("*", func(_ context.Context, m *service.Message) (any, error) {
			handled <- m.ID
			return nil, nil
		})
	}, service.WithQueue(), service.WithClaimAfter(50*time.Millisecond))
	select {
	case id := <-handled:
		if id != "1" {
			t.Errorf("message %s is taken over", id)
		}
	case <-time.After(redistest.Patience):
		t.Error("nobody takes it over")
	}
	redistest.Eventually(t, "it is acknowledged", func() bool { return pending(t, client) == 0 })
}

func TestAReplicaThatStopsLeavesTheGroup(t *testing.T) {
	client := redistest.Start(t).Client()
	s := run(t, client, func(s *service.Service) {
		s.Handle("*", func(context.Context, *service.Message) (any, error) { return nil, nil })
	}, service.WithQueue())
	consumers := func() int {
		group, _ := client.XInfoGroups(t.Context(), "cg:queue:chat").Result()
		return int(group[0].Consumers)
	}
	enqueue(t, client, envelope(bus.Message, "1", "r", "1"))
	redistest.Eventually(t, "it has joined and handled it", func() bool { return consumers() == 1 && pending(t, client) == 0 })
	s.stop()
	<-s.done
	if n := consumers(); n != 0 {
		t.Errorf("the group still has %d consumers", n)
	}
}

func TestAPanicOfAHandlerIsItsErrorAndEndsNothing(t *testing.T) {
	client := redistest.Start(t).Client()
	run(t, client, func(s *service.Service) {
		s.OnConnect(func(context.Context, *service.Message) { panic("secret") })
		s.OnDisconnect(func(context.Context, *service.Message) { panic("secret") })
		s.Handle("panic", func(context.Context, *service.Message) (any, error) { panic("secret") })
		s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
	}, service.WithWorkers(1))
	node := listen(t, client, replyTo)
	publish(t, client, envelope(bus.Connect, "c", "", ""))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"c","error":{"code":"internal","message":"the service failed"}}`)
	publish(t, client, envelope(bus.Disconnect, "d", "", ""))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"d","error":{"code":"internal","message":"the service failed"}}`)
	publish(t, client, envelope(bus.Message, "1", "panic", "1"))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"1","error":{"code":"internal","message":"the service failed"}}`)
	publish(t, client, envelope(bus.Message, "2", "echo", "1"))
	want(t, node, replyTo, `{"connection":"c","in_reply_to":"2","data":1}`)
}
