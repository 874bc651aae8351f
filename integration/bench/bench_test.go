// Package bench measures the gateway beside its peers, in one run and over one backend.
package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// BenchmarkREST is one unary call, socket to socket, through Crossgate and through grpc-gateway v2's generated handler,
// with the ratio of the two. Backend and client are in the same process and count on both sides.
func BenchmarkREST(b *testing.B) {
	backend := testserver.Start(b)
	g := rig.StartGateway(b, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
log: {access: "off", level: error}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes: [{name: test, grpc: {upstream: test}}]
`, backend.Address))
	mux := runtime.NewServeMux()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := testproto.RegisterBindingsHandlerFromEndpoint(ctx, mux, backend.Address,
		[]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())})
	if err != nil {
		b.Fatal(err)
	}
	peer := httptest.NewServer(mux)
	defer peer.Close()

	for _, r := range []struct{ name, method, path, body string }{
		{"GET", "GET", "/bind/v1/things/a?note=n&nested.count=3", ""},
		{"POST", "POST", "/bind/v1/all", `{"name":"n","note":"a note","number":"9007199254740993","flag":true,"tags":["a","b"],"nested":{"name":"i","count":3},"labels":{"env":"prod"}}`},
	} {
		var theirs float64
		b.Run(r.name+"/grpc-gateway", func(b *testing.B) {
			theirs = measure(b, r.method, peer.URL+r.path, r.body)
		})
		b.Run(r.name+"/crossgate", func(b *testing.B) {
			ours := measure(b, r.method, g.URL+r.path, r.body)
			b.ReportMetric(ours/theirs, "ratio")
		})
	}
}

// measure times calls of one URL and returns the nanoseconds each took.
func measure(b *testing.B, method, url, body string) float64 {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		request, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			b.Fatalf("%s %s: %s", method, url, answer.Status)
		}
	}
	return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
}
