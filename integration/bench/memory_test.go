package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

// BenchmarkIdleConnections opens connections of HTTP/1.1 that send one request each, and reports what the gateway's process
// has grown by for each of them.
func BenchmarkIdleConnections(b *testing.B) {
	const connections = 5000
	plain, _ := startBackends(b)
	g := rig.StartGatewayProcess(b, fmt.Sprintf(upstreamsOf+"routes: [{name: app, match: {path_prefix: /}, http: {upstream: plain}}]\n", plain, plain))
	address := strings.TrimPrefix(g.URL, "http://")
	open := func() {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
	}
	for range 100 {
		open()
	}
	before := g.Memory(b)
	for range connections {
		open()
	}
	b.ReportMetric(float64(g.Memory(b)-before)/connections/1e3, "KB/connection")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemoryOfRoutes reports what routes keep of the heap, for each way in which there may be many.
func BenchmarkMemoryOfRoutes(b *testing.B) {
	for _, k := range append(routeKinds, routeKind{"teams", func(_ testing.TB, _ string, n int) string { return teamRoutes(n, 0) }, false}) {
		if k.grpc {
			continue // methods have both kinds of paths
		}
		b.Run(k.name, func(b *testing.B) {
			text, _ := k.configure(b, many, "127.0.0.1:1", "127.0.0.1:1")
			before := heap()
			g := rig.StartGateway(b, "listeners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"off\"}\nlog: {access: \"off\", level: error}\n"+text)
			b.ReportMetric(float64(heap()-before)/many/1e3, "KB/route")
			b.ReportMetric(0, "ns/op")
			_ = g.URL
		})
	}
}
