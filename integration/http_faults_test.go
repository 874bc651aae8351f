package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/crossgate/crossgate/integration/rig"
)

// rawBackend starts a server that has answer talk over each connection, numbered from 1, and returns its address.
func rawBackend(t testing.TB, answer func(conn net.Conn, n int)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(rig.Patience))
				answer(conn, n)
			})
		}
	})
	return l.Addr().String()
}

// readHead reads a request without a body.
func readHead(r *bufio.Reader) bool {
	_, err := http.ReadRequest(r)
	return err == nil
}

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func TestAnHTTPBackendThatFailsIsAProblemOfItsOwnKind(t *testing.T) {
	says := func(text string) func(net.Conn, int) {
		return func(conn net.Conn, _ int) {
			if readHead(bufio.NewReader(conn)) {
				_, _ = io.WriteString(conn, text)
			}
		}
	}
	for name, c := range map[string]struct {
		backend func(net.Conn, int)
		status  int
		reason  string
	}{
		"it closes without a word": {says(""), 503, "UPSTREAM_DISCONNECTED"},
		"it resets": {func(conn net.Conn, _ int) {
			readHead(bufio.NewReader(conn))
			reset(conn)
		}, 503, "UPSTREAM_DISCONNECTED"},
		"it stops in the header":          {says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), 503, "UPSTREAM_DISCONNECTED"},
		"it speaks something else":        {says("\x00\x01garbage\r\n\r\n"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"its header is malformed":         {says("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"its status is none":              {says("HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"it has two lengths":              {says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"its header never ends":           {says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"it switches protocols unasked":   {says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), 502, "UPSTREAM_RESPONSE_INVALID"},
		"it says nothing for a long time": {func(conn net.Conn, _ int) { _, _ = io.Copy(io.Discard, conn) }, 504, "DEADLINE_EXCEEDED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := "1m"
			if c.status == http.StatusGatewayTimeout {
				timeout = "1s"
			}
			g := httpGateway(t, rawBackend(t, c.backend), "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}, timeout: "+timeout+"}\n")
			answer, body := ask(t, "GET", g.URL+"/", "", "Accept", "application/problem+json")
			if answer.StatusCode != c.status || !strings.Contains(body, c.reason) || strings.Contains(body, "127.0.0.1") {
				t.Errorf("%s %s", answer.Status, body)
			}
		})
	}
	t.Run("it is not there", func(t *testing.T) {
		g := httpGateway(t, rig.FreeAddress(t), "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}}\n")
		answer, body := ask(t, "POST", g.URL+"/", "{}")
		if answer.StatusCode != 503 || !strings.Contains(body, "UPSTREAM_UNREACHABLE") {
			t.Errorf("%s %s", answer.Status, body)
		}
	})
}

// TestAnAnswerThatBreaksOffNeverLooksWhole is about what RFC 9112 section 8 asks of a proxy.
func TestAnAnswerThatBreaksOffNeverLooksWhole(t *testing.T) {
	for name, text := range map[string]string{
		"of known length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"in chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"in bad chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
		"to be compressed": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" +
			strings.Repeat("x", 4096) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			g := httpGateway(t, rawBackend(t, func(conn net.Conn, _ int) {
				if readHead(bufio.NewReader(conn)) {
					_, _ = io.WriteString(conn, text)
				}
			}), "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}}\n")
			for _, client := range []*http.Client{overHTTP1(t), overHTTP2(t)} {
				r, err := http.NewRequestWithContext(soon(t), "GET", g.URL+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept-Encoding", "gzip")
				answer, err := client.Do(r)
				if err != nil {
					continue // before the header went out
				}
				if body, err := io.ReadAll(answer.Body); err == nil {
					t.Errorf("the answer looks whole: %q", body)
				}
				answer.Body.Close()
			}
			rig.Eventually(t, rig.Patience, func() error {
				if !strings.Contains(g.Log(), `"reason":"the answer was broken off"`) {
					return errors.New("the access log does not say so")
				}
				return nil
			})
		})
	}
}

// TestARequestIsSentAgainOnlyWhereThatIsSafe has the backend close each connection as its second request comes.
func TestARequestIsSentAgainOnlyWhereThatIsSafe(t *testing.T) {
	var requests atomic.Int32
	address := rawBackend(t, func(conn net.Conn, _ int) {
		reader := bufio.NewReader(conn)
		for n := 1; readHead(reader); n++ {
			requests.Add(1)
			if n == 2 {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for _, c := range []struct {
		method         string
		status, reched int32
	}{{"GET", 200, 3}, {"HEAD", 200, 3}, {"POST", 503, 2}, {"PATCH", 503, 2}} {
		g := httpGateway(t, address, "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}}\n")
		requests.Store(0)
		if answer, _ := ask(t, "GET", g.URL+"/", ""); answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
		answer, _ := ask(t, c.method, g.URL+"/", "")
		if answer.StatusCode != int(c.status) || requests.Load() != c.reched {
			t.Errorf("%s: %s, and the backend had %d requests", c.method, answer.Status, requests.Load())
		}
	}
}

// TestAQueryCannotEndTheRequestLine sends over HTTP/2 what HTTP/1.1 has no way to say.
func TestAQueryCannotEndTheRequestLine(t *testing.T) {
	reached := make(chan string, 10)
	g := httpGateway(t, httpBackend(t, func(_ http.ResponseWriter, r *http.Request) { reached <- r.RequestURI }), "",
		"\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}}\n")
	for path, want := range map[string]string{"/a?x HTTP/1.1": "400", "/a?x#y": "400", "/a?x": "200"} {
		conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", g.Addresses()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(rig.Patience))
		_, _ = io.WriteString(conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = framer.WriteSettings()
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatal(path, err)
			}
			if h, ok := frame.(*http2.MetaHeadersFrame); ok {
				if got := h.PseudoValue("status"); got != want {
					t.Errorf("%s: status %s, want %s", path, got, want)
				}
				break
			}
		}
	}
	if n := len(reached); n != 1 {
		t.Errorf("%d requests reached the backend", n)
	}
}

func TestRedirects(t *testing.T) {
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
routes:
  - {name: https, match: {path_prefix: /}, redirect: {to: "https://{host}{path}", status: 308}}
  - {name: moved, match: {path_prefix: /old/}, redirect: {to: "/new/{rest}", status: 301}}
  - {name: item, match: {template: "/items/{id}/{tail=**}"}, redirect: {to: "https://shop.example/i/{path.id}?t={path.tail}", status: 302}}
  - {name: segment, match: {template: "/segment/{x}"}, redirect: {to: "/{path.x}"}}
  - {name: drop, match: {path: /drop}, redirect: {to: /to, query: drop, status: 303}}
`)
	client := overHTTP1(t)
	for path, want := range map[string]string{
		"/a%20b/c?d=%2F":           "308 https://gate.example:8/a%20b/c?d=%2F",
		"/old/x/y?q":               "301 /new/x/y?q",
		"/old/":                    "301 /new/",
		"/old//evil":               "400 ",
		"/old/..":                  "400 ",
		"/items/a%20b%3Fc/x/y?q":   "302 https://shop.example/i/a%20b%3Fc?t=x/y&q",
		"/items/@evil/":            "302 https://shop.example/i/%40evil?t=",
		"/segment/%2Fevil.example": "400 ",
		"/segment/%5Cevil":         "307 /%5Cevil",
		"/drop?q":                  "303 /to",
		"//evil.example/a":         "400 ",
	} {
		r, err := http.NewRequestWithContext(soon(t), "GET", g.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "gate.example:8"
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := fmt.Sprint(answer.StatusCode, " ", answer.Header.Get("Location")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestHTTPRoutesAreAdmittedAsAllOthers(t *testing.T) {
	var reached atomic.Int32
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
auth: [{name: keys, api_keys: {keys: [{id: acme, key: 0123456789abcdef0123456789, user: ann}]}}]
upstreams: [{name: app, protocol: http, endpoints: [%q]}]
routes:
  - name: app
    match: {path_prefix: /}
    http: {upstream: app, request_headers: {set: {X-User: "{user}"}}}
    auth: {require: [keys]}
    cors: {origins: [https://app.example.com]}
    rate_limits: [{per: user, rate: 1/h, burst: 2}]
`, httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Was", r.Header.Get("X-User"))
	})))
	for i, c := range []struct {
		key, user string
		status    int
	}{{"", "", 401}, {"wrong", "", 401}, {"0123456789abcdef0123456789", "ann", 200}, {"0123456789abcdef0123456789", "ann", 200}, {"0123456789abcdef0123456789", "", 429}} {
		header := []string{"X-User", "root", "Origin", "https://app.example.com"}
		if c.key != "" {
			header = append(header, "X-Api-Key", c.key)
		}
		answer, body := ask(t, "GET", g.URL+"/", "", header...)
		if answer.StatusCode != c.status || answer.Header.Get("X-Was") != c.user {
			t.Errorf("%d: %s %s %v", i, answer.Status, body, answer.Header)
		}
		if origins := answer.Header["Access-Control-Allow-Origin"]; len(origins) != 1 || origins[0] != "https://app.example.com" {
			t.Errorf("%d: origins %v", i, origins)
		}
	}
	if reached.Load() != 2 {
		t.Errorf("%d requests reached the backend", reached.Load())
	}
	rig.Eventually(t, rig.Patience, func() error {
		if !strings.Contains(g.Log(), `"protocol":"http","method":"GET"`) || !strings.Contains(g.Log(), `"route":"app","binding":"/**","upstream":"app","user":"ann"`) {
			return errors.New("the access log has no such line")
		}
		return nil
	})
	_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
	if !strings.Contains(metrics, `crossgate_requests_total{code="200",protocol="http",route="app"} 2`) {
		t.Error("the metric is missing")
	}
}
