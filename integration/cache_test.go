package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

func TestTheCacheOfAnHTTPRoute(t *testing.T) {
	var asked atomic.Int64
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/plain" {
			w.Header().Set("Cache-Control", "max-age=1000")
		}
		w.Header().Set("Etag", `"v"`)
		w.Header().Set("Content-Type", "text/plain")
		if r.Header.Get("If-None-Match") == `"v"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("text ", 1000))
	})
	g := httpGateway(t, address, "", `
  - {name: plain, match: {path_prefix: /}, http: {upstream: app}, cache: {}}
`)
	url := "http://" + g.Addresses()[0].String()
	steps := []struct {
		name, method, path string
		header             []string
		status             int
		asked              int64 // how often the backend was, by then
		cache              string
	}{
		{"the first is fetched", "GET", "/a", nil, 200, 1, "crossgate; fwd=uri-miss; stored"},
		{"the second is not", "GET", "/a", nil, 200, 1, "crossgate; hit"},
		{"nor one that gets it compressed", "GET", "/a", []string{"Accept-Encoding", "gzip"}, 200, 1, "crossgate; hit"},
		{"nor one who has it, compressed", "GET", "/a", []string{"If-None-Match", `W/"v"`}, 304, 1, "crossgate; hit"},
		{"nor a part", "GET", "/a", []string{"Range", "bytes=0-3"}, 206, 1, "crossgate; hit"},
		{"nor the header", "HEAD", "/a", nil, 200, 1, "crossgate; hit"},
		{"another query is another thing", "GET", "/a?", nil, 200, 2, "crossgate; fwd=uri-miss; stored"},
		{"what says nothing is not kept", "GET", "/plain", nil, 200, 3, "crossgate; fwd=uri-miss"},
		{"and so fetched again", "GET", "/plain", nil, 200, 4, "crossgate; fwd=uri-miss"},
		{"an upgrade is none of the cache's", "GET", "/a", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, 200, 5, ""},
		{"a change forgets", "DELETE", "/a", nil, 200, 6, ""},
		{"and so it is fetched again", "GET", "/a", nil, 200, 7, "crossgate; fwd=uri-miss; stored"},
	}
	for _, step := range steps {
		answer, body := ask(t, step.method, url+step.path, "", step.header...)
		if got := answer.Header.Get("Cache-Status"); answer.StatusCode != step.status || asked.Load() != step.asked || !strings.HasPrefix(got, step.cache) {
			t.Errorf("%s: %d, the backend was asked %d times, Cache-Status %q", step.name, answer.StatusCode, asked.Load(), got)
		}
		if step.status == 206 && (body != "text" || answer.Header.Get("Content-Range") != "bytes 0-3/5000") {
			t.Errorf("%s: %q, Content-Range %q", step.name, body, answer.Header.Get("Content-Range"))
		}
		if id := answer.Header.Values("X-Request-Id"); len(id) != 1 {
			t.Errorf("%s: request ids %q", step.name, id)
		}
	}
}

func TestTheCacheOfAGRPCRoute(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", "cache: {ttl: 100s}")
	before := backend.Calls() // for its descriptors
	steps := []struct {
		name, method, path string
		header             []string
		status             int
		calls              int64 // of the backend, by then
		cache              string
	}{
		{"a binding by GET", "GET", "/control/v1/inspect", nil, 200, 1, "crossgate; fwd=uri-miss; stored"},
		{"and again", "GET", "/control/v1/inspect", nil, 200, 1, "crossgate; hit"},
		{"and its header", "HEAD", "/control/v1/inspect", nil, 200, 1, "crossgate; hit"},
		{"metadata tells answers apart", "GET", "/control/v1/inspect", []string{"Grpc-Metadata-X", "1"}, 200, 2, "crossgate; fwd=uri-miss; stored"},
		{"Connect by GET", "GET", "/crossgate.test.v1.Control/Inspect?encoding=json&message=%7B%7D", nil, 200, 3, "crossgate; fwd=uri-miss; stored"},
		{"and again", "GET", "/crossgate.test.v1.Control/Inspect?encoding=json&message=%7B%7D", nil, 200, 3, "crossgate; hit"},
		{"the backend's metadata says otherwise", "GET", "/control/v1/inspect?", []string{"Grpc-Metadata-X-Test-Return-Cache-Control", "no-store"}, 200, 4, "crossgate; fwd=uri-miss"},
		{"each time", "GET", "/control/v1/inspect?", []string{"Grpc-Metadata-X-Test-Return-Cache-Control", "no-store"}, 200, 5, "crossgate; fwd=uri-miss"},
		{"a failure is not kept", "GET", "/control/v1/inspect", []string{"Grpc-Metadata-X-Test-Code", "5"}, 404, 6, "crossgate; fwd=uri-miss"},
		{"nor the next one", "GET", "/control/v1/inspect", []string{"Grpc-Metadata-X-Test-Code", "5"}, 404, 7, "crossgate; fwd=uri-miss"},
		{"a stream is none of the cache's", "GET", "/stream/v1/count/3", nil, 200, 8, ""},
	}
	for _, step := range steps {
		answer, body := ask(t, step.method, g.URL+step.path, "", step.header...)
		if got := answer.Header.Get("Cache-Status"); answer.StatusCode != step.status || backend.Calls()-before != step.calls || !strings.HasPrefix(got, step.cache) || step.cache == "" && got != "" {
			t.Errorf("%s: %d, the backend was called %d times, Cache-Status %q, %s", step.name, answer.StatusCode, backend.Calls()-before, got, body)
		}
	}
}

// cacheNodes starts two nodes that share a Redis, with a backend that counts.
func cacheNodes(t *testing.T, redis *redistest.Server) (a, b *rig.Gateway, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		h := w.Header()
		h.Set("Cache-Control", "max-age=1000")
		h.Set("Vary", "X-Kind")
		h.Set("Cache-Tag", "all,"+strings.TrimPrefix(r.URL.Path, "/"))
		h.Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %d", r.URL.Path, r.Header.Get("X-Kind"), n)
	})
	start := func() *rig.Gateway {
		return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0", token: admin-token}
redis: {url: %q}
cache: {redis: {timeout: 1m}}
upstreams: [{name: app, protocol: http, endpoints: [%q]}]
routes:
  - {name: shared, match: {path_prefix: /}, http: {upstream: app}, cache: {redis: true, tags: strip}}
`, redis.URL(), address))
	}
	return start(), start(), asked
}

// askAs asks a node for what both have by one name.
func askAs(t *testing.T, g *rig.Gateway, path, kind string) (*http.Response, string) {
	t.Helper()
	return ask(t, "GET", g.URL+path, "", "Host", "shop.example", "X-Kind", kind)
}

func purge(t *testing.T, g *rig.Gateway, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return ask(t, "POST", g.Admin+"/v1/cache:purge", body, append([]string{"Authorization", "Bearer admin-token"}, header...)...)
}

func TestNodesShareAnswersAndPurges(t *testing.T) {
	server := rig.StartRedis(t)
	a, b, asked := cacheNodes(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	answers := func(want int64) {
		t.Helper()
		rig.Eventually(t, rig.Patience, func() error {
			keys, err := client.Keys(context.Background(), "cg:cache:*").Result()
			if n := int64(len(keys)); err == nil && n < want {
				err = fmt.Errorf("%d keys in Redis", n)
			}
			return err
		})
	}
	get := func(g *rig.Gateway, path, kind string) string {
		t.Helper()
		answer, body := askAs(t, g, path, kind)
		if tag := answer.Header.Get("Cache-Tag"); tag != "" {
			t.Errorf("the client got the tags %s", tag)
		}
		return body
	}
	first, second := get(a, "/1", "x"), get(a, "/1", "y")
	answers(3) // a marker, and two of a kind each
	if x, y := get(b, "/1", "x"), get(b, "/1", "y"); x != first || y != second || asked.Load() != 2 {
		t.Fatalf("the other node gives %s and %s, the backend was asked %d times", x, y, asked.Load())
	}
	get(a, "/2", "x")
	answers(5)
	get(b, "/2", "x")
	if n := asked.Load(); n != 3 {
		t.Fatalf("the backend was asked %d times", n)
	}

	for _, step := range []struct{ body, gone, stays string }{
		{`{"tags":["1"]}`, "/1", "/2"},
		{`{"urls":["https://shop.example/1"]}`, "/1", ""},
		{`{"urls":["/2"]}`, "/2", ""},
		{`{"urlPrefixes":["/"]}`, "/1", ""},
		{`{"everything":true}`, "/2", ""},
	} {
		had, other := get(a, step.gone, "x"), ""
		if step.stays != "" {
			other = get(b, step.stays, "x")
		}
		if answer, body := purge(t, a, step.body); answer.StatusCode != 200 || !strings.Contains(body, `"purged"`) {
			t.Fatalf("%s: %s %s", step.body, answer.Status, body)
		}
		if got := get(a, step.gone, "x"); got == had {
			t.Errorf("%s: the node that was asked still gives %s", step.body, got)
		}
		rig.Eventually(t, rig.Patience, func() error {
			if get(b, step.gone, "x") == had {
				return errors.New("the other node gives what was purged")
			}
			return nil
		})
		if step.stays != "" && get(b, step.stays, "x") != other {
			t.Errorf("%s: %s went, too", step.body, step.stays)
		}
	}
	for body, status := range map[string]int{`{}`: 400, `{"urls":["x"]}`: 400, `{"tags":[""]}`: 400, `no`: 400} {
		if answer, text := purge(t, a, body); answer.StatusCode != status {
			t.Errorf("%s: %s %s", body, answer.Status, text)
		}
	}
	if answer, _ := ask(t, "POST", a.Admin+"/v1/cache:purge", `{"everything":true}`); answer.StatusCode != 401 {
		t.Errorf("without the token: %s", answer.Status)
	}
}

func TestWhatIsWrongInRedisIsAMiss(t *testing.T) {
	server := rig.StartRedis(t)
	a, b, asked := cacheNodes(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Address, MaxRetries: -1})
	defer client.Close()
	askAs(t, a, "/1", "")
	var keys []string
	rig.Eventually(t, rig.Patience, func() (err error) {
		if keys, err = client.Keys(context.Background(), "cg:cache:*").Result(); err == nil && len(keys) < 2 {
			err = errors.New("nothing is saved")
		}
		return err
	})
	for _, key := range keys {
		if err := client.Set(context.Background(), key, "cg-answer-2\n\xff\xff\xff\xff\xff\xff", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if answer, _ := askAs(t, b, "/1", ""); answer.StatusCode != 200 || asked.Load() != 2 {
		t.Errorf("a broken value: %s, the backend was asked %d times", answer.Status, asked.Load())
	}
	server.Kill()
	if answer, _ := askAs(t, b, "/2", ""); answer.StatusCode != 200 || asked.Load() != 3 {
		t.Errorf("without Redis: %s, the backend was asked %d times", answer.Status, asked.Load())
	}
	if answer, body := purge(t, a, `{"everything":true}`); answer.StatusCode != 503 || !strings.Contains(body, "STORE_UNAVAILABLE") {
		t.Errorf("a purge without Redis: %s %s", answer.Status, body)
	}
	if askAs(t, a, "/1", ""); asked.Load() != 4 {
		t.Errorf("purged here all the same, the backend was asked %d times", asked.Load())
	}
}

func TestTheCacheStandsBehindAdmission(t *testing.T) {
	var asked atomic.Int64
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=1000")
		fmt.Fprintf(w, "%d for %q", asked.Add(1), r.Header.Get("X-User"))
	})
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
upstreams: [{name: app, protocol: http, endpoints: [%q]}]
auth: [{name: keys, api_keys: {keys: [{id: ann, key: 0123456789abcdef0ann, user: ann}, {id: ben, key: 0123456789abcdef0ben, user: ben}]}, from: [{header: X-Key}]}]
routes:
  - {name: open, match: {path_prefix: /open/}, http: {upstream: app}, auth: {require: [keys]}, cache: {}}
  - name: own
    match: {path_prefix: /own/}
    http: {upstream: app}
    auth: {require: [keys]}
    forward_identity: {headers: {X-User: user}}
    cache: {key: {user: true}}
  - {name: limited, match: {path_prefix: /limited/}, http: {upstream: app}, rate_limits: [{per: ip, rate: 1/h, burst: 2}], cache: {}}
`, address))
	const ann, ben = "0123456789abcdef0ann", "0123456789abcdef0ben"
	for i, step := range []struct {
		path, key string
		status    int
		body      string
	}{
		{"/open/a", ann, 200, `1 for ""`}, {"/open/a", ben, 200, `1 for ""`}, {"/open/a", "", 401, ""}, {"/open/a", "wrong", 401, ""},
		{"/own/a", ann, 200, `2 for "ann"`}, {"/own/a", ben, 200, `3 for "ben"`}, {"/own/a", ann, 200, `2 for "ann"`}, {"/own/a", ben, 200, `3 for "ben"`}, {"/own/a", "", 401, ""},
		{"/limited/a", "", 200, `4 for ""`}, {"/limited/a", "", 200, `4 for ""`}, {"/limited/a", "", 429, ""},
	} {
		answer, body := ask(t, "GET", g.URL+step.path, "", "X-Key", step.key)
		if answer.StatusCode != step.status || step.status == 200 && body != step.body {
			t.Errorf("%d, %s: %s %s, expected %d %s", i, step.path, answer.Status, body, step.status, step.body)
		}
	}
}

func TestStaleAnswersWhileTheBackendIsAskedAndWhileItIsGone(t *testing.T) {
	var asked atomic.Int64
	var failing atomic.Bool
	address := httpBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=1000, stale-if-error=1000")
		fmt.Fprintf(w, "version %d", n)
	})
	g := httpGateway(t, address, "", `
  - {name: shop, match: {template: "/{name=**}"}, http: {upstream: app, request_headers: {set: {X-Name: "{path.name}"}}}, cache: {}}
`)
	url := "http://" + g.Addresses()[0].String() + "/a"
	if _, body := ask(t, "GET", url, ""); body != "version 1" {
		t.Fatal(body)
	}
	answer, body := ask(t, "GET", url, "")
	if body != "version 1" || !strings.HasPrefix(answer.Header.Get("Cache-Status"), "crossgate; hit; ttl=") {
		t.Errorf("%s, %s", body, answer.Header.Get("Cache-Status"))
	}
	rig.Eventually(t, rig.Patience, func() error {
		if _, body := ask(t, "GET", url, ""); body == "version 1" {
			return errors.New("the answer that was fetched in the background is not there yet")
		}
		return nil
	})
	failing.Store(true)
	// With no-cache nothing is given before the backend was asked.
	if answer, body := ask(t, "GET", url, "", "Cache-Control", "no-cache"); answer.StatusCode != 200 || answer.Header.Get("Cache-Status") != "crossgate; fwd=stale; detail=stale-if-error" {
		t.Errorf("%s %s, %s", answer.Status, body, answer.Header.Get("Cache-Status"))
	}
	if answer, _ := ask(t, "GET", url+"/b", ""); answer.StatusCode != 503 {
		t.Errorf("what was never there: %s", answer.Status)
	}
}
