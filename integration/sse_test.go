package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

const streamNode = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
drain: {reconnect_spread: 0s, timeout: 10m} # the test ends before
auth: [{name: keys, api_keys: {keys: [{id: ann, key: 0123456789abcdef0123, user: ann}]}, from: [{header: X-Key}, {query: key}]}]
routes:
  - {name: open, match: {path: /open}, compression: {streams: always}, websocket: {service: chat, origins: ["https://app.example.com"], channels: [{pattern: "*", subscribe: anyone}]}}
  - {name: keyed, match: {path: /keyed}, auth: {require: [keys]}, websocket: {service: chat}}
  - {name: any, match: {path: /any}, websocket: {service: chat, origins: ["*"]}}
  - {name: own, match: {path: /own}, cors: {origins: ["https://other.example.com"]}, websocket: {service: chat, origins: ["https://app.example.com"]}}
  - {name: off, match: {path: /off}, websocket: {service: chat, sse: false}}
  - {name: raw, match: {path: /raw}, websocket: {service: chat, mode: raw}}
`

// begin sends a request and returns what is answered before its body.
func begin(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	answer, err := send(soon(t), method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func TestWhoMayComeWithoutWebSocket(t *testing.T) {
	g := rig.StartGateway(t, streamNode)
	events, origin := []string{"Accept", "text/event-stream"}, []string{"Origin", "https://app.example.com"}
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,crossgate-session"}
	for _, row := range []struct {
		name, method, path string
		header             []string
		status             int
		allowed            string // Access-Control-Allow-Origin
	}{
		{"a client that asks for events", "GET", "/open", events, 200, ""},
		{"one that takes anything", "GET", "/open", []string{"Accept", "*/*"}, 426, ""},
		{"HEAD", "HEAD", "/open", events, 426, ""},
		{"a page of a listed origin", "GET", "/open", append(events, origin...), 200, "https://app.example.com"},
		{"a page of another", "GET", "/open", append(events, "Origin", "https://evil.example.com"), 403, ""},
		{"a page of any", "GET", "/any", append(events, "Origin", "https://evil.example.com"), 200, "*"},
		{"its POST is asked for", "OPTIONS", "/open", append(preflight, origin...), 204, "https://app.example.com"},
		{"another's POST is asked for", "OPTIONS", "/open", append(preflight, "Origin", "https://evil.example.com"), 204, ""},
		{"the route's own cors is asked", "OPTIONS", "/own", append(preflight, "Origin", "https://other.example.com"), 204, "https://other.example.com"},
		{"a caller without a key", "GET", "/keyed", events, 401, ""},
		{"a caller whose key is in the query", "GET", "/keyed?key=0123456789abcdef0123", events, 200, ""},
		{"a POST whose key is in the query", "POST", "/keyed?key=0123456789abcdef0123", nil, 400, ""},
		{"a POST without a key", "POST", "/keyed", nil, 401, ""},
		{"where it is off", "GET", "/off", events, 426, ""},
		{"a POST where it is off", "POST", "/off", nil, 405, ""},
		{"in raw mode", "GET", "/raw", events, 426, ""},
		{"a POST in raw mode", "POST", "/raw", nil, 405, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := begin(t, row.method, g.URL+row.path, "", row.header...)
			if got := answer.Header.Get("Access-Control-Allow-Origin"); answer.StatusCode != row.status || got != row.allowed {
				t.Errorf("%d for %q, want %d for %q", answer.StatusCode, got, row.status, row.allowed)
			}
			if row.method == "OPTIONS" && row.allowed != "" {
				for name, want := range map[string]string{"Methods": "POST", "Headers": "content-type,crossgate-session"} {
					if got := answer.Header.Get("Access-Control-Allow-" + name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			}
		})
	}
}

func TestAStreamThroughTheGateway(t *testing.T) {
	g := rig.StartGateway(t, streamNode)
	answer := begin(t, "GET", g.URL+"/open", "", "Accept", "text/event-stream") // the client asks for gzip by itself
	if !answer.Uncompressed {
		t.Error("the route compresses streams, but this one is not")
	}
	events := bufio.NewScanner(answer.Body)
	next := func() string {
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				return data
			}
		}
		return ""
	}
	var open struct{ Session string }
	if err := json.Unmarshal([]byte(next()), &open); err != nil {
		t.Fatal(err)
	}
	post := func(body string) int {
		return begin(t, "POST", g.URL+"/open", body, "Content-Type", "application/x-ndjson", "Crossgate-Session", open.Session).StatusCode
	}
	if status := post(`{"id":1,"type":"subscribe","channel":"room"}` + "\n" + `{"id":2,"type":"ping"}`); status != 202 {
		t.Fatal(status)
	}
	if got := []string{next(), next()}; !slices.Equal(got, []string{`{"id":1,"type":"ok","channel":"room"}`, `{"id":2,"type":"pong"}`}) {
		t.Fatal(got)
	}
	if status := post(strings.Repeat(" ", 5<<20)); status != 413 {
		t.Errorf("a POST larger than max_body_size gets %d", status)
	}
	if answer, list := ask(t, "GET", g.Admin+"/v1/connections?channel=room", ""); answer.StatusCode != 200 || !strings.Contains(list, `"transport":"sse"`) && !strings.Contains(list, `"transport": "sse"`) {
		t.Errorf("%d %s", answer.StatusCode, list)
	}
	lines := []string{
		`crossgate_websocket_connections{route="open",transport="sse"} 1`,
		`crossgate_websocket_connections{route="open",transport="websocket"} 0`,
		`crossgate_websocket_messages_total{direction="in",route="open",transport="sse"} 2`,
		`crossgate_websocket_messages_total{direction="out",route="open",transport="sse"} 2`,
		`crossgate_requests_total{code="202",protocol="sse",route="open"} 1`,
		`crossgate_requests_in_flight 0`,
	}
	rig.Eventually(t, rig.Patience, func() error { // a request is counted after its answer
		_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
		for _, line := range lines {
			if !strings.Contains(metrics, line+"\n") {
				return errors.New("no " + line)
			}
		}
		return nil
	})
	if err := g.Shutdown(); err != nil {
		t.Error(err)
	}
	if got := []string{next(), next()}; got[0] != `{"type":"goaway","reconnect_after_ms":0}` || !strings.HasPrefix(got[1], `{"code":4010,`) {
		t.Error(got)
	}
	if events.Scan(); events.Err() != nil && !errors.Is(events.Err(), io.EOF) && !errors.Is(events.Err(), context.Canceled) {
		t.Error(events.Err())
	}
}
