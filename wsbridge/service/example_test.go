package service_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func Example() {
	server, _ := miniredis.Run()
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	greeter := service.New(client, "greeter")
	greeter.Handle("greet", func(_ context.Context, m *service.Message) (any, error) {
		return "hello " + m.User, nil
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = greeter.Run(ctx)
	}()

	// The other side of this is a gateway: it publishes what clients send, and reads what is for them.
	gateway := client.Subscribe(ctx, "cg:out:node:n")
	_, _ = gateway.Receive(ctx)
	m := bus.Inbound{V: bus.Version, ID: "1", Type: bus.Message, Connection: "c", User: "ann", Route: "greet", ReplyTo: "cg:out:node:n", Time: time.Now()}
	for client.Publish(ctx, "cg:in:greeter", m.Append(nil)).Val() == 0 {
		time.Sleep(time.Millisecond) // the service is still on its way
	}
	reply, _ := gateway.ReceiveMessage(ctx)
	fmt.Println(reply.Payload)
	gateway.Close()
	stop()
	<-done
	// Output: {"connection":"c","in_reply_to":"1","data":"hello ann"}
}
