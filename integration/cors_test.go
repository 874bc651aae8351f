package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// corsGateway starts a gateway with routes of each kind that let the pages of origin in. Its HTTP backend lets everybody
// in, and says by which method it was called.
func corsGateway(t *testing.T, origin string) *rig.Gateway {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Called", r.Method)
	}))
	t.Cleanup(backend.Close)
	cors := fmt.Sprintf("cors: {origins: [%q], credentials: true, expose: [X-Called]}", origin)
	return rig.StartGateway(t, strings.ReplaceAll(fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: test, endpoints: [%q]}
  - {name: pages, protocol: http, endpoints: [%q]}
descriptors: [{reflection: {upstream: test}}]
auth: [{name: keys, api_keys: {keys: [{id: ann, key: 0123456789abcdef0123, user: ann}]}, from: [{header: X-Key}]}]
routes:
  - {name: grpc, match: {path_prefix: /bind/}, grpc: {upstream: test, services: ["crossgate.test.v1.*"]}, auth: {require: [keys]}, CORS}
  - {name: http, match: {path: /http}, http: {upstream: pages}, CORS}
  - {name: version, match: {path: /version, headers: {X-Version: "2"}}, http: {upstream: pages}, CORS}
  - {name: backend, match: {path: /backend}, http: {upstream: pages}}
  - {name: open, match: {path: /open}, respond: {}, cors: {origins: ["*"]}}
  - {name: closed, match: {path: /closed}, respond: {}}
  - {name: socket, match: {path: /ws}, websocket: {service: nobody, origins: [%q]}}
`, testserver.Start(t).Address, backend.Listener.Addr(), origin), "CORS", cors))
}

func TestRoutesOfEveryKindAnswerPreflights(t *testing.T) {
	const page = "https://app.example.com"
	g := corsGateway(t, page)
	for _, c := range []struct {
		name, path, method, headers string
		status                      int
		allowed                     string
		called                      bool // the backend was
	}{
		{"REST", "/bind/v1/all", "POST", "x-key,content-type", 204, page, false},
		{"Connect and gRPC-Web", testproto.Bindings_GetOne_FullMethodName, "POST", "connect-protocol-version,content-type", 204, page, false},
		{"plain HTTP", "/http", "PUT", "", 204, page, false},
		{"plain HTTP whose backend answers itself", "/backend", "PUT", "", 200, "*", true},
		{"a route for a header that will be there", "/version", "PUT", "x-other, X-Version", 204, page, false},
		{"a route for a header that will not", "/version", "PUT", "x-other", 404, "", false},
		{"the POST of a session", "/ws", "POST", "content-type,crossgate-session", 204, page, false},
		{"a fixed answer for anyone", "/open", "DELETE", "", 204, "*", false},
		{"a route without CORS", "/closed", "DELETE", "", 200, "", false},
		{"a method that the path does not have", "/bind/v1/all", "PUT", "", 405, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := []string{"Origin", page, "Access-Control-Request-Method", c.method}
			if c.headers != "" {
				header = append(header, "Access-Control-Request-Headers", c.headers)
			}
			answer, _ := ask(t, "OPTIONS", g.URL+c.path, "", header...)
			h := answer.Header
			if answer.StatusCode != c.status || h.Get("Access-Control-Allow-Origin") != c.allowed || (h.Get("X-Called") != "") != c.called {
				t.Errorf("%s, %v", answer.Status, h)
			}
			if c.status == 204 && (h.Get("Access-Control-Allow-Methods") != c.method || h.Get("Access-Control-Allow-Headers") != c.headers) {
				t.Errorf("%v", h)
			}
		})
	}
}

// TestABrowserKeepsToCORS has pages of two origins call the gateway from Chromium.
func TestABrowserKeepsToCORS(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>page</title>")
	})
	friend, stranger := httptest.NewServer(pages), httptest.NewServer(pages)
	t.Cleanup(friend.Close)
	t.Cleanup(stranger.Close)
	g := corsGateway(t, friend.URL)
	tab := browser(t)
	const call = `(async () => {
  try {
    const r = await fetch(%q, %s);
    return r.status + " " + (r.headers.get("X-Called") ?? "") + (r.headers.get("X-Request-Id") ?? "");
  } catch (e) {
    return "blocked";
  }
})()`
	const credentials = `{credentials: "include"}`
	for _, c := range []struct{ name, page, path, options, want string }{
		{"a listed page", friend.URL, "/http", credentials, "200 GET"},
		{"after a preflight", friend.URL, "/http", `{method: "PUT", headers: {"X-A": "1"}, credentials: "include"}`, "200 PUT"},
		{"to a route for a header", friend.URL, "/version", `{headers: {"X-Version": "2"}}`, "200 GET"},
		{"a refusal can be read", friend.URL, "/bind/v1/one/x", `{headers: {"X-Key": "wrong"}}`, "401 "},
		{"a REST call", friend.URL, "/bind/v1/one/x", `{headers: {"X-Key": "0123456789abcdef0123"}}`, "200 "},
		{"where there is no CORS", friend.URL, "/closed", `{}`, "blocked"},
		{"anyone may", stranger.URL, "/open", `{}`, "200 "},
		{"but not with credentials", stranger.URL, "/open", credentials, "blocked"},
		{"another page", stranger.URL, "/http", credentials, "blocked"},
		{"another page's preflight", stranger.URL, "/http", `{method: "PUT"}`, "blocked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTab(t, tab, "the page", chromedp.Navigate(c.page), until(`document.title == "page"`))
			ctx, cancel := context.WithTimeout(tab, time.Minute)
			defer cancel()
			got, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(call, g.URL+c.path, c.options), chromedp.EvalAwaitPromise))
			if err != nil || got != c.want {
				t.Errorf("%q, want %q; %v", got, c.want, err)
			}
		})
	}
}
