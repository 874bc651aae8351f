package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/crossgate/crossgate/integration/rig"
)

// startOpenIDProvider starts a provider that has one client and one user, and returns its issuer.
func startOpenIDProvider(t *testing.T, redirect string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	users := storage.NewStorageWithClients(storage.NewUserStore(server.URL), map[string]*storage.Client{
		"crossgate": storage.WebClient("crossgate", "client-secret", redirect),
	})
	server.Config.Handler = exampleop.SetupServer(server.URL, users, slog.New(slog.DiscardHandler), false)
	return server
}

const loginConfig = `
listeners: [{address: %q}]
admin: {address: "off"}
redis: {url: %q}
upstreams: [{name: app, protocol: http, endpoints: [%q]}]
auth:
  - name: staff
    login:
      issuer: %s
      client_id: crossgate
      client_secret: client-secret
      redirect_url: %s
      scopes: [profile, offline_access]
      keys: ["0123456789abcdef0123456789abcdef"]
      cache_time: 1h
      userinfo: true
      front_channel_logout: true
routes:
  - {name: login, login: {provider: staff}}
  - {name: app, match: {path_prefix: /app/}, http: {upstream: app}, auth: {require: [staff]}, forward_identity: {headers: {X-User: user}}}
  - {name: free, match: {path_prefix: /free/}, http: {upstream: app}}
  - {name: open, match: {path: /open}, respond: {body: "open"}}
  - {name: ws, match: {path: /ws}, websocket: {service: chat}, auth: {require: [staff]}}
`

// browserOf is a client that keeps cookies and follows redirects as a browser does.
func browserOf(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// visit sends a request as a browser, with headers given as name and value in turn.
func visit(t *testing.T, c *http.Client, method, address string, form url.Values, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// TestABrowserLogsInAndOut at a real OpenID provider, with two nodes of the gateway.
func TestABrowserLogsInAndOut(t *testing.T) {
	backend := httpBackend(t, dump)
	server, address := rig.StartRedis(t), rig.FreeAddress(t)
	redirect := "http://" + address + "/oauth2/callback"
	provider := startOpenIDProvider(t, redirect)
	g := rig.StartGateway(t, fmt.Sprintf(loginConfig, address, server.URL(), backend, provider.URL, redirect))
	other := rig.StartGateway(t, fmt.Sprintf(loginConfig, "127.0.0.1:0", server.URL(), backend, provider.URL, redirect))
	b := browserOf(t)
	page := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}
	script := []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin"}

	if answer, _ := visit(t, b, "GET", g.URL+"/app/data", nil, script...); answer.StatusCode != 401 {
		t.Fatalf("a script without a session: %s", answer.Status)
	}
	answer, _ := visit(t, b, "GET", g.URL+"/app/page?x=1", nil, page...)
	if !strings.HasPrefix(answer.Request.URL.String(), provider.URL+"/login/") {
		t.Fatalf("a page without a session ends at %s", answer.Request.URL)
	}
	answer, text := visit(t, b, "POST", provider.URL+"/login/username", url.Values{
		"username": {"test-user@127.0.0.1"}, "password": {"verysecure"}, "id": {answer.Request.URL.Query().Get("authRequestID")},
	}, page...)
	if answer.Request.URL.String() != g.URL+"/app/page?x=1" || answer.StatusCode != 200 || !strings.Contains(text, "X-User: id1\n") {
		t.Fatalf("after the login: %s, %s\n%s", answer.Request.URL, answer.Status, text)
	}
	if strings.Contains(text, "crossgate-session") {
		t.Errorf("the backend has the session's cookie:\n%s", text)
	}

	if _, text := visit(t, b, "GET", g.URL+"/free/", nil, page...); strings.Contains(text, "crossgate-session") {
		t.Errorf("the backend of a route without a login has the session's cookie:\n%s", text)
	}

	try := func(method, address string, header ...string) int {
		answer, _ := visit(t, b, method, address, nil, header...)
		return answer.StatusCode
	}
	for _, c := range []struct {
		name, method, address string
		header                []string
		want                  int
	}{
		{"a script", "GET", g.URL + "/app/data", script, 200},
		{"at another node", "GET", other.URL + "/app/data", script, 200},
		{"a change by a page of this origin", "POST", g.URL + "/app/data", script, 200},
		{"a change by a page of another", "POST", g.URL + "/app/data", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a logout by a page of another", "POST", g.URL + "/oauth2/logout", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"a logout by a link", "GET", g.URL + "/oauth2/logout", page, 405},
		{"the provider's answer once more", "GET", g.URL + "/oauth2/callback?code=1&state=2", page, 403},
		{"a frame of another provider's", "GET", g.URL + "/oauth2/frontchannel-logout?iss=https://evil.example&sid=1", page, 400},
		{"a frame for another session", "GET", g.URL + "/oauth2/frontchannel-logout?sid=1&iss=" + url.QueryEscape(provider.URL), page, 200},
		{"a logout token that is none", "POST", g.URL + "/oauth2/backchannel-logout", nil, 400},
	} {
		if got := try(c.method, c.address, c.header...); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	home, _ := url.Parse(g.URL)
	var cookies []string
	for _, c := range b.Jar.Cookies(home) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	dial := func(origin string) (*websocket.Conn, error) {
		conn, _, err := websocket.Dial(ctx, other.URL+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{
			"Cookie": {strings.Join(cookies, "; ")}, "Origin": {origin},
		}})
		return conn, err
	}
	if _, err := dial("https://evil.example"); err == nil {
		t.Error("a page of another origin has opened a WebSocket with the user's cookie")
	}
	conn, err := dial(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()

	answer, _ = visit(t, b, "POST", g.URL+"/oauth2/logout", url.Values{}, page[0], page[1], "Sec-Fetch-Site", "same-origin")
	if !strings.HasPrefix(answer.Request.URL.String(), provider.URL+"/logged-out") {
		t.Errorf("after the logout the browser is at %s", answer.Request.URL)
	}
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if websocket.CloseStatus(err) != 4003 {
				t.Errorf("the WebSocket at the other node: %v", err)
			}
			break
		}
	}
	// A thief of the cookie is out as well, at each node, though both believe a session for an hour.
	for _, node := range []*rig.Gateway{g, other} {
		if got := try("GET", node.URL+"/app/data", append(script, "Cookie", strings.Join(cookies, "; "))...); got != 401 {
			t.Errorf("after the logout: %d", got)
		}
	}

	server.Kill()
	if got := try("GET", g.URL+"/open"); got != 200 {
		t.Errorf("a route without a login, without Redis: %d", got)
	}
}
