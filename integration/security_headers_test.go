package integration

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

func TestAnswersHaveTheSecurityHeadersOfTheirRoute(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		w.WriteHeader(http.StatusEarlyHints)
	}))
	t.Cleanup(backend.Close)
	authority := rig.NewAuthority(t)
	certificate, key := authority.Issue(t, t.TempDir(), "localhost")
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0"}
  - {address: "127.0.0.1:0", tls: {certificate: %q, key: %q}}
admin: {address: "127.0.0.1:0"}
security_headers: {hsts: {max_age: 365d, include_subdomains: true, preload: true}, nosniff: true, frame_options: deny, referrer_policy: no-referrer}
upstreams: [{name: pages, protocol: http, endpoints: [%q]}]
routes:
  - {name: plain, match: {path: /plain}, respond: {}}
  - {name: private, match: {path: /private}, respond: {}, auth: {require: [keys]}}
  - {name: shared, match: {path: /shared}, respond: {}, cors: {origins: ["https://a.example.com"]}}
  - {name: none, match: {path: /none}, respond: {}, security_headers: {}}
  - name: own
    match: {path: /own}
    respond: {}
    security_headers: {content_security_policy: "frame-ancestors 'none'", permissions_policy: "camera=()", cross_origin_opener_policy: same-origin,
      cross_origin_embedder_policy: require-corp, cross_origin_resource_policy: same-site, frame_options: same_origin}
  - {name: backend, match: {path: /backend}, http: {upstream: pages}}
  - {name: over, match: {path: /over}, http: {upstream: pages}, security_headers: {frame_options: deny, override: true}}
  - name: edited
    match: {path: /edited}
    http: {upstream: pages, response_headers: {remove: [X-Frame-Options], set: {Referrer-Policy: origin}}}
auth: [{name: keys, api_keys: {keys: [{id: a, user: a, sha256: "%064d"}]}, from: [{header: X-Key}]}]
`, certificate, key, backend.Listener.Addr(), 0))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: rig.Pool(t, authority.File), ServerName: "localhost"}}}
	t.Cleanup(client.CloseIdleConnections)
	const hsts = "max-age=31536000; includeSubDomains; preload"
	usual := map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
	with := func(changes ...string) map[string]string {
		m := map[string]string{}
		for name, value := range usual {
			m[name] = value
		}
		for i := 0; i < len(changes); i += 2 {
			m[changes[i]] = changes[i+1]
		}
		return m
	}
	all := []string{
		"Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Referrer-Policy", "Permissions-Policy",
		"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy",
	}
	for _, c := range []struct {
		name, method, path string
		secure             bool
		status             int
		want               map[string]string
	}{
		{"the gateway's", "GET", "/plain", false, 200, usual},
		{"the gateway's over TLS", "GET", "/plain", true, 200, with("Strict-Transport-Security", hsts)},
		{"a path of no route", "GET", "/nowhere", true, 404, with("Strict-Transport-Security", hsts)},
		{"a refused request", "GET", "/private", false, 401, usual},
		{"a preflight", "OPTIONS", "/shared", false, 204, usual},
		{"none of them", "GET", "/none", true, 200, map[string]string{}},
		{"the route's own", "GET", "/own", true, 200, map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "Permissions-Policy": "camera=()", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "same-site", "X-Frame-Options": "SAMEORIGIN",
		}},
		{"a backend that says otherwise", "GET", "/backend", false, 200, with("X-Frame-Options", "SAMEORIGIN")},
		{"a backend that has no say", "GET", "/over", false, 200, map[string]string{"X-Frame-Options": "DENY"}},
		{"what the route makes of a backend's", "GET", "/edited", false, 200, with("Referrer-Policy", "origin")},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := "http://" + g.Addresses()[0].String()
			if c.secure {
				url = "https://" + g.Addresses()[1].String()
			}
			r, err := http.NewRequest(c.method, url+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", "https://a.example.com")
			r.Header.Set("Access-Control-Request-Method", "GET")
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != c.status {
				t.Errorf("status %d", answer.StatusCode)
			}
			for _, name := range all {
				if got := answer.Header.Values(name); len(got) > 1 || answer.Header.Get(name) != c.want[name] {
					t.Errorf("%s: %q, want %q", name, got, c.want[name])
				}
			}
		})
	}
}
