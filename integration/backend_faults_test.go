package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// faultyBackend is a backend that is well until it breaks.
type faultyBackend struct {
	backends
	breakNow func(t *testing.T) // nil for one that never was well
}

// all are the upstreams that callers use.
var all = []string{"rest", "grpc", "plain"}

// backendFaults are the ways in which one of two backends fails, and how many requests clients may see fail of it: none
// where the route's retries promise that. What they cannot promise is an answer whose headers have been passed on, of
// which outlier detection ends the series: three in a row, and one more for the other caller that is under way.
var backendFaults = []struct {
	name    string
	backend func(t *testing.T) faultyBackend
	ejects  []string // the upstreams whose endpoint is ejected; in others it is passed over, as there is no connection
	most    map[string]int64
}{
	{"killed", func(t *testing.T) faultyBackend {
		p := startBackendProcess(t)
		return faultyBackend{p.backends, func(*testing.T) { p.Kill() }}
	}, nil, nil},
	{"paused", func(t *testing.T) faultyBackend {
		p := startBackendProcess(t)
		return faultyBackend{p.backends, func(t *testing.T) {
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}}
	}, all, nil},
	{"slow", func(t *testing.T) faultyBackend {
		plain := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		t.Cleanup(plain.Close)
		late := testserver.Start(t, grpc.ChainUnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		return faultyBackend{backends: backends{late.Address, plain.Listener.Addr().String()}}
	}, all, nil},
	{"resetting at once", func(t *testing.T) faultyBackend {
		at := rawBackend(t, func(conn net.Conn, _ int) { reset(conn) })
		return faultyBackend{backends: backends{at, at}}
	}, []string{"plain"}, nil},
	{"resetting in its answers", func(t *testing.T) faultyBackend {
		return faultyBackend{backends: backends{
			framesBackend(t, func(f *http2.Framer, stream uint32) bool {
				answerHeaders(f, stream)
				_ = f.WriteData(stream, false, append([]byte{0, 0, 0, 0, 100}, "half of it"...))
				return true
			}),
			rawBackend(t, func(conn net.Conn, _ int) {
				if readHead(bufio.NewReader(conn)) {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
					reset(conn)
				}
			}),
		}}
	}, all, map[string]int64{"gRPC": 4, "HTTP": 4}},
	{"answering garbage", func(t *testing.T) faultyBackend {
		at := rawBackend(t, func(conn net.Conn, _ int) {
			_, _ = conn.Read(make([]byte, 100))
			_, _ = io.WriteString(conn, "\x00\x01\x02 this is no protocol\r\n\r\n")
		})
		return faultyBackend{backends: backends{at, at}}
	}, []string{"plain"}, nil},
	{"answering with headers beyond all measure", func(t *testing.T) faultyBackend {
		large := strings.Repeat("x", 600<<10)
		return faultyBackend{backends: backends{
			framesBackend(t, func(f *http2.Framer, stream uint32) bool {
				answerHeaders(f, stream, hpack.HeaderField{Name: "x-large", Value: large})
				return false
			}),
			rawBackend(t, func(conn net.Conn, _ int) {
				if readHead(bufio.NewReader(conn)) {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Large: "+large+"\r\n\r\n")
				}
			}),
		}}
	}, all, nil},
	{"answering less than it announced", func(t *testing.T) faultyBackend {
		return faultyBackend{backends: backends{
			framesBackend(t, func(f *http2.Framer, stream uint32) bool {
				answerHeaders(f, stream, hpack.HeaderField{Name: "content-length", Value: "100"})
				_ = f.WriteData(stream, true, []byte{0, 0, 0, 0, 0})
				return false
			}),
			rawBackend(t, func(conn net.Conn, _ int) {
				if readHead(bufio.NewReader(conn)) {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nless")
				}
			}),
		}}
	}, all, map[string]int64{"REST": 4, "gRPC": 4, "HTTP": 4}},
}

// TestHowManyRequestsFailWithABackend has callers of every protocol on two backends, of which one fails.
func TestHowManyRequestsFailWithABackend(t *testing.T) {
	good := startBackends(t)
	for _, fault := range backendFaults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			bad := fault.backend(t)
			// A try may time out for want of a processor, too; ten in a row do not.
			g := faultGateway(t, endpointsOf(good.grpc, bad.grpc), endpointsOf(good.http, bad.http),
				"try_timeout: 3s, retry: {retries: 10, on: [reset, gateway, timeout]}")
			f := startTraffic(t, 2, callers(t, g))
			if bad.breakNow != nil {
				f.more(t, 20)
				bad.breakNow(t)
			}
			f.more(t, 20)
			rig.Eventually(t, rig.Patience, func() error { return ejected(t, g, fault.ejects) })
			f.more(t, 20)
			f.wantFailed(t, fault.most)
		})
	}
}

func endpointsOf(addresses ...string) string {
	return fmt.Sprintf("endpoints: [%s]", strings.Join(addresses, ", "))
}

// faultGateway starts a gateway with more keys in its routes, which ejects who fails three times in a row.
func faultGateway(t *testing.T, grpcEndpoints, httpEndpoints, route string) *rig.Gateway {
	t.Helper()
	const well = `balancing: {policy: round_robin}, retry_budget: {percent: 100, min_concurrent: 100},
    outlier_detection: {consecutive_failures: 3, interval: 1s, base_ejection: 5m, max_ejected: 50}`
	return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: rest, %[1]s, %[3]s}
  - {name: grpc, %[1]s, %[3]s}
  - {name: plain, protocol: http, %[2]s, %[3]s}
descriptors: [{file: %[4]q}]
routes:
  - {name: rest, grpc: {upstream: rest, services: ["crossgate.test.v1.*"]}, timeout: 50s, %[5]s}
  - {name: grpc, match: {headers: {X-Kind: grpc}}, grpc: {upstream: grpc, services: ["crossgate.test.v1.*"]}, timeout: 50s, %[5]s}
  - {name: http, match: {path_prefix: /http/}, http: {upstream: plain}, timeout: 50s, %[5]s}
`, grpcEndpoints, httpEndpoints, well, testSetFile(t), route))
}

// ejected is an error while an upstream has all of its endpoints.
func ejected(t *testing.T, g *rig.Gateway, upstreams []string) error {
	_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
	for _, u := range upstreams {
		if !strings.Contains(metrics, fmt.Sprintf(`crossgate_upstream_ejections_total{reason="consecutive_failures",upstream=%q} 1`, u)) {
			return fmt.Errorf("no endpoint of %s is ejected", u)
		}
	}
	return nil
}

// callers make requests of each protocol, which end well only with a whole answer.
func callers(t *testing.T, g *rig.Gateway) map[string]func(context.Context) error {
	t.Helper()
	bindings := testproto.NewBindingsClient(dialGRPC(t, g))
	return map[string]func(context.Context) error{
		"REST": getting(t, g.URL+"/bind/v1/one/x"),
		"HTTP": getting(t, g.URL+"/http/x"),
		"gRPC": func(ctx context.Context) error {
			_, err := bindings.GetOne(metadata.AppendToOutgoingContext(ctx, "x-kind", "grpc"), &testproto.Bound{Name: "x"})
			return err
		},
	}
}

// framesBackend starts a server of HTTP/2 that has answer say something to each request, and is told whether to reset then.
func framesBackend(t *testing.T, answer func(f *http2.Framer, stream uint32) (resets bool)) string {
	t.Helper()
	return rawBackend(t, func(conn net.Conn, _ int) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					_ = f.WritePing(true, frame.Data)
				}
			case *http2.HeadersFrame:
				if answer(f, frame.StreamID) {
					reset(conn)
					return
				}
			}
		}
	})
}

// answerHeaders begins an answer of gRPC.
func answerHeaders(f *http2.Framer, stream uint32, more ...hpack.HeaderField) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, h := range append([]hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "application/grpc"}}, more...) {
		_ = encoder.WriteField(h)
	}
	first, rest := block.Next(16<<10), block.Bytes()
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		n := min(len(rest), 16<<10)
		_ = f.WriteContinuation(stream, n == len(rest), rest[:n])
		rest = rest[n:]
	}
}
