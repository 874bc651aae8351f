package integration

import (
	"context"
	"fmt"
	"strings"
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
