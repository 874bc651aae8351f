package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// streamGateway starts a gateway before a backend, in a process of its own.
func streamGateway(t testing.TB, backend string) *rig.GatewayProcess {
	t.Helper()
	g := rig.StartGatewayProcess(t, fmt.Sprintf(`
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes: [{name: test, timeout: 0, grpc: {upstream: test}}]
`, backend))
	rig.Eventually(t, 10*time.Second, func() error {
		if n := readStream(t, g.URL+"/stream/v1/count/1", ""); n == 0 {
			return fmt.Errorf("nothing is served yet")
		}
		return nil
	})
	return g
}

// readStream reads a stream to its end and returns its length, 0 for one that failed.
func readStream(t testing.TB, url, accept string) int64 {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		return 0
	}
	return n
}

func TestAStreamOf1000000SmallMessagesTakesBoundedMemory(t *testing.T) {
	g := streamGateway(t, testserver.Start(t).Address)
	messages := 1_000_000
	if rig.Race {
		messages = 100_000
	}
	readStream(t, g.URL+"/stream/v1/count/100000", "") // what a process takes once
	before := g.Memory(t)
	length := readStream(t, g.URL+fmt.Sprint("/stream/v1/count/", messages), "")
	grown := g.Memory(t) - before
	t.Logf("%d messages, %d MB: memory went from %d KB by %d KB", messages, length>>20, before>>10, grown>>10)
	if length < int64(messages)*20 {
		t.Errorf("%d bytes are not %d messages", length, messages)
	}
	if grown > 5<<20 {
		t.Errorf("the gateway grew by %d KB", grown>>10)
	}
}

// BenchmarkStream is one message of a server stream of many small ones, in each framing: the gateway's own CPU time,
// allocations and growth.
func BenchmarkStream(b *testing.B) {
	g := streamGateway(b, testserver.Start(b).Address)
	readStream(b, g.URL+"/stream/v1/count/100000", "")
	for name, accept := range map[string]string{"lines": "", "array": "application/json", "events": "text/event-stream"} {
		b.Run(name, func(b *testing.B) {
			cpu, allocs, memory := g.Metric(b, "process_cpu_seconds_total"), g.Metric(b, "go_memstats_mallocs_total"), g.Memory(b)
			b.ResetTimer()
			readStream(b, g.URL+fmt.Sprint("/stream/v1/count/", b.N), accept)
			b.StopTimer()
			b.ReportMetric((g.Metric(b, "process_cpu_seconds_total")-cpu)*1e9/float64(b.N), "cpu-ns/op")
			b.ReportMetric((g.Metric(b, "go_memstats_mallocs_total")-allocs)/float64(b.N), "gateway-allocs/op")
			b.ReportMetric(float64(g.Memory(b)-memory)/(1<<20), "growth-MB")
		})
	}
}

// BenchmarkStreamPeer is one message of a stream through Crossgate and through grpc-gateway v2's generated handler, in
// this process, with backend and client on both sides.
func BenchmarkStreamPeer(b *testing.B) {
	backend := testserver.Start(b)
	g := rig.StartGateway(b, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
log: {access: "off", level: error}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes: [{name: test, timeout: 0, grpc: {upstream: test}}]
`, backend.Address))
	mux := runtime.NewServeMux()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := testproto.RegisterStreamsHandlerFromEndpoint(ctx, mux, backend.Address,
		[]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())})
	if err != nil {
		b.Fatal(err)
	}
	peer := httptest.NewServer(mux)
	defer peer.Close()
	var theirs float64
	for _, side := range []struct{ name, url string }{{"grpc-gateway", peer.URL}, {"crossgate", g.URL}} {
		b.Run(side.name, func(b *testing.B) {
			b.ReportAllocs()
			readStream(b, side.url+fmt.Sprint("/stream/v1/count/", b.N), "")
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if side.url == peer.URL {
				theirs = each
				return
			}
			b.ReportMetric(each/theirs, "ratio")
		})
	}
}
