package wsbridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// A node bridges WebSocket clients and whatever publishes to the Redis that it is on.
func Example() {
	server, _ := miniredis.Run()
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	counts := new(counts)
	node := wsbridge.NewNode(wsbridge.Options{Redis: bus.One(client), Prefix: "cg:", Logger: slog.New(slog.DiscardHandler), Metrics: counts})
	cfg, _ := config.Parse("example.yaml", []byte(`
listeners: [{address: "127.0.0.1:0"}]
routes:
  - {name: news, match: {path: /}, websocket: {service: news, channels: [{pattern: news, subscribe: anyone}]}}
`))
	route := wsbridge.CompileRoute("news", cfg.Routes[0].WebSocket)
	policy, _ := admission.CompilePolicy(&cfg.Routes[0], nil, admission.Stores{})
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// In a gateway the ticket comes from an admission.Admitter.
		node.Serve(w, r, &admission.Ticket{Route: &admission.Route{Policy: policy}, Identity: auth.Anonymous}, route, counts)
	}))
	defer listener.Close()
	defer node.Close()

	ctx := context.Background()
	browser, _, err := websocket.Dial(ctx, listener.URL, &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer browser.CloseNow()
	_ = browser.Write(ctx, websocket.MessageText, []byte(`{"id":1,"type":"subscribe","channel":"news"}`))
	_, frame, _ := browser.Read(ctx)
	fmt.Println(string(frame))

	client.Publish(ctx, "cg:out:channel:news", `{"headline":"Gateway carries message"}`)
	_, frame, _ = browser.Read(ctx)
	fmt.Println(string(frame))
	// Output:
	// {"id":1,"type":"ok","channel":"news"}
	// {"type":"message","channel":"news","data":{"headline":"Gateway carries message"}}
}
