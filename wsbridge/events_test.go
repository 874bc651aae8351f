package wsbridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// eventClient is a client without WebSocket.
type eventClient struct {
	t       *testing.T
	gateway *gateway
	query   string
	session string
	body    io.Closer
	lines   *bufio.Reader
	leave   context.CancelFunc
}

// listenHTTP2 serves HTTP/2 over TLS.
func listenHTTP2(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	return s
}

var protocols = map[string]func(http.Handler) *httptest.Server{"HTTP/1.1": httptest.NewServer, "HTTP/2.0": listenHTTP2}

// events opens an event stream; query may hold a token.
func (g *gateway) events(t *testing.T, query string) *eventClient {
	t.Helper()
	answer, leave := g.ask(t, query)
	c := &eventClient{t: t, gateway: g, query: query, body: answer.Body, lines: bufio.NewReader(answer.Body), leave: leave}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := answer.Header.Get(name); got != want {
			t.Fatalf("%d, %s: %q, want %q", answer.StatusCode, name, got, want)
		}
	}
	event, data := c.next()
	var open struct{ Type, Session string }
	if err := json.Unmarshal([]byte(data), &open); err != nil || event != "open" || open.Type != "open" {
		t.Fatalf("the first event is %s: %s", event, data)
	}
	c.session = open.Session
	return c
}

// ask asks for an event stream.
func (g *gateway) ask(t *testing.T, query string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.server.URL+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := g.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leave()
		answer.Body.Close()
	})
	return answer, leave
}

// next returns the next event, or that of a comment.
func (c *eventClient) next() (event, data string) {
	c.t.Helper()
	event = "message"
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return "end", err.Error()
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			if value != "" {
				event, data = "comment", value
				continue
			}
			return event, data
		case "event":
			event = value
		case "data":
			data += value
		default:
			c.t.Fatalf("a line %q", line)
		}
	}
}

// message returns the next event that is no comment: a ping comes whenever nothing else has for a while.
func (c *eventClient) message() (event, data string) {
	c.t.Helper()
	for {
		if event, data = c.next(); event != "comment" {
			return event, data
		}
	}
}

func (c *eventClient) want(data string) {
	c.t.Helper()
	if event, got := c.message(); event != "message" || got != data {
		c.t.Fatalf("got  %s: %s\nwant %s", event, got, data)
	}
}

// wantPrefix is want for the beginning of a message.
func (c *eventClient) wantPrefix(data string) {
	c.t.Helper()
	if event, got := c.message(); event != "message" || !strings.HasPrefix(got, data) {
		c.t.Fatalf("got  %s: %s\nwant %s", event, got, data)
	}
}

// wantEnd reads until the stream ends, and wants it to say why.
func (c *eventClient) wantEnd(code int) {
	c.t.Helper()
	for {
		event, data := c.next()
		switch event {
		case "end":
			c.t.Fatalf("the stream ends without a close event: %s", data)
		case "close":
			if !strings.HasPrefix(data, `{"code":`+strconv.Itoa(code)+`,"reason":"`) {
				c.t.Fatalf("closed with %s, want %d", data, code)
			}
			if event, data := c.next(); event != "end" || data != "EOF" {
				c.t.Fatalf("after the close event comes %s %s", event, data)
			}
			return
		}
	}
}

// post sends a body to a node, with headers besides or instead of the usual ones, and returns the status.
func (c *eventClient) post(to *gateway, body string, header ...string) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, to.server.URL+c.query, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(wsbridge.SessionHeader, c.session)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	answer, err := to.server.Client().Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode == http.StatusAccepted && len(text) > 0 {
		c.t.Errorf("an accepted POST gets %s", text)
	}
	return answer.StatusCode
}

// send has a message taken.
func (c *eventClient) send(body string) {
	c.t.Helper()
	if status := c.post(c.gateway, body); status != http.StatusAccepted {
		c.t.Fatalf("%s gets %d", body, status)
	}
}

func TestAClientWithoutWebSocketHasTheSameSession(t *testing.T) {
	for protocol, listen := range protocols {
		t.Run(protocol, func(t *testing.T) {
			rdb := redistest.Start(t).Client()
			section := `ping_interval: 200ms, channels: [{pattern: "room:*"}, {pattern: "kept:*", history: {size: 10}}]`
			g, other := startNodeWith(t, rdb, section, slog.New(slog.DiscardHandler), listen), startNodeWith(t, rdb, section, slog.New(slog.DiscardHandler), listen)
			comings := envelopes(t, rdb)
			c := g.events(t, "/?token="+token(t, "ann", time.Hour))
			connected := nextEnvelope(t, comings, bus.Connect)
			if connected.User != "ann" || strings.Contains(c.session, connected.Connection) {
				t.Fatalf("the service is told of %+v, and the session's name is %s", connected, c.session)
			}
			serve(t, rdb, func(s *service.Service) {
				s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
			})

			for _, to := range []*gateway{g, other} { // a balancer spreads the requests
				if status := c.post(to, `{"id":1,"type":"subscribe","channel":"room:1"}`); status != http.StatusAccepted {
					t.Fatal(status)
				}
				c.want(`{"id":1,"type":"ok","channel":"room:1"}`)
				var lines, want []string
				for i := range 50 {
					lines = append(lines, fmt.Sprintf(`{"id":%d,"type":"ping"}`, i))
					want = append(want, fmt.Sprintf(`{"id":%d,"type":"pong"}`, i))
				}
				if status := c.post(to, strings.Join(lines, "\r\n\n")+"\n", "Content-Type", "application/x-ndjson; charset=utf-8"); status != http.StatusAccepted {
					t.Fatal(status)
				}
				for _, w := range want {
					c.want(w)
				}
				if status := c.post(to, "{\n\"id\": 2,\n\"type\": \"message\", \"route\": \"echo\", \"data\": {\"a\": 1}}"); status != http.StatusAccepted {
					t.Fatal(status)
				}
				c.want(`{"id":2,"type":"reply","data":{"a":1}}`)
			}
			c.send(`{"id":3,"type":"subscribe","channel":"kept:1"}`)
			c.wantPrefix(`{"id":3,"type":"ok","channel":"kept:1","epoch":"`)
			publish(t, rdb, "cg:out:channel:room:1", "{\"a\":\r\n[1,\n2]}")
			c.want(`{"type":"message","channel":"room:1","data":{"a":  [1, 2]}}`)
			publish(t, rdb, "cg:out:user:ann", "\xff")
			c.want(`{"type":"message","data_base64":"/w=="}`)
			large := `"` + strings.Repeat("x", 300_000) + `"`
			publish(t, rdb, "cg:out:all", large)
			c.want(`{"type":"message","data":` + large + `}`)
			if event, data := c.next(); event != "comment" || data != "ping" {
				t.Fatalf("an idle client gets %s: %s", event, data)
			}
			c.send(`{"id":4,"type":"refresh","token":"` + token(t, "bob", time.Hour) + `"}`)
			c.wantPrefix(`{"id":4,"type":"error","code":"permission_denied"`)
			c.leave()
			for m := range comings {
				if m.Type == bus.Disconnect {
					if m.Connection != connected.Connection || m.Code != 1006 {
						t.Errorf("the service is told of %+v", m)
					}
					break
				}
			}
			redistest.Eventually(t, "it is forgotten", func() bool { return g.Connections() == 0 && g.of("closed 1006") == 1 })
			if status := c.post(g, `{}`); status != http.StatusNotFound {
				t.Errorf("a POST of a session that has ended gets %d", status)
			}
		})
	}
}

func TestAStreamSaysWhyItEnds(t *testing.T) {
	for protocol, listen := range protocols {
		rdb := redistest.Start(t).Client()
		for name, end := range map[int]func(g *gateway){
			4001: func(*gateway) {},
			4003: func(g *gateway) { _, _ = g.Revoke(context.Background(), auth.Revocation{User: "4003"}) },
			4400: func(*gateway) {
				publish(t, rdb, "cg:control", `{"type":"close","user":"4400","code":4400,"reason":"it \"had\" to be"}`)
			},
			4010: func(g *gateway) { g.Drain(context.Background(), 50*time.Millisecond) },
		} {
			t.Run(fmt.Sprint(protocol, " ", name), func(t *testing.T) {
				g := startNodeWith(t, rdb, "", slog.New(slog.DiscardHandler), listen)
				life := time.Hour
				if name == 4001 {
					life = 2 * time.Second
				}
				exp := time.Now().Add(life)
				c := g.events(t, "/?token="+signed(t, jwt.MapClaims{"sub": strconv.Itoa(name), "iat": time.Now().Unix() - 10, "exp": exp.Unix() + 1}))
				c.send(`{"id":1,"type":"ping"}`)
				c.want(`{"id":1,"type":"pong"}`) // the session has begun
				end(g)
				if name == 4010 {
					c.wantPrefix(`{"type":"goaway","reconnect_after_ms":`)
					answer, _ := g.ask(t, "/")
					if answer.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("a draining node answers %d", answer.StatusCode)
					}
				}
				c.wantEnd(name)
				redistest.Eventually(t, "it is counted", func() bool { return g.of(fmt.Sprint("closed ", name))+g.of("closed 3000") == 1 })
			})
		}
	}
}

func TestPostsThatAreRefused(t *testing.T) {
	rdb := redistest.Start(t).Client()
	section := "max_message_size: 1000, origins: [https://app.example]"
	g, other := startNode(t, rdb, section), startNode(t, rdb, section)
	silent := "00000000-0000-4000-8000-000000000000"
	pubsub := rdb.Subscribe(t.Context(), "cg:node:"+silent) // a node that does not answer
	defer pubsub.Close()
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := g.events(t, "/?token="+token(t, "ann", time.Hour))
	node, _, _ := strings.Cut(c.session, ".")
	ping := `{"id":1,"type":"ping"}`
	for _, to := range []*gateway{g, other} {
		for name, row := range map[string]struct {
			want   int
			body   string
			header []string
		}{
			"no session":                   {400, ping, []string{wsbridge.SessionHeader, ""}},
			"an unknown session":           {404, ping, []string{wsbridge.SessionHeader, node + ".AAAAAAAAAAAAAAAAAAAAAAAAAA"}},
			"an unknown node":              {404, ping, []string{wsbridge.SessionHeader, "00000000-0000-4000-8000-000000000001.A"}},
			"no name of a session":         {404, ping, []string{wsbridge.SessionHeader, "{x}.A"}},
			"a node that does not answer":  {504, ping, []string{wsbridge.SessionHeader, silent + ".A"}},
			"another user":                 {403, ping, []string{"Authorization", "Bearer " + token(t, "bob", time.Hour)}},
			"another origin":               {403, ping, []string{"Origin", "https://evil.example"}},
			"a form":                       {415, ping, []string{"Content-Type", "text/plain"}},
			"gzip":                         {415, ping, []string{"Content-Encoding", "gzip"}},
			"no UTF-8":                     {400, "\"\xff\"", nil},
			"nothing":                      {400, " \n ", nil},
			"a message that is too large":  {413, ping + "\n\"" + strings.Repeat("x", 1000) + `"`, nil},
			"a body that is too large":     {413, strings.Repeat(ping+"\n", 60_000), nil},
			"a sequence that is no number": {400, ping, []string{wsbridge.SequenceHeader, "one"}},
			"a sequence with a gap":        {409, ping, []string{wsbridge.SequenceHeader, "7"}},
		} {
			if status := c.post(to, row.body, row.header...); status != row.want {
				t.Errorf("%s gets %d, want %d", name, status, row.want)
			}
		}
	}
	// None of them has been taken, and what comes twice is taken once.
	for i := range 4 {
		for range 2 {
			for _, to := range []*gateway{g, other} {
				if status := c.post(to, fmt.Sprintf(`{"id":%d,"type":"ping"}`, i), "Origin", "https://app.example", wsbridge.SequenceHeader, strconv.Itoa(i+1)); status != 202 {
					t.Fatalf("sequence %d gets %d", i+1, status)
				}
			}
		}
		c.want(fmt.Sprintf(`{"id":%d,"type":"pong"}`, i))
	}
	c.send(`{"id":9,"type":"nonsense"}`)
	c.wantPrefix(`{"id":9,"type":"error","code":"invalid_argument"`)
}

func TestAStreamThatIsNotReadIsEndedInTime(t *testing.T) {
	for protocol, listen := range protocols {
		for name, row := range map[string]struct {
			section string
			size    int
			most    int // so many messages
			code    int
		}{
			// Room for a message or two that the fast client has, while their writer does not know it yet.
			"by its queue": {"queue_size: 128KiB, ping_timeout: 1m", 30_000, 1000, 4008},
			// The other client gets the time, too, and may be slow on a slow machine. The most is what no system keeps of a
			// connection's bytes, and the queue has.
			"by a write's time": {"queue_size: 64MiB, ping_timeout: 6s", 1 << 20, 30, 4009},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				rdb := redistest.Start(t).Client()
				g := startNodeWith(t, rdb, row.section, slog.New(slog.DiscardHandler), listen)
				g.events(t, "/")
				fast := g.events(t, "/")
				payload := `"` + strings.Repeat("x", row.size) + `"`
				gone := func() bool { return g.of(fmt.Sprint("closed ", row.code)) == 1 }
				for sent := 0; sent < row.most && !gone(); sent++ {
					publish(t, rdb, "cg:out:all", payload)
					fast.want(`{"type":"message","data":` + payload + `}`)
				}
				redistest.Eventually(t, "the session is gone", gone)
				fast.send(`{"id":1,"type":"ping"}`)
				redistest.Eventually(t, "the others go on", func() bool { _, data := fast.next(); return data == `{"id":1,"type":"pong"}` })
			})
		}
	}
}

func TestAPostToAnotherNodeWhileRedisIsGone(t *testing.T) {
	server := redistest.Start(t)
	g, other := startNode(t, server.Client(), ""), startNode(t, server.Client(), "")
	c := g.events(t, "/")
	server.Kill()
	c.want(`{"type":"bus","state":"down"}`)
	redistest.Eventually(t, "the other node knows", func() bool { return !other.BusUp() })
	if status := c.post(other, `{"id":1,"type":"ping"}`, wsbridge.SequenceHeader, "1"); status != http.StatusServiceUnavailable {
		t.Errorf("it gets %d", status)
	}
	if status := c.post(g, `{"id":1,"type":"ping"}`, wsbridge.SequenceHeader, "1"); status != http.StatusAccepted {
		t.Errorf("what needs no Redis gets %d", status)
	}
	c.want(`{"id":1,"type":"pong"}`)
	server.Restart()
	c.want(`{"type":"bus","state":"up"}`)
	redistest.Eventually(t, "the other node is back", other.BusUp)
	if status := c.post(other, `{"id":2,"type":"ping"}`, wsbridge.SequenceHeader, "2"); status != http.StatusAccepted {
		t.Errorf("it gets %d", status)
	}
	c.want(`{"id":2,"type":"pong"}`)
}

func TestStreamsCountAmongConnections(t *testing.T) {
	g, _ := start(t, "max_connections: 2")
	g.events(t, "/")
	g.dial(t, nil)
	answer, _ := g.ask(t, "/")
	if answer.StatusCode != http.StatusServiceUnavailable || g.of("limited connections") != 1 {
		t.Errorf("one too many gets %d", answer.StatusCode)
	}
}

func TestAPostOfManyMessagesEndsWithItsSession(t *testing.T) {
	g, _ := start(t, `queue_size: 16KiB`)
	c := g.events(t, "")
	lines := strings.Repeat("1\n", 500_000)
	c.send(lines) // none is a message, and each gets an answer, which nobody reads
	redistest.Eventually(t, "the session is gone", func() bool { return g.Connections() == 0 })
	if n := g.of("in"); n >= 500_000 {
		t.Errorf("%d messages of a session that has ended are handled", n)
	}
}
