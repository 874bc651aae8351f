package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/rig"
)

// overHTTP2 is a client that speaks h2c.
func overHTTP2(t testing.TB) *http.Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// overHTTP1 is a client that follows no redirects and shares no connections.
func overHTTP1(t testing.TB) *http.Client {
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: rig.Patience}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// streams is a backend that answers in pieces.
func streams(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	switch r.URL.Path {
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		fallthrough
	case "/pieces": // each as the client asks for it
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintf(w, "data: %s\n\n", lines.Text())
			_ = rc.Flush()
		}
	case "/trailers":
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Announced", "a")
		w.Header().Set(http.TrailerPrefix+"X-Surprise", "b")
	case "/surprise":
		_, _ = io.WriteString(w, "b")
		_ = rc.Flush()
		for name, value := range map[string]string{"X-Surprise": "b", "Content-Length": "7", "Host": "x", "Connection": "close", "X-Request-Id": "forged"} {
			w.Header().Set(http.TrailerPrefix+name, value)
		}
	case "/hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Last", "1")
		_, _ = io.WriteString(w, "done")
	case "/json":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Vary", "Origin")
		w.Header().Set("Etag", `"tag"`)
		_, _ = io.WriteString(w, `"`+strings.Repeat("x", 4096)+`"`)
	case "/forever":
		_ = rc.Flush()
		<-r.Context().Done()
	default:
		dump(w, r)
	}
}

// TestHTTPStreamsBothWays runs over each pair of HTTP versions, and to backends with TLS.
func TestHTTPStreamsBothWays(t *testing.T) {
	gone := make(chan struct{}, 100)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		streams(w, r)
		if r.URL.Path == "/forever" {
			gone <- struct{}{}
		}
	})
	certificate, key := rig.Certificate(t)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	start := func(version string, secure bool) string {
		var protocols http.Protocols
		protocols.SetHTTP1(version != "2")
		protocols.SetHTTP2(secure && version != "1.1")
		protocols.SetUnencryptedHTTP2(!secure && version == "2")
		s := httptest.NewUnstartedServer(handler)
		s.Config.Protocols = &protocols
		if secure {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			s.EnableHTTP2 = version != "1.1"
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	routes := `
  - {name: all, match: {path_prefix: /}, http: {upstream: app, via: edge}, compression: {min_size: 1KiB}}
`
	secure := fmt.Sprintf(", tls: {ca: %q}", certificate)
	for name, g := range map[string]*rig.Gateway{
		"HTTP/1.1":          httpGateway(t, start("1.1", false), "", routes),
		"h2c":               httpGateway(t, start("2", false), `, http_version: "2"`, routes),
		"HTTP/1.1 over TLS": httpGateway(t, start("1.1", true), secure, routes),
		"HTTP/2 over TLS":   httpGateway(t, start("auto", true), secure, routes),
	} {
		for from, client := range map[string]*http.Client{"HTTP/1.1": overHTTP1(t), "HTTP/2": overHTTP2(t)} {
			t.Run(from+" to "+name, func(t *testing.T) { streamsBothWays(t, g, client, strings.Contains(name, "2"), gone) })
		}
	}
}

func streamsBothWays(t *testing.T, g *rig.Gateway, client *http.Client, to2 bool, gone chan struct{}) {
	do := func(t *testing.T, ctx context.Context, method, path string, body io.Reader) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, g.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	for _, path := range []string{"/events", "/pieces"} {
		t.Run("pieces go out as they come: "+path, func(t *testing.T) {
			read, write := io.Pipe()
			answer := do(t, soon(t), "POST", path, read) // the header alone has come
			lines := bufio.NewScanner(answer.Body)
			for i := range 3 {
				fmt.Fprintf(write, "%d\n", i)
				if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
					t.Fatalf("piece %d: %q %v", i, lines.Text(), lines.Err())
				}
			}
			write.Close()
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("after the end: %q %v", lines.Text(), lines.Err())
			}
		})
	}
	t.Run("trailers", func(t *testing.T) {
		answer := do(t, soon(t), "GET", "/trailers", nil)
		if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "body" {
			t.Fatal(string(body), err)
		}
		if answer.Trailer.Get("X-Announced") != "a" || answer.Trailer.Get("X-Surprise") != "b" {
			t.Errorf("%v", answer.Trailer)
		}
	})
	t.Run("trailers that nobody has announced", func(t *testing.T) {
		answer := do(t, soon(t), "GET", "/surprise", nil)
		if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "b" {
			t.Fatal(string(body), err)
		}
		if len(answer.Trailer) != 1 || answer.Trailer.Get("X-Surprise") != "b" {
			t.Errorf("%v, want one", answer.Trailer)
		}
	})
	t.Run("early hints", func(t *testing.T) {
		var hints atomic.Value
		ctx := httptrace.WithClientTrace(soon(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints.Store(fmt.Sprint(code, " ", h.Get("Link"), h.Get("X-Request-Id")))
			return nil
		}})
		answer := do(t, ctx, "GET", "/hints", nil)
		if got := hints.Load(); got != "103 </style.css>; rel=preload" {
			t.Errorf("%v", got)
		}
		if h := answer.Header; h.Get("X-Last") != "1" || h.Get("X-Request-Id") == "" || !strings.HasSuffix(h.Get("Via"), " edge") {
			t.Errorf("%v", h)
		}
	})
	t.Run("the version makes no difference to what the backend gets", func(t *testing.T) {
		body, err := io.ReadAll(do(t, soon(t), "PUT", "/a%7Eb?c", strings.NewReader("hello")).Body)
		if err != nil || !strings.HasPrefix(string(body), "PUT /a%7Eb?c\nHost: "+strings.TrimPrefix(g.URL, "http://")) || !strings.Contains(string(body), "Length: 5 []\n\nhello") {
			t.Errorf("%s %v", body, err)
		}
	})
	t.Run("a client that leaves ends the request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(soon(t))
		do(t, ctx, "GET", "/forever", nil)
		cancel()
		select {
		case <-gone:
		case <-soon(t).Done():
			t.Error("the backend goes on")
		}
	})
	t.Run("answers are compressed", func(t *testing.T) {
		r, err := http.NewRequestWithContext(soon(t), "GET", g.URL+"/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if h := answer.Header; h.Get("Content-Encoding") != "gzip" || strings.Join(h["Vary"], ", ") != "Origin, Accept-Encoding" || h.Get("Etag") != `W/"tag"` {
			t.Errorf("%v", h)
		}
	})
}

func TestTheBackendDecidesWhetherABodyIsWanted(t *testing.T) {
	// 417 comes before a byte of the body is read.
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" || r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		dump(w, r)
	})
	g := httpGateway(t, address, "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}}\n")
	for path, want := range map[string]string{"/no": "417", "/yes": "100"} {
		conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", g.Addresses()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", path)
		reader := bufio.NewReader(conn)
		line, err := reader.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Fatalf("%s: %q %v", path, line, err)
		}
		if want == "417" {
			// Nothing may be taken for the body or for another request.
			rest, err := io.ReadAll(reader)
			if err != nil || !strings.Contains(string(rest), "Connection: close") {
				t.Errorf("%q %v", rest, err)
			}
			continue
		}
		_, _ = reader.ReadString('\n')
		fmt.Fprint(conn, "hello")
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 || !strings.Contains(string(body), "\nhello\n") {
			t.Errorf("%s %s %v", answer.Status, body, err)
		}
	}
}

func TestAWebSocketPassesWhereTheRouteAllowsIt(t *testing.T) {
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, append([]byte(r.URL.RequestURI()+" "), message...)) != nil {
				return
			}
		}
	})
	g := httpGateway(t, address, "", `
  - {name: ws, match: {path: /ws}, http: {upstream: app, upgrades: [websocket]}, timeout: 200ms}
  - {name: idle, match: {path: /idle}, http: {upstream: app, upgrades: ["*"], idle_timeout: 50ms}}
  - {name: no, match: {path: /no}, http: {upstream: app}}
`)
	dial := func(path string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(soon(t), g.URL+path, &websocket.DialOptions{Subprotocols: []string{"chat"}})
	}
	var c *websocket.Conn
	rig.Eventually(t, rig.Patience, func() (err error) { // a slow machine may take longer over the upgrade than the route does
		c, _, err = dial("/ws?a=b")
		return err
	})
	defer c.CloseNow()
	for i := range 3 {
		if err := c.Write(soon(t), websocket.MessageText, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		if _, message, err := c.Read(soon(t)); err != nil || string(message) != fmt.Sprintf("/ws?a=b %d", i) {
			t.Fatalf("%q %v", message, err)
		}
		time.Sleep(100 * time.Millisecond) // longer than the route's timeout, all in all
	}
	if c.Subprotocol() != "chat" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	if idle, _, err := dial("/idle"); err != nil {
		t.Error(err)
	} else if _, _, err := idle.Read(soon(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent connection: %v", err)
	}
	if _, answer, err := dial("/no"); err == nil || answer == nil || answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("where it is not allowed: %v %v", answer, err)
	}
	rig.Eventually(t, rig.Patience, func() error {
		if !strings.Contains(g.Log(), `"path":"/idle","status":101`) {
			return errors.New("no line in the access log")
		}
		return nil
	})
}

// TestALargeBodyPassesInConstantMemory sends bytes up and gets them back, both at the same time.
func TestALargeBodyPassesInConstantMemory(t *testing.T) {
	size := int64(1 << 30)
	if rig.Race {
		size >>= 3
	}
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, r.Body, make([]byte, 64<<10))
	})
	g := httpGateway(t, address, "", "\n  - {name: all, match: {path_prefix: /}, http: {upstream: app}, max_body_size: 2GiB, timeout: 0s}\n")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, err := http.NewRequestWithContext(soon(t), "POST", g.URL+"/", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := overHTTP1(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, make([]byte, 64<<10))
	if err != nil || n != size {
		t.Fatalf("%d bytes of %d came back: %v", n, size, err)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 32<<20 {
		t.Errorf("%d MB more memory", grown>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
