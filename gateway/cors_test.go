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
	anyone := compileCORS(&config.CORS{Origins: []string{"*"}})
	for _, c := range []struct {
		name                string
		cors                *cors
		origin              string
		allowed, credential string
	}{
		{"a listed origin", listed, "https://app.example.com", "https://app.example.com", "true"},
		{"another", listed, "https://evil.example.com", "", ""},
		{"no origin", listed, "", "", ""},
		{"anyone's", anyone, "https://evil.example.com", "*", ""},
		{"a route without CORS", nil, "https://app.example.com", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			h := http.Header{}
			c.cors.decorate(h, r, rpc.None)
			if h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("Access-Control-Allow-Credentials") != c.credential {
				t.Errorf("headers %v", h)
			}
			if c.cors == listed && h.Get("Vary") != "Origin" {
				t.Error("the answer depends on the origin and does not say so")
			}
		})
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
	c := compileCORS(&config.CORS{Origins: []string{"https://app.example.com"}})
	ask := func(origin string) http.Header {
		r := httptest.NewRequest("OPTIONS", "/", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "DELETE")
		r.Header.Set("Access-Control-Request-Headers", "x-a, x-b")
		if !isPreflight(r) {
			t.Fatal("not taken for a preflight")
		}
		w := httptest.NewRecorder()
		c.preflight(w, r)
		if w.Code != http.StatusNoContent {
			t.Errorf("status %d", w.Code)
		}
		return w.Header()
	}
	h := ask("https://app.example.com")
	if h.Get("Access-Control-Allow-Methods") != "DELETE" || h.Get("Access-Control-Allow-Headers") != "x-a, x-b" {
		t.Errorf("headers %v", h)
	}
	if h := ask("https://evil.example.com"); h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("another origin is let in: %v", h)
	}
}
