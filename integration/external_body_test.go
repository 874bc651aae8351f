package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/integration/rig"
)

// bodyJudge is an authorisation service that passes on what it was told of each request.
type bodyJudge struct {
	authv3.UnimplementedAuthorizationServer
	told chan *authv3.AttributeContext_HttpRequest
}

func (j *bodyJudge) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	j.told <- r.GetAttributes().GetRequest().GetHttp()
	return &authv3.CheckResponse{}, nil
}

func TestAnAuthorisationServiceIsToldTheBody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	judge, server := &bodyJudge{told: make(chan *authv3.AttributeContext_HttpRequest, 1)}, grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, judge)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	t.Cleanup(backend.Close)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: authz, endpoints: [%q]}
  - {name: echo, protocol: http, endpoints: [%q]}
routes:
  - {name: whole, match: {path: /whole}, http: {upstream: echo}, external_auth: {upstream: authz, timeout: 30s, body: {max_size: 10B}}}
  - {name: partial, match: {path: /partial}, http: {upstream: echo}, external_auth: {upstream: authz, timeout: 30s, body: {max_size: 10B, allow_partial: true, raw: true}}}
  - {name: none, match: {path: /none}, http: {upstream: echo}, external_auth: {upstream: authz, timeout: 30s}}
`, listener.Addr(), backend.Listener.Addr()))
	large := strings.Repeat("0123456789", 50_000)
	for _, c := range []struct {
		name, path, body string
		status           int
		text, raw, more  string // that the service is told
	}{
		{"a small one", "/whole", "a\xffb", 200, "a\uFFFDb", "", "false"},
		{"the largest", "/whole", "0123456789", 200, "0123456789", "", "false"},
		{"a larger one", "/whole", "0123456789a", 413, "", "", ""},
		{"none", "/whole", "", 200, "", "", ""},
		{"a small one as bytes", "/partial", "a\xffb", 200, "", "a\xffb", "false"},
		{"the start of a large one", "/partial", large, 200, "", "0123456789", "true"},
		{"a route that does not tell", "/none", "abc", 200, "", "", ""},
	} {
		for _, length := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, with a length: %v", c.name, length), func(t *testing.T) {
				r, err := http.NewRequest(http.MethodPost, g.URL+c.path, bytes.NewReader([]byte(c.body)))
				if err != nil {
					t.Fatal(err)
				}
				if !length && c.body != "" {
					r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(c.body))
				}
				r.Header.Set("X-Envoy-Auth-Partial-Body", "forged")
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				echo, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != c.status {
					t.Fatalf("%s, %v", answer.Status, err)
				}
				if c.status != http.StatusOK {
					return
				}
				if string(echo) != c.body {
					t.Errorf("the backend got %d bytes of %d", len(echo), len(c.body))
				}
				told := <-judge.told
				more := told.GetHeaders()["x-envoy-auth-partial-body"]
				if more == "forged" && c.more == "" {
					more = "" // nobody's word, where no body is told
				}
				if told.GetBody() != c.text || string(told.GetRawBody()) != c.raw || more != c.more {
					t.Errorf("told %q, %q, %q", told.GetBody(), told.GetRawBody(), more)
				}
			})
		}
	}
}
