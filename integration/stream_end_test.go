package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// soonEnough is how soon a backend is to know that its caller is gone.
const soonEnough = 100 * time.Millisecond

// A machine that is busy with other things delays anything now and then, so the quickest of some tries counts.
func TestCancellationReachesTheBackendSoon(t *testing.T) {
	gone := make(chan time.Time, 1)
	backend := testserver.Start(t, grpc.ChainStreamInterceptor(func(service any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		err := next(service, s)
		if errors.Is(s.Context().Err(), context.Canceled) {
			select {
			case gone <- time.Now():
			default:
			}
		}
		return err
	}))
	g := matrixGateway(t, backend.Address, "")
	const path = "/stream/v1/count/2?interval=60s"
	for name, start := range map[string]func(ctx context.Context, t *testing.T) (cancel func()){
		"of a stream over HTTP/1.1": func(ctx context.Context, t *testing.T) func() { return startStream(ctx, t, false, g.URL+path) },
		"of a stream over HTTP/2":   func(ctx context.Context, t *testing.T) func() { return startStream(ctx, t, true, g.URL+path) },
		"of a WebSocket": func(ctx context.Context, t *testing.T) func() {
			conn, _, err := websocket.Dial(ctx, g.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := conn.Read(ctx); err != nil {
				t.Fatal(err)
			}
			return func() { _ = conn.CloseNow() }
		},
		"of native gRPC": func(ctx context.Context, t *testing.T) func() {
			ctx, cancel := context.WithCancel(ctx)
			stream, err := testproto.NewStreamsClient(dialGRPC(t, g)).Talk(ctx)
			if err == nil {
				err = stream.Send(&testproto.TalkMessage{})
			}
			if err == nil {
				_, err = stream.Recv()
			}
			if err != nil {
				t.Fatal(err)
			}
			return cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			quickest := time.Hour
			for range 10 {
				cancel := start(soon(t), t)
				at := time.Now()
				cancel()
				select {
				case seen := <-gone:
					quickest = min(quickest, seen.Sub(at))
				case <-time.After(rig.Patience):
					t.Fatal("the backend does not know that its caller is gone")
				}
				if quickest < soonEnough {
					t.Logf("after %v", quickest)
					return
				}
			}
			t.Errorf("the backend knew after %v at best, want %v", quickest, soonEnough)
		})
	}
}

// startStream reads the first line of a stream, and returns what ends it.
func startStream(ctx context.Context, t *testing.T, two bool, url string) func() {
	ctx, cancel := context.WithCancel(ctx)
	body := get(ctx, t, httpClient(t, two), url)
	if _, err := bufio.NewReader(body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		body.Close()
	}
}

// stubborn is a backend that goes on whatever becomes of its callers: streams after their first message.
func stubborn(t testing.TB) *testserver.Server {
	release := make(chan struct{})
	hang := func(err error) error {
		<-release
		return err
	}
	backend := testserver.Start(t,
		grpc.ChainUnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, request)
			return answer, hang(err)
		}),
		grpc.ChainStreamInterceptor(func(service any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			err := next(service, s)
			if !strings.HasPrefix(info.FullMethod, "/crossgate.test.") { // reflection is none of this
				return err
			}
			return hang(err)
		}))
	t.Cleanup(func() { close(release) })
	return backend
}

func TestADeadlineHoldsWhereTheBackendIgnoresIt(t *testing.T) {
	g := matrixGateway(t, stubborn(t).Address, "timeout: 500ms")
	t.Run("for a unary call", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+"/bind/v1/one/x", "")
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
	t.Run("for a stream that has begun", func(t *testing.T) {
		var failed struct{ Error json.RawMessage }
		rig.Eventually(t, rig.Patience, func() error { // on a slow machine the deadline may pass before it has begun
			answer, body := ask(t, "GET", g.URL+"/stream/v1/count/1", "")
			message, last, _ := strings.Cut(body, "\n")
			if err := json.Unmarshal([]byte(last), &failed); err != nil || answer.StatusCode != http.StatusOK || message == "" {
				return fmt.Errorf("%s, %w: %s", answer.Status, err, body)
			}
			return nil
		})
		wantStatusJSON(t, string(failed.Error), codes.DeadlineExceeded)
	})
	t.Run("for a client stream", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+"/stream/v1/sum", `{"number":1}`)
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
	t.Run("for a WebSocket", func(t *testing.T) {
		rig.Eventually(t, rig.Patience, func() error {
			if got, code := talk(t, g.URL+"/stream/v1/count/1"); code != 4104 || len(got) != 1 {
				return fmt.Errorf("%q, %d", got, code)
			}
			return nil
		})
	})
	t.Run("for native gRPC without a deadline of its own", func(t *testing.T) {
		_, err := testproto.NewBindingsClient(dialGRPC(t, g)).PostAll(context.Background(), &testproto.Bound{})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	})
}

// A client that reads nothing cannot hold a call beyond its deadline and the time to say so.
func TestAClientThatReadsNothingDoesNotOutliveTheDeadline(t *testing.T) {
	backend, _ := flood(t)
	g := matrixGateway(t, backend.Address, "timeout: 5s")
	serves(t, g.URL+"/bind/v1/one/x", http.StatusOK)
	ctx := soon(t)
	for _, r := range slowReaders {
		defer r.open(ctx, t, g.URL, 100000).Close()
	}
	rig.Eventually(t, rig.Patience, func() error {
		_, metrics := ask(t, "GET", g.Admin+"/metrics", "")
		if !strings.Contains(metrics, "\ncrossgate_requests_in_flight 0\n") {
			return errors.New("requests are in flight still")
		}
		return nil
	})
}

// A message that has come goes out, whatever comes after it, and what follows at once goes out with it.
func TestMessagesAreFlushedAsTheyCome(t *testing.T) {
	g := matrixGateway(t, testserver.Start(t).Address, "")
	for _, accept := range []string{"application/x-ndjson", "application/json", "text/event-stream"} {
		body := get(soon(t), t, http.DefaultClient, g.URL+"/stream/v1/count/2?interval=60s", "Accept", accept)
		buffer := make([]byte, 4096)
		n, err := io.ReadAtLeast(body, buffer, len(`{"i":0,"padding":""}`))
		if err != nil || !strings.Contains(string(buffer[:n]), `{"i":0,"padding":""}`) {
			t.Errorf("%s: %q, %v", accept, buffer[:n], err)
		}
		body.Close()
	}
}
