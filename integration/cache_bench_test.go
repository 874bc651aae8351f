package integration

import (
	"context"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// BenchmarkCachedAnswer asks a gateway for one small answer over one connection, with a cache and without. Client, gateway and
// backend are one process.
func BenchmarkCachedAnswer(b *testing.B) {
	address := httpBackend(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		_, _ = io.WriteString(w, "hello")
	})
	g := httpGateway(b, address, "", `
  - {name: kept, match: {path_prefix: /kept/}, http: {upstream: app}, cache: {}}
  - {name: fetched, match: {path_prefix: /fetched/}, http: {upstream: app}}
`)
	for _, path := range []string{"kept", "fetched"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+g.Addresses()[0].String()+"/"+path+"/a", http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				answer, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		})
	}
}

// BenchmarkCachedCall makes one small call of native gRPC over one connection, which is answered from the cache, by the backend
// on the same route, and by the backend on a route without a cache. Client, gateway and backend are one process.
func BenchmarkCachedCall(b *testing.B) {
	backend := testserver.Start(b)
	kept := dialGRPC(b, oneRoute(b, backend.Address, "", "cache: {ttl: 1h, methods: [crossgate.test.v1.Echo.EchoScalars]}"))
	without := dialGRPC(b, oneRoute(b, backend.Address, "", ""))
	bypass := metadata.AppendToOutgoingContext(b.Context(), "cache-control", "no-store")
	run := func(ctx context.Context, name string, conn *grpc.ClientConn) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := conn.Invoke(ctx, echoScalars, &testproto.Scalars{StringValue: "hello"}, new(testproto.Scalars)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run(b.Context(), "kept", kept)
	run(bypass, "fetched", kept)
	run(b.Context(), "without", without)
}
