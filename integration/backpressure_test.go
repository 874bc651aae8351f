package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

const (
	// budget is what the gateway's process may grow by for a slow reader.
	budget = 5 << 20
	// inKernels bounds what sockets hold between the backend and a reader: two connections, a buffer at each end.
	inKernels = 24 << 20
	// padding makes messages large enough for their number not to count.
	padding = 64 << 10
)

// flood is a backend that counts the bytes of the messages it has sent.
func flood(t testing.TB) (*testserver.Server, *atomic.Int64) {
	sent := new(atomic.Int64)
	return testserver.Start(t, grpc.ChainStreamInterceptor(func(service any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(service, counting{s, sent})
	})), sent
}

type counting struct {
	grpc.ServerStream
	sent *atomic.Int64
}

func (c counting) SendMsg(m any) error {
	err := c.ServerStream.SendMsg(m)
	if r, ok := m.(*testproto.CountResponse); ok && err == nil {
		c.sent.Add(int64(len(r.GetPadding())))
	}
	return err
}

// separateGateway starts a gateway before a backend whose memory is its own.
func separateGateway(t testing.TB, backend string) *rig.GatewayProcess {
	t.Helper()
	g := rig.StartGatewayProcess(t, fmt.Sprintf(`
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes: [{name: test, timeout: 0, grpc: {upstream: test, services: ["crossgate.test.v1.*"], websocket: {}}}]
`, backend))
	serves(t, g.URL+"/bind/v1/one/x", http.StatusOK)
	return g
}

// reader reads a stream of Count as one of the protocols has it: bytes of any framing.
type reader struct {
	open func(ctx context.Context, t testing.TB, url string, n int) io.ReadCloser
	// size is how much one GiB of a stream's data is tested with; the first is the whole.
	megabytes int
}

var slowReaders = map[string]reader{
	"lines": {func(ctx context.Context, t testing.TB, url string, n int) io.ReadCloser {
		return get(ctx, t, slowClient(t, false), url+countPath(n))
	}, 1024},
	"events over HTTP 2": {func(ctx context.Context, t testing.TB, url string, n int) io.ReadCloser {
		return get(ctx, t, slowClient(t, true), url+countPath(n), "Accept", "text/event-stream")
	}, 128},
	"WebSocket": {func(ctx context.Context, t testing.TB, url string, n int) io.ReadCloser {
		conn, _, err := websocket.Dial(ctx, url+countPath(n), &websocket.DialOptions{HTTPClient: slowClient(t, false)})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		return &socketReader{ctx: ctx, conn: conn}
	}, 128},
	"gRPC": {func(ctx context.Context, t testing.TB, url string, n int) io.ReadCloser {
		conn := dialGRPC(t, &rig.Gateway{URL: url}, grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
		stream, err := testproto.NewStreamsClient(conn).Count(ctx, &testproto.CountRequest{N: int32(n), Padding: padding})
		if err != nil {
			t.Fatal(err)
		}
		return &grpcReader{stream: stream}
	}, 128},
}

func countPath(n int) string { return fmt.Sprintf("/stream/v1/count/%d?padding=%d", n, padding) }

// slowClient has little room in its sockets.
func slowClient(t testing.TB, two bool) *http.Client {
	client := httpClient(t, two)
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		return conn, err
	}
	return client
}

func get(ctx context.Context, t testing.TB, client *http.Client, url string, header ...string) io.ReadCloser {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Body
}

type socketReader struct {
	ctx  context.Context
	conn *websocket.Conn
	data io.Reader
}

func (s *socketReader) Read(p []byte) (int, error) {
	for {
		if s.data == nil {
			_, data, err := s.conn.Reader(s.ctx)
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
				return 0, io.EOF
			}
			if err != nil {
				return 0, err
			}
			s.data = data
		}
		n, err := s.data.Read(p)
		if errors.Is(err, io.EOF) {
			s.data, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socketReader) Close() error { return s.conn.CloseNow() }

type grpcReader struct {
	stream grpc.ServerStreamingClient[testproto.CountResponse]
	data   bytes.Buffer
}

func (g *grpcReader) Read(p []byte) (int, error) {
	if g.data.Len() == 0 {
		m, err := g.stream.Recv()
		if err != nil {
			return 0, err
		}
		g.data.WriteString(m.GetPadding())
	}
	return g.data.Read(p)
}

func (g *grpcReader) Close() error { return nil }

// A reader that takes nothing stops the backend, and however much it takes in the end, the gateway holds none of it.
func TestASlowReaderStopsTheBackendAndCostsNoMemory(t *testing.T) {
	backend, sent := flood(t)
	gateway := separateGateway(t, backend.Address)
	for name, r := range slowReaders {
		t.Run(name, func(t *testing.T) {
			if rig.Race {
				r.megabytes /= 8
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*rig.Patience)
			defer cancel()
			// What a process takes once, for the first streams, is not for this one.
			for range 2 {
				warm := r.open(ctx, t, gateway.URL, 512)
				if n, err := io.Copy(io.Discard, warm); err != nil || n < 512*padding {
					t.Fatalf("%d bytes, %v", n, err)
				}
				warm.Close()
			}
			sent.Store(0)
			before := gateway.Memory(t)

			body := r.open(ctx, t, gateway.URL, r.megabytes*16)
			defer body.Close()
			if _, err := io.CopyN(io.Discard, body, 2*padding); err != nil {
				t.Fatal(err)
			}
			held := settled(t, sent)
			if held > inKernels {
				t.Errorf("the backend had sent %d MB to a reader that took nothing", held>>20)
			}
			if grown := gateway.Memory(t) - before; grown > budget {
				t.Errorf("the gateway grew by %d KB for a reader that took nothing", grown>>10)
			}

			most := watchMemory(t, gateway, func() {
				if n, err := io.Copy(io.Discard, body); err != nil || n < int64(r.megabytes*16-2)*padding {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
			if got := sent.Load(); got != int64(r.megabytes)<<20 {
				t.Errorf("the backend sent %d MB, want %d", got>>20, r.megabytes)
			}
			if grown := most - before; grown > budget {
				t.Errorf("the gateway grew by %d KB for a stream of %d MB", grown>>10, r.megabytes)
			}
			t.Logf("%d MB: %d MB sent ahead, memory from %d KB to %d KB", r.megabytes, held>>20, before>>10, most>>10)
		})
	}
}

// settled waits until a count has not changed for a while, and returns it.
func settled(t testing.TB, count *atomic.Int64) int64 {
	t.Helper()
	last, since := count.Load(), time.Now()
	rig.Eventually(t, rig.Patience, func() error {
		if now := count.Load(); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < 300*time.Millisecond {
			return fmt.Errorf("the backend goes on, at %d MB", last>>20)
		}
		return nil
	})
	return last
}

// watchMemory returns the most memory that a process had while do ran.
func watchMemory(t testing.TB, p *rig.GatewayProcess, do func()) int64 {
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		var m int64
		for {
			m = max(m, p.Memory(t))
			select {
			case <-done:
				most <- m
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	do()
	close(done)
	return <-most
}
