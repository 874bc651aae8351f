package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

func TestCORS(t *testing.T) {
	listed := compileCORS(&config.CORS{Origins: []string{"https://app.example.com"}, Methods: []string{"GET", "PUT"}, Expose: []string{"X-A"}, Credentials: true})
	below := compileCORS(&config.CORS{Origins: []string{"https://*.example.com", "http://*.localhost:5173"}})
	anyone := compileCORS(&config.CORS{Origins: []string{"*"}, Expose: []string{"X-A"}})
	for _, c := range []struct {
		name                      string
		cors                      *cors
		origin                    string
		allowed, credential, vary string
	}{
		{"a listed origin", listed, "https://app.example.com", "https://app.example.com", "true", "Origin"},
		{"another", listed, "https://evil.example.com", "", "", "Origin"},
		{"another scheme", listed, "http://app.example.com", "", "", "Origin"},
		{"another port", listed, "https://app.example.com:8443", "", "", "Origin"},
		{"no origin", listed, "", "", "", "Origin"},
		{"a page without an origin", listed, "null", "", "", "Origin"},
		{"a name below", below, "https://app.example.com", "https://app.example.com", "", "Origin"},
		{"a name far below", below, "https://a.b.example.com", "https://a.b.example.com", "", "Origin"},
		{"a name below with its port", below, "http://a.localhost:5173", "http://a.localhost:5173", "", "Origin"},
		{"the name itself", below, "https://example.com", "", "", "Origin"},
		{"a name that only ends so", below, "https://evilexample.com", "", "", "Origin"},
		{"a name that goes on", below, "https://app.example.com.evil.com", "", "", "Origin"},
		{"a port that was not named", below, "https://app.example.com:8443", "", "", "Origin"},
		{"a name below of another scheme", below, "http://app.example.com", "", "", "Origin"},
		{"what is no name", below, "https://evil.com/.example.com", "", "", "Origin"},
		{"a user", below, "https://evil.com@.example.com", "", "", "Origin"},
		{"anyone's", anyone, "https://evil.example.com", "*", "", ""},
		{"nobody's", anyone, "null", "*", "", ""},
		{"anyone's, whom a cache may answer", anyone, "", "*", "", ""},
		{"a route without CORS", nil, "https://app.example.com", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			h := http.Header{}
			c.cors.decorate(h, r, rpc.None)
			if h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Access-Control-Allow-Credentials") != c.credential || h.Get("Vary") != c.vary {
				t.Errorf("headers %v", h)
			}
			exposed := ""
			if c.allowed != "" && c.cors != below {
				exposed = "X-A"
			}
			if got := h.Get("Access-Control-Expose-Headers"); got != exposed {
				t.Errorf("exposes %q", got)
			}
		})
	}
}

func TestCORSAllocatesNothing(t *testing.T) {
	r := &http.Request{Header: http.Header{"Origin": {"https://app.example.com"}}}
	h := http.Header{}
	for name, c := range map[string]*cors{
		"listed": compileCORS(&config.CORS{Origins: []string{"https://*.example.com"}, Expose: []string{"X-A"}, Credentials: true}),
		"any":    compileCORS(&config.CORS{Origins: []string{"*"}, Expose: []string{"X-A"}}),
	} {
		if n := testing.AllocsPerRun(100, func() {
			clear(h)
			c.decorate(h, r, rpc.None)
		}); n != 0 || len(h) < 2 {
			t.Errorf("%s: %v allocations, %v", name, n, h)
		}
	}
}

func TestAnswersExposeWhatTheProtocolsClientsRead(t *testing.T) {
	named := compileCORS(&config.CORS{Origins: []string{"*"}, Expose: []string{"X-A"}})
	silent := compileCORS(&config.CORS{Origins: []string{"*"}})
	for _, c := range []struct {
		cors     *cors
		protocol rpc.Protocol
		want     string
	}{
		{named, rpc.None, "X-A"},
		{named, rpc.GRPC, "X-A"},
		{named, rpc.GRPCWeb, "X-A, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Grpc-Encoding"},
		{silent, rpc.GRPCWebText, "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, Grpc-Encoding"},
		{named, rpc.ConnectGet, "X-A, Content-Encoding, Connect-Content-Encoding"},
		{silent, rpc.None, ""},
	} {
		h := http.Header{}
		c.cors.decorate(h, &http.Request{Header: http.Header{"Origin": {"https://app.example.com"}}}, c.protocol)
		if got := h.Get("Access-Control-Expose-Headers"); got != c.want {
			t.Errorf("protocol %d exposes %q, want %q", c.protocol, got, c.want)
		}
	}
}

func TestPreflight(t *testing.T) {
	const vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	plain := config.CORS{Origins: []string{"https://app.example.com"}}
	lists := config.CORS{Origins: []string{"https://app.example.com"}, Methods: []string{"GET", "PUT"}, Headers: []string{"Authorization", "X-A"}, Credentials: true, MaxAge: config.Duration(90e9)}
	private := config.CORS{Origins: []string{"*"}, PrivateNetwork: true}
	for _, c := range []struct {
		name   string
		cors   config.CORS
		ask    []string // header, value…
		answer map[string]string
	}{
		{"what is asked for", plain, []string{"Access-Control-Request-Headers", "x-a, x-b"}, map[string]string{
			"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "DELETE", "Access-Control-Allow-Headers": "x-a, x-b",
			"Access-Control-Max-Age": "0", "Vary": vary,
		}},
		{"what the route has", lists, []string{"Access-Control-Request-Headers", "x-b"}, map[string]string{
			"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "Authorization, X-A",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "90", "Vary": vary,
		}},
		{"another origin", lists, []string{"Origin", "https://evil.example.com", "Access-Control-Request-Private-Network", "true"}, map[string]string{"Vary": vary}},
		{"a private network that is not let in", plain, []string{"Access-Control-Request-Private-Network", "true"}, map[string]string{
			"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Methods": "DELETE", "Access-Control-Max-Age": "0", "Vary": vary,
		}},
		{"a private network", private, []string{"Access-Control-Request-Private-Network", "true"}, map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "DELETE", "Access-Control-Max-Age": "0",
			"Access-Control-Allow-Private-Network": "true", "Vary": vary + ", Access-Control-Request-Private-Network",
		}},
		{"a public one", private, nil, map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "DELETE", "Access-Control-Max-Age": "0",
			"Vary": vary + ", Access-Control-Request-Private-Network",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("OPTIONS", "/", nil)
			r.Header.Set("Origin", "https://app.example.com")
			r.Header.Set("Access-Control-Request-Method", "DELETE")
			for i := 0; i < len(c.ask); i += 2 {
				r.Header.Set(c.ask[i], c.ask[i+1])
			}
			if !isPreflight(r) {
				t.Fatal("not taken for a preflight")
			}
			w := httptest.NewRecorder()
			compileCORS(&c.cors).preflight(w, r)
			if w.Code != http.StatusNoContent || len(w.Header()) != len(c.answer) {
				t.Errorf("status %d, headers %v", w.Code, w.Header())
			}
			for name, want := range c.answer {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
