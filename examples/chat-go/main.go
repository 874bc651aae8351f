// Chat-go is a chat service behind a Crossgate route with `websocket: {service: chat}`: a client sends chat.send with a
// room and a text, and every subscriber of the channel room:{room} gets it.
//
//	REDIS_URL=redis://127.0.0.1:6379/0 go run ./examples/chat-go
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func main() {
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379/0"))
	if err != nil {
		log.Fatal("REDIS_URL is not of the form redis://host:port/db") // not the error: it may hold a password
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	chat := service.New(client, "chat")
	chat.Handle("chat.send", func(ctx context.Context, m *service.Message) (any, error) {
		var said struct{ Room, Text string }
		if json.Unmarshal(m.Data, &said) != nil || said.Room == "" || said.Text == "" {
			return nil, &bus.ReplyError{Code: "invalid_argument", Message: "data: expected room and text"}
		}
		from := cmp.Or(m.User, "anonymous")
		err := chat.SendChannel(ctx, "room:"+said.Room, map[string]string{"from": from, "text": said.Text})
		return map[string]bool{"ok": true}, err
	})
	if err := chat.Run(ctx); !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}
