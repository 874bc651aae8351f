package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// native starts a backend and a gateway, with more route settings, and connects a gRPC client to the gateway.
func native(t *testing.T, settings string) (*grpc.ClientConn, *testserver.Server, *rig.Gateway) {
	t.Helper()
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test}"+settings))
	return dialGateway(t, g, insecure.NewCredentials()), backend, g
}

func dialGateway(t *testing.T, g *rig.Gateway, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(g.URL, "http://"), grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestNativeGRPCKeepsMetadataAndTrailers(t *testing.T) {
	conn, _, _ := native(t, "")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-test-header-a", "one", "x-test-trailer-b", "two", "x-test-header-c-bin", "\x00\xff")
	var header, trailer metadata.MD
	got, err := testproto.NewBindingsClient(conn).PostAll(ctx, &testproto.Bound{Name: "x"}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.UseCompressor(gzip.Name))
	if err != nil || got.GetName() != "x" {
		t.Fatalf("%v, %v", got, err)
	}
	if fmt.Sprint(header.Get("x-test-header-a"), trailer.Get("x-test-trailer-b")) != "[one] [two]" {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if v := header.Get("x-test-header-c-bin"); len(v) != 1 || v[0] != "\x00\xff" {
		t.Errorf("binary metadata came back as %q", v)
	}
}

func TestNativeGRPCStreams(t *testing.T) {
	conn, _, _ := native(t, "")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := testproto.NewStreamsClient(conn)

	count, err := c.Count(ctx, &testproto.CountRequest{N: 5})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if m, err := count.Recv(); err != nil || int(m.GetI()) != i {
			t.Fatalf("message %d: %v, %v", i, m, err)
		}
	}
	if _, err := count.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}

	sum, err := c.Sum(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := sum.Send(&testproto.SumRequest{Number: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := sum.CloseAndRecv(); err != nil || m.GetSum() != 6 || m.GetCount() != 4 {
		t.Errorf("%v, %v", m, err)
	}

	// Each answer is read before the next message is sent: nothing on the way may wait for more.
	talk, err := c.Talk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b", "c"} {
		if err := talk.Send(&testproto.TalkMessage{Text: text}); err != nil {
			t.Fatal(err)
		}
		if m, err := talk.Recv(); err != nil || m.GetText() != text {
			t.Fatalf("%v, %v", m, err)
		}
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

func TestNativeGRPCErrors(t *testing.T) {
	conn, backend, _ := native(t, ", max_body_size: 1KiB, timeout: 1s")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	control, bindings := testproto.NewControlClient(conn), testproto.NewBindingsClient(conn)

	detail, err := anypb.New(&errdetails.ErrorInfo{Reason: "BECAUSE", Domain: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = control.Fail(ctx, &testproto.FailRequest{Code: int32(codes.FailedPrecondition), Message: "not now: 100 %", Details: []*anypb.Any{detail}})
	s := status.Convert(err)
	if s.Code() != codes.FailedPrecondition || s.Message() != "not now: 100 %" || len(s.Details()) != 1 {
		t.Errorf("the backend's status came as %v %v", s, s.Details())
	}
	if _, err := bindings.PostAll(ctx, &testproto.Bound{Note: strings.Repeat("x", 2048)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit: %v", err)
	}
	if err := conn.Invoke(ctx, "/crossgate.test.v1.Control/Nothing", &testproto.InspectRequest{}, &testproto.InspectResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
	if _, err := control.Wait(ctx, &testproto.WaitRequest{Time: durationpb.New(time.Minute)}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("beyond the route's timeout: %v", err)
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	if _, err := control.Wait(short, &testproto.WaitRequest{Time: durationpb.New(time.Minute)}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("beyond the caller's deadline: %v", err)
	}
	stop()

	before, calls := backend.Canceled(), backend.Calls()
	canceled, giveUp := context.WithCancel(ctx)
	go func() {
		for backend.Calls() == calls && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		giveUp()
	}()
	if _, err := control.Wait(canceled, &testproto.WaitRequest{Time: durationpb.New(time.Minute)}); status.Code(err) != codes.Canceled {
		t.Errorf("canceled: %v", err)
	}
	rig.Eventually(t, 5*time.Second, func() error {
		if backend.Canceled() == before {
			return errors.New("the backend does not hear of the cancellation")
		}
		return nil
	})
	backend.Stop()
	if _, err := bindings.PostAll(ctx, &testproto.Bound{}); status.Code(err) != codes.Unavailable {
		t.Errorf("with the backend gone: %v", err)
	}
}

func TestNativeGRPCOverTLS(t *testing.T) {
	certificate, key := rig.Certificate(t)
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(strings.Replace(besidePeer, `"127.0.0.1:0"}`, `"127.0.0.1:0", tls: {certificate: `+certificate+`, key: `+key+`}}`, 1),
		backend.Address, "grpc: {upstream: test}"))
	conn := dialGateway(t, g, credentials.NewClientTLSFromCert(rig.Pool(t, certificate), ""))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if m, err := testproto.NewBindingsClient(conn).GetOne(ctx, &testproto.Bound{Name: "x"}); err != nil || m.GetName() != "x" {
		t.Errorf("%v, %v", m, err)
	}
}

// TestBadInput holds what DESIGN.md's last section promises of bad requests and faults, over REST.
func TestBadInput(t *testing.T) {
	_, backend, g := native(t, ", max_body_size: 1KiB, timeout: 300ms")
	for _, c := range []struct {
		name, method, path, contentType, body string
		header                                []string
		want                                  int
		contains                              string
	}{
		{"a field of the wrong type", "POST", "/bind/v1/all", "application/json", `{"number":"many"}`, nil, 400, "number"},
		{"broken JSON", "POST", "/bind/v1/all", "application/json", `{"name":`, nil, 400, `"code":3`},
		{"an unknown field", "POST", "/bind/v1/all", "application/json", `{"nothing":1}`, nil, 400, "nothing"},
		{"a query parameter of the wrong type", "GET", "/bind/v1/one/x?nested.count=many", "", "", nil, 400, "nested.count: expected"},
		{"a dot segment", "GET", "/bind/v1/one/%2e%2e", "", "", nil, 400, "segment"},
		{"no route", "GET", "/nothing", "", "", nil, 404, `"code":5`},
		{"the wrong method", "DELETE", "/bind/v1/all", "", "", nil, 405, `"code":12`},
		{"a body too large", "POST", "/bind/v1/all", "application/json", `{"name":"` + strings.Repeat("x", 2000) + `"}`, nil, 413, `"code":8`},
		{"a form", "POST", "/bind/v1/all", "application/x-www-form-urlencoded", "name=x", nil, 415, ""},
		{"the route's timeout", "GET", "/control/v1/wait?time=60s", "", "", nil, 504, `"code":4`},
		{"the caller's deadline", "GET", "/control/v1/wait?time=60s", "", "", []string{"Grpc-Timeout", "10m"}, 504, `"code":4`},
		{"a deadline that is none", "GET", "/bind/v1/one/x", "", "", []string{"Grpc-Timeout", "soon"}, 400, "grpc-timeout"},
		{"a stream that fails before its first message", "GET", "/stream/v1/count/0?fail=5", "", "", nil, 404, `"code":5`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := call(t, c.method, g.URL+c.path, c.contentType, []byte(c.body), c.header...)
			if code != c.want || !strings.Contains(text, c.contains) {
				t.Errorf("%d %s, want %d and %s", code, text, c.want, c.contains)
			}
		})
	}
	t.Run("the wrong method, with Allow", func(t *testing.T) {
		r, _ := http.NewRequest("DELETE", g.URL+"/bind/v1/all", nil)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Allow"); got != "POST" {
			t.Errorf("Allow: %q", got)
		}
	})
	t.Run("a stream that fails after messages says so in its last line", func(t *testing.T) {
		code, text := call(t, "GET", g.URL+"/stream/v1/count/2?fail=9", "", nil)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if code != 200 || len(lines) != 3 || !strings.HasPrefix(lines[2], `{"error":{"code":9,`) {
			t.Errorf("%d %q", code, lines)
		}
	})
	t.Run("and in an event of its own", func(t *testing.T) {
		code, text := call(t, "GET", g.URL+"/stream/v1/count/1?fail=9", "", nil, "Accept", "text/event-stream")
		if code != 200 || !strings.Contains(text, "data: {") || !strings.Contains(text, "event: error\ndata: {\"code\":9,") {
			t.Errorf("%d %q", code, text)
		}
	})
	t.Run("a client that goes away", func(t *testing.T) {
		before, calls := backend.Canceled(), backend.Calls()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for backend.Calls() == calls {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		r, _ := http.NewRequestWithContext(ctx, "GET", g.URL+"/control/v1/wait?time=60s", nil)
		if _, err := http.DefaultClient.Do(r); err == nil {
			t.Error("the call was answered")
		}
		rig.Eventually(t, 5*time.Second, func() error {
			if backend.Canceled() == before {
				return errors.New("the backend does not hear of it")
			}
			return nil
		})
	})
	t.Run("the backend gone", func(t *testing.T) {
		backend.Stop()
		if code, text := call(t, "GET", g.URL+"/bind/v1/one/x", "", nil); code != 503 || !strings.Contains(text, `"code":14`) {
			t.Errorf("%d %s", code, text)
		}
	})
}

func TestHeadersOnTheWay(t *testing.T) {
	_, _, g := native(t, "")
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	code, text := call(t, "GET", g.URL+"/control/v1/inspect", "", nil, "Traceparent", trace, "X-Request-Id", "id-1", "Grpc-Metadata-X-Own", "mine",
		"X-Other", "not handed on", "Cookie", "a=secret")
	for _, want := range []string{trace, `"x-request-id":{"values":["id-1"]}`, `"x-own":{"values":["mine"]}`, `"x-forwarded-for"`} {
		if code != 200 || !strings.Contains(strings.ReplaceAll(text, " ", ""), want) {
			t.Errorf("%d, no %s in %s", code, want, text)
		}
	}
	if strings.Contains(text, "x-other") || strings.Contains(text, "secret") {
		t.Errorf("handed on what was not to be: %s", text)
	}
}
