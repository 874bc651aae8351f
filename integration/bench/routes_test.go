package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/routing"
)

// few and many are how many routes are compared.
const few, many = 10, 10_000

// routeKind is one way in which a configuration comes to have many routes.
type routeKind struct {
	name string
	// routes writes the routes of a configuration, and files that it needs to a folder.
	routes func(t testing.TB, dir string, n int) string
	grpc   bool // requests are native gRPC calls
}

var routeKinds = []routeKind{
	{"methods-REST", methodRoutes, false},
	{"methods-gRPC", methodRoutes, true},
	{"templates", eachRoute(`match: {template: "/v1/tenants-%d/shelves/{shelf}/books/{book}"}`), false},
	{"prefixes", eachRoute(`match: {path_prefix: /service-%d/}`), false},
	{"hosts", eachRoute(`match: {hosts: [tenant-%d.example.com], path_prefix: /}`), false},
}

// eachRoute writes a route of plain HTTP for each number.
func eachRoute(match string) func(testing.TB, string, int) string {
	return func(_ testing.TB, _ string, n int) string {
		var text strings.Builder
		text.WriteString("routes:\n")
		for i := range n {
			fmt.Fprintf(&text, "  - {name: route-%d, "+match+", http: {upstream: plain}}\n", i, i)
		}
		return text.String()
	}
}

// methodRoutes has methods with half as many paths of their own and as many bindings.
func methodRoutes(t testing.TB, dir string, n int) string {
	set := filepath.Join(dir, "many.binpb")
	parts, each := max(1, n/(2*5*resources)), min(resources, n/10)
	if err := os.WriteFile(set, manyMethods(t, parts, each), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("descriptors: [{file: %q}]\nroutes: [{name: many, grpc: {upstream: calls}}]\n", set)
}

const upstreamsOf = "upstreams:\n  - {name: plain, protocol: http, endpoints: [%q]}\n  - {name: calls, endpoints: [%q]}\n"

// configure writes a configuration with as many routes for backends, and returns its text and file.
func (k *routeKind) configure(t testing.TB, n int, plain, calls string) (text, file string) {
	dir := t.TempDir()
	text = fmt.Sprintf(upstreamsOf, plain, calls) + k.routes(t, dir, n)
	file = filepath.Join(dir, "crossgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return text, file
}

// BenchmarkMatch finds the route of a request among few and among many. Requests are for all of them in random order. The
// goal is one microsecond.
func BenchmarkMatch(b *testing.B) {
	for _, k := range routeKinds {
		if k.grpc {
			continue // the requests of methods are for both kinds of paths
		}
		for _, n := range []int{few, many} {
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				_, file := k.configure(b, n, "127.0.0.1:1", "127.0.0.1:1")
				table, requests := rulesOf(b, file)
				if len(requests) != n {
					b.Fatalf("%d bindings", len(requests))
				}
				vars := make(routing.Vars, 0, 4)
				b.ReportAllocs()
				defer reportCPU(b)()
				i := 0
				for b.Loop() {
					if _, _, outcome := table.Match(&requests[i], vars); outcome != routing.Matched {
						b.Fatal(requests[i])
					}
					if i++; i == len(requests) {
						i = 0
					}
				}
			})
		}
	}
}

// BenchmarkRoutes sends requests for all of few routes and all of many, in turn, through gateways in processes of their own,
// and reports the CPU time of a request with both and the ratio, which is to be below 2.
func BenchmarkRoutes(b *testing.B) {
	plain, calls := startBackends(b)
	for _, k := range routeKinds {
		b.Run(k.name, func(b *testing.B) {
			sizes := []int{few, many}
			perRequest := map[int][]float64{}
			gateways, senders := map[int]*rig.GatewayProcess{}, map[int]func(int){}
			for _, n := range sizes {
				text, file := k.configure(b, n, plain, calls)
				_, requests := rulesOf(b, file)
				gateways[n] = rig.StartGatewayProcess(b, text)
				senders[n] = k.sender(b, strings.TrimPrefix(gateways[n].URL, "http://"), requests)
				senders[n](2 * many)
			}
			for range 5 {
				for _, n := range sizes {
					before := gateways[n].CPU(b)
					senders[n](many)
					perRequest[n] = append(perRequest[n], (gateways[n].CPU(b)-before).Seconds()*1e6/many)
				}
			}
			b.ReportMetric(median(perRequest[few]), "few-µs/op")
			b.ReportMetric(median(perRequest[many]), "many-µs/op")
			b.ReportMetric(median(perRequest[many])/median(perRequest[few]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// startBackends starts one that answers every request, and one that answers every call with an empty message.
func startBackends(t testing.TB) (plain, calls string) {
	http1 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "an answer")
	}))
	t.Cleanup(http1.Close)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
			return err
		}
		return stream.SendMsg(new(emptypb.Empty))
	}))
	go func() { _ = server.Serve(socket) }() // ends with Stop
	t.Cleanup(server.Stop)
	return http1.Listener.Addr().String(), socket.Addr().String()
}

// sender returns what sends a number of requests over one connection, the ones after those it sent before.
func (k *routeKind) sender(t testing.TB, address string, requests []routing.Request) func(int) {
	next := 0
	turn := func() *routing.Request {
		next = (next + 1) % len(requests)
		return &requests[next]
	}
	if k.grpc {
		requests = slices.DeleteFunc(requests, func(r routing.Request) bool { return !strings.HasPrefix(r.Path, "/load.") })
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return func(n int) {
			for range n {
				if err := conn.Invoke(context.Background(), turn().Path, new(emptypb.Empty), new(emptypb.Empty)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	requests = slices.DeleteFunc(requests, func(r routing.Request) bool { return strings.HasPrefix(r.Path, "/load.") })
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	answers := bufio.NewReader(conn)
	return func(n int) {
		for range n {
			r := turn()
			body := ""
			if r.Method == http.MethodPost || r.Method == http.MethodPatch {
				body = "{}"
			}
			_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", r.Method, r.Path, r.Host, len(body), body)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s %s: %s %s", r.Method, r.Path, answer.Status, text)
			}
		}
	}
}
