package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// oneRoute starts a gateway with one listener and one route to a backend, each with more keys.
func oneRoute(t testing.TB, backend, listener, route string) *rig.Gateway {
	t.Helper()
	return rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    %s
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes:
  - name: test
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
    %s
`, listener, backend, route))
}

// dialGRPC connects grpc-go to the gateway's first listener, in clear text unless an option says otherwise.
func dialGRPC(t testing.TB, g *rig.Gateway, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	conn, err := grpc.NewClient(strings.TrimPrefix(g.URL, "http://"), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// behind starts a backend and a gateway before it, and connects grpc-go to that.
func behind(t testing.TB) (*testserver.Server, *grpc.ClientConn) {
	t.Helper()
	backend := testserver.Start(t)
	return backend, dialGRPC(t, oneRoute(t, backend.Address, "", ""))
}

// soon is a context that ends before the test binary's own limit would.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	t.Cleanup(cancel)
	return ctx
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("the call ended with %v, want %v", err, want)
	}
}

// wantCanceled waits until the backend has seen that n callers are gone.
func wantCanceled(t testing.TB, backend *testserver.Server, n int64) {
	t.Helper()
	rig.Eventually(t, rig.Patience, func() error {
		if got := backend.Canceled(); got < n {
			return fmt.Errorf("the backend saw %d calls canceled, want %d", got, n)
		}
		return nil
	})
}

func TestGRPCPassesEveryKindOfCall(t *testing.T) {
	_, conn := behind(t)
	ctx := soon(t)
	client := testproto.NewStreamsClient(conn)

	t.Run("unary", func(t *testing.T) {
		want := &testproto.Bound{Name: "x", Tags: []string{"a", "b"}, Data: []byte{0, 255}}
		got, err := testproto.NewBindingsClient(conn).PostAll(ctx, want)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	})
	t.Run("a method without an HTTP binding", func(t *testing.T) {
		got, err := testproto.NewEchoClient(conn).EchoUnbound(ctx, &testproto.Bound{Name: "x"})
		if err != nil || got.GetName() != "x" {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		stream, err := client.Count(ctx, &testproto.CountRequest{N: 100, Padding: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for i := range int32(100) {
			m, err := stream.Recv()
			if err != nil || m.GetI() != i || len(m.GetPadding()) != 1000 {
				t.Fatalf("message %d: %v, %v", i, m, err)
			}
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last message: %v, want the end", err)
		}
	})
	t.Run("server stream that fails after messages", func(t *testing.T) {
		stream, err := client.Count(ctx, &testproto.CountRequest{N: 2, Fail: int32(codes.Aborted)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		_, err = stream.Recv()
		if s := status.Convert(err); s.Code() != codes.Aborted || s.Message() != "after 2 messages" {
			t.Errorf("%v, want Aborted, after 2 messages", err)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		stream, err := client.Sum(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(100) {
			if err := stream.Send(&testproto.SumRequest{Number: i}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := stream.CloseAndRecv()
		if err != nil || got.GetSum() != 4950 || got.GetCount() != 100 {
			t.Errorf("%v, %v; want 4950 of 100", got, err)
		}
	})
	t.Run("bidirectional stream, each answer before the next question", func(t *testing.T) {
		stream, err := client.Talk(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			text := fmt.Sprint("line ", i)
			if err := stream.Send(&testproto.TalkMessage{Text: text}); err != nil {
				t.Fatal(err)
			}
			m, err := stream.Recv()
			if err != nil || m.GetText() != text {
				t.Fatalf("%v, %v; want %s", m, err, text)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last message: %v, want the end", err)
		}
	})
}

func TestGRPCMetadataPassesBothWays(t *testing.T) {
	_, conn := behind(t)
	binary := "\x00\xff\x80 any bytes"
	ctx := metadata.AppendToOutgoingContext(soon(t),
		"x-plain", "one", "x-plain", "two", "x-raw-bin", binary,
		"x-test-header-a", "header", "x-test-header-b-bin", binary,
		"x-test-trailer-a", "trailer", "x-test-trailer-b-bin", binary)

	check := func(t *testing.T, header, trailer metadata.MD) {
		t.Helper()
		for _, want := range []struct {
			in         metadata.MD
			key, value string
		}{
			{header, "x-test-header-a", "header"},
			{header, "x-test-header-b-bin", binary},
			{trailer, "x-test-trailer-a", "trailer"},
			{trailer, "x-test-trailer-b-bin", binary},
		} {
			if got := want.in.Get(want.key); !slices.Equal(got, []string{want.value}) {
				t.Errorf("%s is %q, want %q", want.key, got, want.value)
			}
		}
	}
	t.Run("of a unary call", func(t *testing.T) {
		var header, trailer metadata.MD
		got, err := testproto.NewControlClient(conn).Inspect(ctx, &testproto.InspectRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		check(t, header, trailer)
		if v := got.GetMetadata()["x-plain"].GetValues(); !slices.Equal(v, []string{"one", "two"}) {
			t.Errorf("the backend got x-plain %q, want both values in order", v)
		}
		if v := got.GetMetadata()["x-raw-bin"].GetValues(); !slices.Equal(v, []string{"AP+AIGFueSBieXRlcw=="}) {
			t.Errorf("the backend got x-raw-bin %q", v)
		}
	})
	t.Run("of a stream", func(t *testing.T) {
		stream, err := testproto.NewStreamsClient(conn).Count(ctx, &testproto.CountRequest{N: 1})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		header, err := stream.Header()
		if err != nil {
			t.Fatal(err)
		}
		check(t, header, stream.Trailer())
	})
	t.Run("of a call that fails", func(t *testing.T) {
		var trailer metadata.MD
		_, err := testproto.NewControlClient(conn).Fail(ctx, &testproto.FailRequest{Code: int32(codes.NotFound)}, grpc.Trailer(&trailer))
		wantCode(t, err, codes.NotFound)
		if got := trailer.Get("x-test-trailer-b-bin"); !slices.Equal(got, []string{binary}) {
			t.Errorf("x-test-trailer-b-bin is %q", got)
		}
	})
}

func TestGRPCStatusPassesWithItsDetails(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	conn := dialGRPC(t, g)
	detail, err := anypb.New(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "name", Description: "too long"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &spb.Status{Code: int32(codes.InvalidArgument), Message: "100% wrong: näme\nis too long", Details: []*anypb.Any{detail}}
	_, err = testproto.NewControlClient(conn).Fail(soon(t), &testproto.FailRequest{Code: want.Code, Message: want.Message, Details: want.Details})
	if got := status.Convert(err).Proto(); !proto.Equal(got, want) {
		t.Errorf("status %v, want %v", got, want)
	}
	rig.Eventually(t, rig.Patience, func() error { // the log is written within a second
		if !strings.Contains(g.Log(), `"status":400`) {
			return errors.New("the access log has no status 400 for INVALID_ARGUMENT")
		}
		return nil
	})
	if _, metrics := call(t, "GET", g.Admin+"/metrics", "", nil); !strings.Contains(metrics, `crossgate_requests_total{code="400",protocol="grpc",route="test"} 1`) {
		t.Error("the metrics count no status 400 for INVALID_ARGUMENT")
	}
}

func TestGRPCCompressedCallPasses(t *testing.T) {
	_, conn := behind(t)
	want := &testproto.Bound{Note: strings.Repeat("compressible ", 10_000)}
	got, err := testproto.NewBindingsClient(conn).PostAll(soon(t), want, grpc.UseCompressor(gzip.Name))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Error("the message came back changed")
	}
}

func TestGRPCDeadline(t *testing.T) {
	t.Run("is told to the backend", func(t *testing.T) {
		_, conn := behind(t)
		ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
		defer cancel()
		got, err := testproto.NewControlClient(conn).Inspect(ctx, &testproto.InspectRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if left := got.GetTimeLeft().AsDuration(); left <= 0 || left > rig.Patience {
			t.Errorf("the backend had %v left, want at most a minute", left)
		}
	})
	t.Run("ends a call that the backend is still busy with", func(t *testing.T) {
		_, conn := behind(t)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := testproto.NewControlClient(conn).Wait(ctx, &testproto.WaitRequest{Time: durationpb.New(time.Minute)})
		wantCode(t, err, codes.DeadlineExceeded)
	})
	t.Run("is the route's for a caller without one", func(t *testing.T) {
		backend := testserver.Start(t)
		conn := dialGRPC(t, oneRoute(t, backend.Address, "", "timeout: 100ms"))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err := testproto.NewControlClient(conn).Wait(ctx, &testproto.WaitRequest{Time: durationpb.New(time.Minute)})
		wantCode(t, err, codes.DeadlineExceeded)
	})
}

func TestGRPCCancelReachesTheBackend(t *testing.T) {
	backend, conn := behind(t)
	client := testproto.NewStreamsClient(conn)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	stream, err := client.Talk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testproto.TalkMessage{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // now the backend's handler runs
		t.Fatal(err)
	}
	cancel()
	wantCanceled(t, backend, 1)
	_, err = stream.Recv()
	wantCode(t, err, codes.Canceled)
}

func TestGRPCMessageLargerThanTheRouteTakes(t *testing.T) {
	backend := testserver.Start(t)
	conn := dialGRPC(t, oneRoute(t, backend.Address, "", "max_body_size: 1KiB"))
	ctx := soon(t)
	client := testproto.NewBindingsClient(conn)

	_, err := client.PostAll(ctx, &testproto.Bound{Note: strings.Repeat("x", 900)})
	wantCode(t, err, codes.OK)
	for _, size := range []int{1025, 1 << 20} {
		_, err = client.PostAll(ctx, &testproto.Bound{Note: strings.Repeat("x", size)})
		wantCode(t, err, codes.ResourceExhausted)
	}

	// The limit is a message's, not a stream's.
	stream, err := testproto.NewStreamsClient(conn).Talk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := stream.Send(&testproto.TalkMessage{Text: strings.Repeat("x", 900)}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Send(&testproto.TalkMessage{Text: strings.Repeat("x", 2000)}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.ResourceExhausted)
}

func TestGRPCUnknownMethodIsUnimplemented(t *testing.T) {
	_, conn := behind(t)
	for name, method := range map[string]string{
		"of a service that the gateway serves":      "/crossgate.test.v1.Control/Missing",
		"of a service that the gateway knows not":   "/other.v1.Service/Method",
		"whose path is a REST binding":              "/bind/v1/all",
		"whose path has one part":                   "/nothing",
		"of a service of the backend without route": "/grpc.reflection.v1.ServerReflection/Missing",
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, conn.Invoke(soon(t), method, &testproto.InspectRequest{}, &testproto.InspectResponse{}), codes.Unimplemented)
		})
	}
}

func TestGRPCBackendGoneIsUnavailable(t *testing.T) {
	backend, conn := behind(t)
	ctx := soon(t)
	client := testproto.NewControlClient(conn)
	if _, err := client.Inspect(ctx, &testproto.InspectRequest{}); err != nil {
		t.Fatal(err)
	}
	stream, err := testproto.NewStreamsClient(conn).Talk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testproto.TalkMessage{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	backend.Stop()

	_, err = stream.Recv()
	wantCode(t, err, codes.Unavailable)
	_, err = client.Inspect(ctx, &testproto.InspectRequest{})
	wantCode(t, err, codes.Unavailable)

	testserver.StartAt(t, backend.Address)
	rig.Eventually(t, rig.Patience, func() error {
		_, err := client.Inspect(ctx, &testproto.InspectRequest{})
		return err
	})
}

func TestGRPCOverTLS(t *testing.T) {
	backend := testserver.Start(t)
	certificate, key := rig.Certificate(t)
	g := oneRoute(t, backend.Address, fmt.Sprintf("tls: {certificate: %s, key: %s}", certificate, key), "")
	// grpc-go insists that ALPN agrees on h2.
	conn := dialGRPC(t, g, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(rig.Pool(t, certificate), "")))
	ctx := soon(t)
	got, err := testproto.NewBindingsClient(conn).GetOne(ctx, &testproto.Bound{Name: "x"})
	if err != nil || got.GetName() != "x" {
		t.Fatalf("%v, %v", got, err)
	}
	stream, err := testproto.NewStreamsClient(conn).Talk(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testproto.TalkMessage{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetText() != "hello" {
		t.Errorf("%v, %v", m, err)
	}
}
