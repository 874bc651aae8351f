package wsbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leaks()...) }

const secret = "0123456789abcdef0123456789abcdef"

// counts is what a node and a route counted.
type counts struct {
	mu      sync.Mutex
	counted map[string]int
	panics  atomic.Bool // over what is refused
}

func (c *counts) add(what string) { c.plus(what, 1) }

func (c *counts) plus(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counted == nil {
		c.counted = map[string]int{}
	}
	c.counted[what] += n
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counted[what]
}

func (c *counts) Opened()         { c.add("opened") }
func (c *counts) Closed(code int) { c.add(fmt.Sprint("closed ", code)) }
func (c *counts) MessageIn()      { c.add("in") }
func (c *counts) MessageOut()     { c.add("out") }
func (c *counts) Refused(f *admission.Refusal) {
	if c.panics.Load() {
		panic("a test's")
	}
	c.add("refused")
}
func (c *counts) Limited(limit string)          { c.add("limited " + limit) }
func (c *counts) BusState(up bool)              { c.add(fmt.Sprint("up ", up)) }
func (c *counts) Present(change int)            { c.plus("present", change) }
func (c *counts) PresenceSwept(connections int) { c.plus("swept", connections) }
func (c *counts) PresenceFailed()               { c.add("presence failed") }
func (c *counts) BusDropped(reason string)      { c.add(reason) }
func (c *counts) Noted([]admission.Charge)      {}

// gateway is one node with one route at /, whose websocket section is given.
type gateway struct {
	*wsbridge.Node
	*counts
	server *httptest.Server
}

// startNode starts a node on a Redis. Who has a token is its subject; who has none is anonymous.
func startNode(t *testing.T, client redis.UniversalClient, section string) *gateway {
	t.Helper()
	return startNodeWith(t, client, section, slog.New(slog.DiscardHandler), httptest.NewServer)
}

func startNodeWith(t *testing.T, client redis.UniversalClient, section string, log *slog.Logger, listen func(http.Handler) *httptest.Server) *gateway {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(`
listeners: [{address: "127.0.0.1:0"}]
auth: [{name: main, jwt: {secret: `+secret+`, clock_skew: 0s}, from: [{header: Authorization}, {query: token}]}]
routes:
  - {name: ws, match: {path: /}, auth: {require: [main], optional: true}, websocket: {service: chat, `+section+`}}
`))
	if err != nil {
		t.Fatal(err)
	}
	revoked := new(auth.Revocations)
	providers, err := auth.Compile(c.Auth, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	policy, err := admission.CompilePolicy(&c.Routes[0], providers, admission.Stores{Memory: ratelimit.NewMemory(), Revoked: revoked})
	if err != nil {
		t.Fatal(err)
	}
	path, err := routing.ExactPath("/")
	if err != nil {
		t.Fatal(err)
	}
	table, err := routing.Compile([]routing.Rule[*admission.Route]{{Template: path, Value: &admission.Route{Policy: policy}, Origin: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	admitter := admission.New(table)
	route := wsbridge.CompileRoute("ws", c.Routes[0].WebSocket)

	g := &gateway{counts: new(counts)}
	g.Node = wsbridge.NewNode(wsbridge.Options{Redis: bus.One(client), Prefix: "cg:", Logger: log, Metrics: g, Revocations: revoked})
	g.server = listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ticket := new(admission.Ticket)
		refusal := admitter.Admit(r.Context(), &admission.Request{
			Request: routing.Request{Method: r.Method, Path: r.URL.Path, Header: r.Header}, Client: netip.MustParseAddr("192.0.2.1"),
			Upgrade: true, RawQuery: r.URL.RawQuery,
		}, ticket)
		if refusal != nil {
			http.Error(w, refusal.Reason, http.StatusForbidden)
			return
		}
		var e *fault.Error
		switch {
		case r.Method == http.MethodPost:
			e = g.Post(w, r, ticket, route)
		case r.Header.Get("Accept") == "text/event-stream":
			e = g.ServeEvents(w, r, ticket, route, g)
		default:
			e = g.Serve(w, r, ticket, route, g)
		}
		if e != nil {
			http.Error(w, e.Message, e.Reason.HTTPStatus())
		}
	}))
	t.Cleanup(func() {
		g.Close()
		g.server.Close()
	})
	return g
}

// start is startNode on a Redis of its own.
func start(t *testing.T, section string) (*gateway, *redis.Client) {
	t.Helper()
	client := redistest.Start(t).Client()
	return startNode(t, client, section), client
}

func token(t *testing.T, user string, lifetime time.Duration, more ...string) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "exp": jwt.NewNumericDate(time.Now().Add(lifetime)), "roles": more}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// client is a WebSocket client whose frames are read one by one.
type client struct {
	*websocket.Conn
	t *testing.T
}

func (g *gateway) dial(t *testing.T, o *websocket.DialOptions) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	if o == nil {
		o = &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}}
	}
	o.HTTPClient = g.server.Client()
	conn, _, err := websocket.Dial(ctx, g.server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{conn, t}
}

// as dials with a token.
func (g *gateway) as(t *testing.T, user string, roles ...string) *client {
	t.Helper()
	return g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(token(t, user, time.Hour, roles...))})
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() (websocket.MessageType, string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), redistest.Patience)
	defer cancel()
	kind, frame, err := c.Read(ctx)
	return kind, string(frame), err
}

// want reads the next frame, which must be exactly this.
func (c *client) want(frame string) {
	c.t.Helper()
	_, got, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", frame, err)
	}
	if got != frame {
		c.t.Fatalf("got  %s\nwant %s", got, frame)
	}
}

// wantError reads the next frame, which must be an error to a frame.
func (c *client) wantError(id, code string) {
	c.t.Helper()
	_, got, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for the error %s: %v", code, err)
	}
	if id != "" {
		id = `"id":` + id + `,`
	}
	if want := `{` + id + `"type":"error","code":"` + code + `","message":"`; !strings.HasPrefix(got, want) {
		c.t.Fatalf("got %s, want an error %s to %s", got, code, id)
	}
}

// wantClose reads until the connection is closed, and wants this code.
func (c *client) wantClose(code websocket.StatusCode) {
	c.t.Helper()
	for {
		_, _, err := c.next()
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			c.t.Fatalf("closed with %v (%v), want %v", got, err, code)
		}
		return
	}
}

// roundTrip makes sure that all that was sent before is handled.
func (c *client) roundTrip() {
	c.t.Helper()
	c.send(`{"id":"sync","type":"ping"}`)
	c.want(`{"id":"sync","type":"pong"}`)
}

func publish(t *testing.T, client *redis.Client, channel, payload string) {
	t.Helper()
	if err := client.Publish(t.Context(), channel, payload).Err(); err != nil {
		t.Fatal(err)
	}
}

// envelopes subscribes to a service's channel as any Redis client may, and returns what comes.
func envelopes(t *testing.T, client *redis.Client) <-chan *bus.Inbound {
	t.Helper()
	pubsub := client.Subscribe(t.Context(), "cg:in:chat")
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := make(chan *bus.Inbound, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range pubsub.Channel() {
			var in bus.Inbound
			if err := json.Unmarshal([]byte(m.Payload), &in); err != nil {
				t.Errorf("envelope %s: %v", m.Payload, err)
			}
			out <- &in
		}
	}()
	t.Cleanup(func() {
		pubsub.Close()
		<-done
	})
	return out
}

func nextEnvelope(t *testing.T, from <-chan *bus.Inbound, kind string) *bus.Inbound {
	t.Helper()
	select {
	case m := <-from:
		if m.Type != kind {
			t.Fatalf("a %s comes, want a %s: %+v", m.Type, kind, m)
		}
		return m
	case <-time.After(redistest.Patience):
		t.Fatalf("no %s comes", kind)
		return nil
	}
}

// serve runs a service until the test ends.
func serve(t *testing.T, client *redis.Client, set func(*service.Service), options ...service.Option) *service.Service {
	t.Helper()
	s := service.New(client, "chat", append(options, service.WithLogger(slog.New(slog.DiscardHandler)))...)
	set(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	redistest.Eventually(t, "the service listens", func() bool {
		groups, _ := client.XInfoGroups(ctx, "cg:queue:chat").Result()
		return client.PubSubNumSub(ctx, "cg:in:chat").Val()["cg:in:chat"] > 0 || len(groups) > 0
	})
	return s
}

// rawConn is a client that writes frames byte by byte, for those that no library would send.
type rawConn struct {
	net.Conn
	t *testing.T
}

func (g *gateway) dialRaw(t *testing.T) *rawConn { return g.dialRawWith(t, "") }

// dialRawWith sends frames along with the handshake.
func (g *gateway) dialRawWith(t *testing.T, early string) *rawConn {
	t.Helper()
	c, _ := g.shakeHands(t, "", early)
	return c
}

// shakeHands returns the answer's header too.
func (g *gateway) shakeHands(t *testing.T, header, early string) (c *rawConn, answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(redistest.Patience))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n%s\r\n%s", wsbridge.Subprotocol, header, early)
	var head []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one...) {
		if _, err := conn.Read(one); err != nil {
			t.Fatalf("the upgrade ends in %v after %s", err, head)
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		t.Fatalf("the upgrade is refused: %s", head)
	}
	return &rawConn{conn, t}, string(head)
}

// frame writes one masked frame; the mask is zero, so that the payload is as it is.
func (c *rawConn) frame(first byte, payload string) {
	c.t.Helper()
	b := []byte{first, 0x80 | byte(len(payload))}
	if len(payload) > 125 {
		b = []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}
	}
	c.write(string(b) + "\x00\x00\x00\x00" + payload)
}

func (c *rawConn) write(bytes string) {
	c.t.Helper()
	if _, err := c.Write([]byte(bytes)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next frame.
func (c *rawConn) read() (first byte, payload string) {
	c.t.Helper()
	read := func(n int) []byte {
		b := make([]byte, n)
		for got := 0; got < n; {
			m, err := c.Read(b[got:])
			if err != nil {
				c.t.Fatalf("reading a frame: %v", err)
			}
			got += m
		}
		return b
	}
	head := read(2)
	n := int(head[1])
	switch n {
	case 126:
		b := read(2)
		n = int(b[0])<<8 | int(b[1])
	case 127:
		b := read(8)
		n = int(b[4])<<24 | int(b[5])<<16 | int(b[6])<<8 | int(b[7])
	}
	return head[0], string(read(n))
}

// wantCloseFrame reads until a close frame comes, and wants this code.
func (c *rawConn) wantCloseFrame(code int) {
	c.t.Helper()
	for {
		first, payload := c.read()
		if first != 0x88 {
			continue
		}
		if got := int(payload[0])<<8 | int(payload[1]); got != code {
			c.t.Fatalf("closed with %d %q, want %d", got, payload[2:], code)
		}
		return
	}
}
