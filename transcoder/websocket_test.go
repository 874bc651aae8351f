package transcoder

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
)

// counts is SocketMetrics and the Admit of a call.
type counts struct {
	open, in, out, code atomic.Int64
	most                int64 // messages of the client's that are admitted; 0 for any number
}

func (c *counts) Opened()         { c.open.Add(1) }
func (c *counts) Closed(code int) { c.open.Add(-1); c.code.Store(int64(code)) }
func (c *counts) MessageIn()      { c.in.Add(1) }
func (c *counts) MessageOut()     { c.out.Add(1) }

func (c *counts) admit(context.Context) error {
	if c.most > 0 && c.in.Load() > c.most {
		return fault.New(fault.RateLimitExceeded, "too many")
	}
	return nil
}

// socketServer is a gateway of one method behind a WebSocket.
type socketServer struct {
	*counts
	url     string
	goAway  context.CancelFunc
	methods map[string]*descriptors.Method
}

// startSocket serves a method at its own path, or by its binding of a template.
func (s *shop) startSocket(name, template string, change func(*Options, *SocketOptions, *counts)) *socketServer {
	s.t.Helper()
	d := s.methods[name]
	binding := descriptors.Binding{HTTPMethod: "POST", Template: d.FullMethod, Body: "*"}
	for _, b := range d.Bindings {
		if b.Template == template {
			binding = b
			break
		}
	}
	served := &socketServer{counts: new(counts), methods: s.methods}
	o, so := Options{Backend: s.pool}, SocketOptions{}
	if change != nil {
		change(&o, &so, served.counts)
	}
	socket, err := CompileSocket(d, binding, o, so)
	if err != nil {
		s.t.Fatal(err)
	}
	parsed, err := routing.ParseTemplate(binding.Template)
	if err != nil {
		s.t.Fatal(err)
	}
	table, err := routing.Compile([]routing.Rule[bool]{{Template: parsed}})
	if err != nil {
		s.t.Fatal(err)
	}
	life, goAway := context.WithCancel(context.Background())
	served.goAway = goAway
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, vars, _ := table.Match(&routing.Request{Method: r.Method, Path: r.URL.EscapedPath()}, nil)
		socket.Serve(w, r, vars, SocketCall{Admit: served.admit, Metrics: served.counts, Life: life})
	}))
	s.t.Cleanup(func() { goAway(); server.Close() })
	served.url = server.URL
	return served
}

func (s *socketServer) dial(t testing.TB, path string, subprotocols ...string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, s.url+path, &websocket.DialOptions{Subprotocols: subprotocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// converse sends frames, "|" for the empty one, and returns the frames that come back and, at the end, the close code and
// reason.
func converse(t testing.TB, conn *websocket.Conn, frames ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, f := range frames {
		if f == "|" {
			f = ""
		}
		if conn.Write(ctx, websocket.MessageText, []byte(f)) != nil {
			break
		}
	}
	var got []string
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			var closed websocket.CloseError
			if ok := asClose(err, &closed); !ok {
				t.Fatalf("after %q: %v", got, err)
			}
			return strings.Join(append(got, fmt.Sprintf("%d %s", closed.Code, closed.Reason)), " ")
		}
		got = append(got, compact(data))
	}
}

// compact takes out the space that protojson puts in at random.
func compact(data []byte) string { return strings.ReplaceAll(string(data), `, \"`, `,\"`) }

func asClose(err error, closed *websocket.CloseError) bool {
	code := websocket.CloseStatus(err)
	if code == -1 {
		return false
	}
	closed.Code = code
	_, rest, _ := strings.Cut(err.Error(), `reason = "`)
	closed.Reason, _, _ = strings.Cut(rest, `"`)
	return true
}

func TestEveryKindOfMethodOverWebSocket(t *testing.T) {
	s := startShop(t, nil)
	const (
		report = "/v1/{name=shelves/*/items/*}"
		none   = ""
	)
	for _, c := range []struct {
		name, method, template, path string
		frames                       []string
		want                         string
	}{
		{"unary", "Echo", none, "/", []string{`{"title":"a"}`}, `{"title":"a"} 1000 `},
		{"unary, with the empty frame", "Echo", none, "/", []string{`{"title":"a"}`, "|"}, `{"title":"a"} 1000 `},
		{"unary with the empty message", "Echo", none, "/", []string{`{}`}, `{} 1000 `},
		{"unary without a message", "Echo", none, "/", []string{"|"}, "4103 the method takes one message, before the empty frame that ends the requests"},
		{"unary that fails", "Fail", none, "/", []string{`{"pageSize":5}`}, "4105 no <luck>"},
		{"a path's variable beside a message", "Update", report, "/v1/shelves/1/items/2", []string{`{"pageSize":3}`},
			`{"request":"{\"name\":\"shelves/1/items/2\",\"pageSize\":3}"} 1000 `},
		{"a path and a query that are the message", "Get", report, "/v1/shelves/1/items/2?page_size=3", nil,
			`{"request":"{\"name\":\"shelves/1/items/2\",\"pageSize\":3}"} 1000 `},
		{"a server stream that a path starts", "Watch", "/v1/watch", "/v1/watch?page_size=2", []string{"|"}, `{} {"count":1} 1000 `},
		{"a server stream", "Watch", none, "/", []string{`{"pageSize":2}`}, `{} {"count":1} 1000 `},
		{"a server stream that fails later", "Watch", none, "/", []string{`{"pageSize":1,"name":"fail"}`}, `{} 4110 no <luck>`},
		{"a server stream that fails at once", "Watch", none, "/", []string{`{"name":"fail"}`}, `4110 no <luck>`},
		{"a client stream", "Upload", none, "/", []string{`{}`, `{}`, "|"}, `{"request":"++"} 1000 `},
		{"a client stream without messages", "Upload", none, "/", []string{"|"}, `{} 1000 `},
		{"a client stream that fails", "Upload", none, "/", []string{`{"title":"fail"}`}, `4110 no <luck>`},
		{"a client stream that ends without an answer", "Upload", none, "/", []string{`{"title":"stop"}`}, "4113 "},
		{"a chat", "Chat", none, "/", []string{`{"title":"a"}`, `{"title":"b"}`, "|"}, `{"title":"a"} {"title":"b"} 1000 `},
		{"a chat without messages", "Chat", none, "/", []string{"|"}, `1000 `},
		{"a chat that the backend ends", "Chat", none, "/", []string{`{"title":"stop"}`}, `1000 `},
		{"a chat that fails", "Chat", none, "/", []string{`{"title":"a"}`, `{"title":"fail"}`}, `{"title":"a"} 4110 no <luck>`},
		{"a frame that is no JSON", "Chat", none, "/", []string{`{"`}, "4103 "},
		{"a frame of the wrong kind", "Chat", none, "/", []string{`{"count":"x"}`}, "4103 count: expected int32"},
		{"text that is no UTF-8", "Chat", none, "/", []string{"{\"title\":\"\xff\"}"}, "1007 a text frame is to be UTF-8"},
		{"a frame that is too large", "Chat", none, "/", []string{`{"title":"` + strings.Repeat("x", 5000) + `"}`}, "1009 the body is larger than the route's max_body_size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := s.startSocket(c.method, c.template, func(o *Options, _ *SocketOptions, _ *counts) { o.MaxBodySize = 1000 })
			if got := converse(t, socket.dial(t, c.path), c.frames...); !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestABadRequestIsRefusedBeforeTheUpgrade(t *testing.T) {
	s := startShop(t, nil)
	socket := s.startSocket("Watch", "/v1/watch", nil)
	for path, want := range map[string]int{"/v1/watch?nope=1": 400, "/v1/watch?page_size=x": 400} {
		_, answer, err := websocket.Dial(t.Context(), socket.url+path, nil)
		if err == nil || answer == nil || answer.StatusCode != want {
			t.Errorf("%s: %v, %v", path, answer, err)
		}
	}
	if n := socket.open.Load(); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
}

func TestTheBackendIsNotCalledForABrokenMessage(t *testing.T) {
	s := startShop(t, nil)
	socket := s.startSocket("Echo", "", nil)
	if got := converse(t, socket.dial(t, "/"), `{"nope":1}`); !strings.HasPrefix(got, "4103 ") {
		t.Errorf("%q", got)
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// item makes wire bytes of JSON.
func (s *socketServer) item(t testing.TB, md protoreflect.MessageDescriptor, text string) []byte {
	t.Helper()
	m := dynamicpb.NewMessage(md)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func TestBinaryFramesAreProtobuf(t *testing.T) {
	s := startShop(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	t.Run("and the answers are what the client sends", func(t *testing.T) {
		socket := s.startSocket("Chat", "", nil)
		conn := socket.dial(t, "/")
		wire := socket.item(t, s.methods["Chat"].Descriptor.Input(), `{"title":"a"}`)
		for _, kind := range []websocket.MessageType{websocket.MessageBinary, websocket.MessageText} {
			frame := wire
			if kind == websocket.MessageText {
				frame = []byte(`{"title":"a"}`)
			}
			if err := conn.Write(ctx, kind, frame); err != nil {
				t.Fatal(err)
			}
			got, data, err := conn.Read(ctx)
			if err != nil || got != kind || string(data) != string(frame) {
				t.Errorf("%v %q, %v; want %v %q", got, data, err, kind, frame)
			}
		}
	})
	t.Run("the empty binary frame is an empty message", func(t *testing.T) {
		socket := s.startSocket("Chat", "", nil)
		conn := socket.dial(t, "/")
		if err := conn.Write(ctx, websocket.MessageBinary, nil); err != nil {
			t.Fatal(err)
		}
		if kind, data, err := conn.Read(ctx); err != nil || kind != websocket.MessageBinary || len(data) != 0 {
			t.Errorf("%v %q, %v", kind, data, err)
		}
	})
	t.Run("unless the subprotocol says otherwise", func(t *testing.T) {
		for protocol, kind := range map[string]websocket.MessageType{SubprotocolJSON: websocket.MessageText, SubprotocolProto: websocket.MessageBinary} {
			socket := s.startSocket("Watch", "/v1/watch", nil)
			conn := socket.dial(t, "/v1/watch?page_size=1", protocol)
			if got, _, err := conn.Read(ctx); err != nil || got != kind || conn.Subprotocol() != protocol {
				t.Errorf("%s: %v, %v", protocol, got, err)
			}
		}
	})
	t.Run("a path's variables are set in the message", func(t *testing.T) {
		socket := s.startSocket("Update", "/v1/{name=shelves/*/items/*}", nil)
		conn := socket.dial(t, "/v1/shelves/1/items/2", SubprotocolJSON)
		wire := socket.item(t, s.methods["Update"].Descriptor.Input(), `{"name":"other","pageSize":3,"owner":{"id":"o"}}`)
		if err := conn.Write(ctx, websocket.MessageBinary, wire); err != nil {
			t.Fatal(err)
		}
		want := `{"request":"{\"name\":\"shelves/1/items/2\",\"pageSize\":3,\"owner\":{\"id\":\"o\"}}"}`
		if _, data, err := conn.Read(ctx); err != nil || compact(data) != want {
			t.Errorf("%s, %v, want %s", data, err, want)
		}
	})
	t.Run("and are refused where they are none", func(t *testing.T) {
		socket := s.startSocket("Update", "/v1/{name=shelves/*/items/*}", nil)
		conn := socket.dial(t, "/v1/shelves/1/items/2")
		if err := conn.Write(ctx, websocket.MessageBinary, []byte{0x0a, 0x7f}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4103 {
			t.Errorf("%v", err)
		}
	})
}

func TestMessagesAreAdmittedOneByOne(t *testing.T) {
	s := startShop(t, nil)
	socket := s.startSocket("Chat", "", func(_ *Options, _ *SocketOptions, c *counts) { c.most = 2 })
	got := converse(t, socket.dial(t, "/"), `{}`, `{}`, `{}`)
	if !strings.HasSuffix(got, "4108 too many") {
		t.Errorf("%q", got)
	}
	waitFor(t, "the session's end", func() bool { return socket.code.Load() == 4108 && socket.open.Load() == 0 })
	if in, out := socket.in.Load(), socket.out.Load(); in != 3 || out > 2 {
		t.Errorf("%d messages in, %d out", in, out)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has not come", what)
		}
	}
}

func TestAWebSocketThatGoesEndsTheCall(t *testing.T) {
	for name, leave := range map[string]func(*websocket.Conn){
		"without a word":         func(c *websocket.Conn) { _ = c.CloseNow() },
		"with a closing frame":   func(c *websocket.Conn) { _ = c.Close(websocket.StatusNormalClosure, "") },
		"with a frame too large": func(c *websocket.Conn) { _ = c.Write(context.Background(), websocket.MessageText, make([]byte, 5000)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startShop(t, nil)
			socket := s.startSocket("Chat", "", func(o *Options, _ *SocketOptions, _ *counts) { o.MaxBodySize = 1000 })
			conn := socket.dial(t, "/")
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := conn.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			leave(conn)
			select {
			case err := <-s.ended:
				if err == nil {
					t.Error("the backend took it for a good end")
				}
			case <-time.After(10 * time.Second):
				t.Error("the backend goes on")
			}
			_ = conn.CloseNow()
			waitFor(t, "the session's end", func() bool { return socket.open.Load() == 0 })
		})
	}
}

func TestAWebSocketEndsAtTheRoutesTimeoutAndWithTheGateway(t *testing.T) {
	s := startShop(t, nil)
	socket := s.startSocket("Watch", "", func(o *Options, _ *SocketOptions, _ *counts) { o.Timeout = 100 * time.Millisecond })
	if got := converse(t, socket.dial(t, "/"), `{"name":"hang","pageSize":1}`); !strings.HasPrefix(got, "{} 4104 ") {
		t.Errorf("%q", got)
	}
	socket = s.startSocket("Watch", "", nil)
	conn := socket.dial(t, "/")
	go func() {
		for s.calls.Load() < 2 {
			time.Sleep(time.Millisecond)
		}
		socket.goAway()
	}()
	if got := converse(t, conn, `{"name":"hang"}`); got != "1001 the gateway is going away" {
		t.Errorf("%q", got)
	}
}

func TestAClientThatDoesNotAnswerPingsIsLost(t *testing.T) {
	s := startShop(t, nil)
	pings := func(_ *Options, o *SocketOptions, _ *counts) {
		o.PingInterval, o.PingTimeout = 20*time.Millisecond, 500*time.Millisecond
	}
	socket := s.startSocket("Chat", "", pings)
	conn := socket.dial(t, "/") // never read from, and so it answers no ping
	waitFor(t, "the session's end", func() bool { return socket.open.Load() == 0 && socket.code.Load() == 1006 })
	_ = conn.CloseNow()

	t.Run("one that does stays", func(t *testing.T) {
		socket := s.startSocket("Watch", "", pings)
		conn := socket.dial(t, "/")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"name":"hang"}`)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != -1 || ctx.Err() == nil {
			t.Errorf("%v", err)
		}
	})
}

func TestCloseReasonsFitTheirFrame(t *testing.T) {
	code, reason := closing(fault.New(fault.InvalidRequest, strings.Repeat("ä", 100)))
	if code != closeBase+websocket.StatusCode(codes.InvalidArgument) || len(reason) > maxReason || strings.Trim(reason, "ä") != "" {
		t.Errorf("%d %q", code, reason)
	}
}
