package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// mirroredCall is a call that came to the upstream of copies.
type mirroredCall struct {
	method   string
	metadata metadata.MD
	message  proto.Message
}

// TestUnaryCallsAreCopiedWhateverTheProtocol calls by each protocol, and a method of each kind: a unary call comes to the
// second upstream as the same message, a stream does not. That one never answers, and no caller notices.
func TestUnaryCallsAreCopiedWhateverTheProtocol(t *testing.T) {
	copies := make(chan mirroredCall, 100)
	take := func(ctx context.Context, message any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		copies <- mirroredCall{info.FullMethod, md, message.(proto.Message)}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	backend, second := testserver.Start(t), testserver.Start(t, grpc.ChainUnaryInterceptor(take))
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: test, endpoints: [%q]}
  - {name: next, endpoints: [%q]}
descriptors: [{reflection: {upstream: test}}]
routes:
  - name: test
    grpc: {upstream: test, services: ["crossgate.test.v1.*"], forward_headers: [Authorization], websocket: {}}
    mirror: {upstream: next, timeout: 1h, max_concurrent: 100}
`, backend.Address, second.Address))
	methods := map[*matrixMethod][]proto.Message{
		matrixUnary: list(bound("x")), matrixServer: list(count(1, 0)), matrixClient: list(add(1)), matrixBidi: list(say("a")),
	}
	var want []string
	for _, p := range matrixProtocols {
		for method, requests := range methods {
			if method.client && method.server && strings.HasPrefix(p.name, "REST") {
				continue
			}
			c := &matrixCall{matrixMethod: method, requests: requests, metadata: []string{"authorization", "Bearer t", "x-test-return-a", "kept"}}
			if got := p.call(soon(t), t, g, c); got.code != 0 || len(got.answers) != 1 {
				t.Fatalf("%s, %s: %v", p.name, method.kind, got)
			}
		}
		if !strings.HasPrefix(p.name, "WebSocket") {
			want = append(want, p.name)
		}
	}
	for _, name := range want {
		select {
		case c := <-copies:
			if c.method != matrixUnary.full || !proto.Equal(c.message, bound("x")) {
				t.Errorf("%s: the copy calls %s with %v", name, c.method, c.message)
			}
			if first(c.metadata, "crossgate-mirror") != "1" || first(c.metadata, "authorization") != "" || first(c.metadata, "x-test-return-a") != "kept" {
				t.Errorf("%s: the copy has %v", name, c.metadata)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: no copy came", name)
		}
	}
	if len(copies) > 0 {
		t.Errorf("there are %d copies more", len(copies))
	}
}

func first(md metadata.MD, key string) string {
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// TestReloadsWhileCopiesAreStuck reloads a configuration that changes each time, while the upstream of copies answers none. Callers
// are answered, there are never more copies than the configuration allows, and the gateway ends with all of them under way.
func TestReloadsWhileCopiesAreStuck(t *testing.T) {
	const concurrent, pending, reloads, requests = 4, 3, 8, 10
	var stuck atomic.Int64
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	never := httpBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees when the gateway gives up
		stuck.Add(1)
		<-r.Context().Done()
	})
	text := func(i int) string {
		return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: app, protocol: http, endpoints: [%q]}
  - {name: next, protocol: http, endpoints: [%q]}
routes:
  - {name: app, match: {path_prefix: /}, timeout: %ds, http: {upstream: app}, mirror: {upstream: next, timeout: 1h, max_concurrent: %d, max_pending: %d}}
`, address, never, 60+i, concurrent, pending)
	}
	g := rig.StartGateway(t, text(0))
	for i := range reloads {
		for range requests {
			if answer, body := ask(t, "POST", g.URL+"/x", "hello"); answer.StatusCode != http.StatusOK || body != "hello" {
				t.Fatalf("a caller is answered %d %q", answer.StatusCode, body)
			}
		}
		g.Rewrite(t, text(i+1))
		if answer, body := ask(t, "POST", g.Admin+"/v1/reload", "{}"); answer.StatusCode != http.StatusOK {
			t.Fatal(body)
		}
	}
	within(t, "copies are under way", func() bool { return stuck.Load() >= concurrent })
	_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
	if want := fmt.Sprintf(`crossgate_mirrored_requests_total{result="dropped",route="app"} %d`, reloads*requests-concurrent-pending); !strings.Contains(metrics, want+"\n") || stuck.Load() > concurrent {
		t.Errorf("%d copies are under way, and the metrics lack %s", stuck.Load(), want)
	}
}
