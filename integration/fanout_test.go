package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/wsbridge/service"
)

const chatNode = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
redis: {url: %s}
drain: {reconnect_spread: 0s}
auth: [{name: jwt, jwt: {secret: "${JWT_SECRET}"}}]
routes:
  - name: chat
    match: {path: /ws}
    auth: {require: [jwt]}
    websocket: {service: chat, channels: [{pattern: "room:*"}]}
`

// client is a WebSocket client whose frames are read one by one.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

func connect(t *testing.T, g *rig.Gateway, user string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*rig.Patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, g.URL+"/ws", &websocket.DialOptions{
		HTTPHeader: map[string][]string{"Authorization": {"Bearer " + token(t, jwt.MapClaims{"sub": user})}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t, conn, ctx}
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

// want reads the next frame, which must be JSON with these members.
func (c *client) want(members string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, rig.Patience)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", members, err)
	}
	var got, want map[string]any
	if json.Unmarshal(frame, &got) != nil || json.Unmarshal([]byte(members), &want) != nil {
		c.t.Fatalf("%s or %s is no JSON object", frame, members)
	}
	for k, v := range want {
		if fmt.Sprint(got[k]) != fmt.Sprint(v) {
			c.t.Fatalf("got %s, want %s", frame, members)
		}
	}
}

// startChat runs a chat service on a Redis until the test ends.
func startChat(t *testing.T, address string) *service.Service {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: address})
	s := service.New(rdb, "chat")
	s.Handle("chat.send", func(ctx context.Context, m *service.Message) (any, error) {
		var said struct{ Room, Text string }
		if err := json.Unmarshal(m.Data, &said); err != nil {
			return nil, err
		}
		return map[string]bool{"ok": true}, s.SendChannel(ctx, "room:"+said.Room, map[string]string{"from": m.User, "text": said.Text})
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		rdb.Close()
	})
	rig.Eventually(t, rig.Patience, func() error {
		n, err := rdb.PubSubNumSub(context.Background(), "cg:in:chat").Result()
		if err == nil && n["cg:in:chat"] == 0 {
			err = errors.New("the service does not listen")
		}
		return err
	})
	return s
}

func TestEveryFanOutCrossesNodes(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	server := rig.StartRedis(t)
	chat := startChat(t, server.Address)
	one, two := rig.StartGateway(t, fmt.Sprintf(chatNode, server.URL())), rig.StartGateway(t, fmt.Sprintf(chatNode, server.URL()))
	ann, bob, ann2 := connect(t, one, "ann"), connect(t, two, "bob"), connect(t, two, "ann")
	for _, c := range []*client{ann, bob} {
		c.send(`{"id":1,"type":"subscribe","channel":"room:42"}`)
		c.want(`{"id":1,"type":"ok","channel":"room:42"}`)
	}
	ctx := context.Background()

	t.Run("a message to the service, its reply, and a channel", func(t *testing.T) {
		ann.send(`{"id":2,"type":"message","route":"chat.send","data":{"room":"42","text":"hello"}}`)
		bob.want(`{"type":"message","channel":"room:42","data":{"from":"ann","text":"hello"}}`)
		// The broadcast and the reply may come in either order.
		seen := map[string]bool{}
		for range 2 {
			_, frame, err := ann.conn.Read(ann.ctx)
			if err != nil {
				t.Fatal(err)
			}
			seen[string(frame)] = true
		}
		if !seen[`{"id":2,"type":"reply","data":{"ok":true}}`] || !seen[`{"type":"message","channel":"room:42","data":{"from":"ann","text":"hello"}}`] {
			t.Errorf("ann got %v", seen)
		}
	})
	t.Run("every session of a user", func(t *testing.T) {
		if err := chat.SendUser(ctx, "ann", "for ann"); err != nil {
			t.Fatal(err)
		}
		ann.want(`{"type":"message","data":"for ann"}`)
		ann2.want(`{"type":"message","data":"for ann"}`)
	})
	t.Run("everyone", func(t *testing.T) {
		if err := chat.SendAll(ctx, map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{ann, bob, ann2} {
			c.want(`{"type":"message","data":{"n":1}}`)
		}
	})
	t.Run("not after unsubscribing", func(t *testing.T) {
		bob.send(`{"id":3,"type":"unsubscribe","channel":"room:42"}`)
		bob.want(`{"id":3,"type":"ok"}`)
		if err := chat.SendChannel(ctx, "room:42", "two"); err != nil {
			t.Fatal(err)
		}
		ann.want(`{"type":"message","channel":"room:42","data":"two"}`)
		if err := chat.SendAll(ctx, "three"); err != nil {
			t.Fatal(err)
		}
		bob.want(`{"type":"message","data":"three"}`)
	})
}

func TestRedisKilledUnderLoad(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	server := rig.StartRedis(t)
	one, two := rig.StartGateway(t, fmt.Sprintf(chatNode, server.URL())), rig.StartGateway(t, fmt.Sprintf(chatNode, server.URL()))
	var clients []*client
	for i := range 20 {
		g := one
		if i%2 == 1 {
			g = two
		}
		c := connect(t, g, fmt.Sprintf("user%d", i))
		c.send(`{"id":1,"type":"subscribe","channel":"room:load"}`)
		c.want(`{"id":1,"type":"ok"}`)
		clients = append(clients, c)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Address, MaxRetries: -1})
	defer rdb.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var published atomic.Int64
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		for i := 0; ctx.Err() == nil; i++ {
			if rdb.Publish(ctx, "cg:out:channel:room:load", fmt.Sprintf(`{"n":%d}`, i)).Err() == nil {
				published.Add(1)
			}
		}
	}()
	defer func() { cancel(); <-loaded }()

	// Every client notices the outage and the return, and gets messages again, on the connection it has had all along.
	back := make(chan error, len(clients))
	for _, c := range clients {
		go func() {
			stage := 0
			for {
				_, frame, err := c.conn.Read(c.ctx)
				if err != nil {
					back <- err
					return
				}
				switch text := string(frame); {
				case stage == 0 && text == `{"type":"bus","state":"down"}`:
					stage = 1
				case stage == 1 && text == `{"type":"bus","state":"up"}`:
					stage = 2
				case stage == 2 && strings.Contains(text, `"channel":"room:load"`):
					back <- nil
					return
				}
			}
		}()
	}
	rig.Eventually(t, rig.Patience, func() error {
		if published.Load() < 200 {
			return errors.New("there is no load")
		}
		return nil
	})
	server.Kill()
	for _, g := range []*rig.Gateway{one, two} {
		rig.Eventually(t, rig.Patience, func() error {
			if _, text := call(t, "GET", g.Admin+"/v1/status", "", nil); strings.Contains(text, `"busConnected":true`) {
				return errors.New("the gateway does not notice")
			}
			return nil
		})
		if code, _ := call(t, "GET", g.Admin+"/readyz", "", nil); code != 200 {
			t.Errorf("without Redis the gateway is not ready: %d", code)
		}
	}
	server.Restart()
	start := time.Now()
	for range clients {
		if err := <-back; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("every client got messages again %v after Redis was back", time.Since(start))
}
