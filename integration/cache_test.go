package integration

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

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
	ask := func(method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(soon(t), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(body)
	}
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
		{"a change forgets", "DELETE", "/a", nil, 200, 5, ""},
		{"and so it is fetched again", "GET", "/a", nil, 200, 6, "crossgate; fwd=uri-miss; stored"},
	}
	for _, step := range steps {
		answer, body := ask(step.method, step.path, step.header...)
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
