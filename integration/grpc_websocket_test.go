package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// socketGateway starts a gateway whose one route has keys of its own, and of its websocket section.
func socketGateway(t testing.TB, backend, socket, route string) *rig.Gateway {
	t.Helper()
	return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
drain: {timeout: 300ms}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
auth:
  - name: keys
    api_keys: {keys: [{id: one, key: 0123456789abcdef0123}]}
    from: [{query: key}]
routes:
  - name: test
    grpc: {upstream: test, services: ["crossgate.test.v1.*"], websocket: {%s}}
    %s
`, backend, socket, route))
}

// talk sends text frames and returns those that come back, and the close code.
func talk(t testing.TB, url string, frames ...string) ([]string, websocket.StatusCode) {
	t.Helper()
	ctx := soon(t)
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, f := range frames {
		if conn.Write(ctx, websocket.MessageText, []byte(f)) != nil {
			break
		}
	}
	var got []string
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return got, websocket.CloseStatus(err)
		}
		got = append(got, string(data))
	}
}

func TestWebSocketCallsAMethodAtItsPaths(t *testing.T) {
	g := socketGateway(t, testserver.Start(t).Address, "", "")
	for name, c := range map[string]struct {
		path   string
		frames []string
		want   string
	}{
		"its own":                             {"/crossgate.test.v1.Streams/Count", []string{`{"n":1}`}, `{"i":0,"padding":""}`},
		"that of a binding by POST":           {"/stream/v1/count", []string{`{"n":1}`}, `{"i":0,"padding":""}`},
		"that of a binding by GET, all of it": {"/stream/v1/count/1?padding=1", nil, `{"i":0,"padding":"x"}`},
		"that of many bindings, by GET":       {"/bind/v1/things/a", nil, `"name":"things/a"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, code := talk(t, g.URL+c.path, c.frames...)
			if code != websocket.StatusNormalClosure || len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("%q, %d; want %s", got, code, c.want)
			}
		})
	}
	t.Run("which serve plain HTTP still", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+"/stream/v1/count/1", "", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c")
		if answer.StatusCode != http.StatusOK || body != "{\"i\":0,\"padding\":\"\"}\n" {
			t.Errorf("%s: %s", answer.Status, body)
		}
		answer, _ = ask(t, "GET", g.URL+"/stream/v1/count", "")
		if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "POST" {
			t.Errorf("%s, Allow %q", answer.Status, answer.Header.Get("Allow"))
		}
	})
	t.Run("but only where the route says so", func(t *testing.T) {
		g := oneRoute(t, testserver.Start(t).Address, "", "")
		for path, want := range map[string]int{"/stream/v1/count": http.StatusMethodNotAllowed, "/stream/v1/count/1": http.StatusOK} {
			_, answer, err := websocket.Dial(soon(t), g.URL+path, nil)
			if err == nil || answer == nil || answer.StatusCode != want {
				t.Errorf("%s: %v, %v", path, answer, err)
			}
		}
	})
}

func TestWebSocketCallsAreAdmittedLikeEveryRequest(t *testing.T) {
	backend := testserver.Start(t)
	dial := func(t *testing.T, g *rig.Gateway, path string, header ...string) int {
		t.Helper()
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		conn, answer, err := websocket.Dial(soon(t), g.URL+path, &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			conn.CloseNow()
		}
		if answer == nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	const path = "/crossgate.test.v1.Streams/Talk"
	t.Run("by origin", func(t *testing.T) {
		g := socketGateway(t, backend.Address, `origins: ["https://app.example.com"]`, "")
		for origin, want := range map[string]int{
			"https://app.example.com": 101, "https://evil.example.com": 403, g.URL: 101, "null": 403,
		} {
			if got := dial(t, g, path, "Origin", origin); got != want {
				t.Errorf("%s: %d, want %d", origin, got, want)
			}
		}
	})
	t.Run("by credential, in the query too, which is no field", func(t *testing.T) {
		g := socketGateway(t, backend.Address, "", "auth: {require: [keys]}")
		for query, want := range map[string]int{"": 401, "?key=wrong": 401, "?key=0123456789abcdef0123": 101} {
			if got := dial(t, g, "/stream/v1/count/1"+query); got != want {
				t.Errorf("%q: %d, want %d", query, got, want)
			}
		}
	})
	t.Run("by rate", func(t *testing.T) {
		g := socketGateway(t, backend.Address, "", "rate_limits: [{per: ip, rate: 1/h}]")
		if first, second := dial(t, g, path), dial(t, g, path); first != 101 || second != 429 {
			t.Errorf("%d, then %d", first, second)
		}
	})
	t.Run("by the rate of their messages", func(t *testing.T) {
		g := socketGateway(t, backend.Address, "message_rate_limits: [{per: connection, rate: 2/h}]", "")
		got, code := talk(t, g.URL+path, `{"text":"a"}`, `{"text":"b"}`, `{"text":"c"}`)
		if code != 4108 || len(got) > 2 {
			t.Errorf("%q, %d; want at most 2 and 4108", got, code)
		}
		rig.Eventually(t, rig.Patience, func() error { // the session's end is counted after the client has heard of it
			_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
			for _, line := range []string{
				`crossgate_refusals_total{reason="limit_exceeded",route="test"} 1`,
				`crossgate_websocket_closes_total{code="4108",route="test"} 1`,
				`crossgate_websocket_messages_total{direction="in",route="test",transport="websocket"} 3`,
			} {
				if !strings.Contains(metrics, line) {
					return errors.New("no " + line)
				}
			}
			return nil
		})
	})
}

func TestWebSocketCallsEndWithTheDrainTime(t *testing.T) {
	g := socketGateway(t, testserver.Start(t).Address, "", "timeout: 1m")
	ctx := soon(t)
	conn, _, err := websocket.Dial(ctx, g.URL+"/crossgate.test.v1.Streams/Talk", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"text":"a"}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Shutdown()
	}()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("%v, want code 1001", err)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("the gateway waits still")
	}
}

// A client of a WebSocket that goes is as one of any call.
func TestWebSocketClientGoneCancelsTheBackend(t *testing.T) {
	backend := testserver.Start(t)
	g := socketGateway(t, backend.Address, "", "timeout: 1m")
	before := backend.Calls()
	ctx := soon(t)
	conn, _, err := websocket.Dial(ctx, g.URL+"/control/v1/wait?time=60s", nil)
	if err != nil {
		t.Fatal(err)
	}
	called(t, backend, before)
	_ = conn.CloseNow()
	wantCanceled(t, backend, 1)
}
