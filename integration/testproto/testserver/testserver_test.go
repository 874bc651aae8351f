package testserver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestMetadataSteersAUnaryCall(t *testing.T) {
	client := testproto.NewEchoClient(dial(t, testserver.Start(t).Address))
	ctx := metadata.AppendToOutgoingContext(t.Context(),
		"x-test-code", "9", "x-test-message", "not now", "x-test-header-a", "1", "x-test-trailer-b-bin", "\x00\xff")
	var header, trailer metadata.MD
	_, err := client.EchoScalars(ctx, &testproto.Scalars{}, grpc.Header(&header), grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "not now" {
		t.Errorf("status %v, want FailedPrecondition, not now", err)
	}
	if got := header.Get("x-test-header-a"); len(got) != 1 || got[0] != "1" {
		t.Errorf("header %v, want x-test-header-a: 1", header)
	}
	if got := trailer.Get("x-test-trailer-b-bin"); len(got) != 1 || got[0] != "\x00\xff" {
		t.Errorf("trailer %v, want x-test-trailer-b-bin: 00ff", trailer)
	}
}

func TestMetadataSteersAStream(t *testing.T) {
	client := testproto.NewStreamsClient(dial(t, testserver.Start(t).Address))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-test-trailer-b", "2")
	stream, err := client.Count(ctx, &testproto.CountRequest{N: 3, Fail: int32(codes.Aborted)})
	if err != nil {
		t.Fatal(err)
	}
	for want := range int32(3) {
		m, err := stream.Recv()
		if err != nil || m.GetI() != want {
			t.Fatalf("message %v, %v; want %d", m, err, want)
		}
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the stream ends with %v, want Aborted", err)
	}
	if got := stream.Trailer().Get("x-test-trailer-b"); len(got) != 1 || got[0] != "2" {
		t.Errorf("trailer %v, want x-test-trailer-b: 2", stream.Trailer())
	}
}

func TestACallerThatGoesAwayIsCounted(t *testing.T) {
	server := testserver.Start(t)
	client := testproto.NewControlClient(dial(t, server.Address))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := client.Wait(ctx, &testproto.WaitRequest{Time: durationpb.New(time.Hour)})
		ended <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); server.Calls() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call does not come")
		}
	}
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("the call ends with %v, want Canceled", err)
	}
	for deadline := time.Now().Add(10 * time.Second); server.Canceled() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server does not notice that its caller is gone")
		}
	}
}

func TestAStoppedServerCanComeBackAtItsAddress(t *testing.T) {
	server := testserver.Start(t)
	server.Stop()
	again := testserver.StartAt(t, server.Address)
	client := testproto.NewEchoClient(dial(t, again.Address))
	if _, err := client.EchoScalars(t.Context(), &testproto.Scalars{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
}

func TestTheReferenceGatewayServesTheSameMessages(t *testing.T) {
	mux := runtime.NewServeMux()
	conn := dial(t, testserver.Start(t).Address)
	if err := testproto.RegisterBindingsHandler(t.Context(), mux, conn); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mux)
	defer web.Close()
	request, err := http.NewRequest(http.MethodPatch, web.URL+"/bind/v1/shelves/7?name=n", strings.NewReader(`{"count": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := web.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", answer.Status, err, body)
	}
	for _, want := range []string{`"name":"n"`, `"name":"shelves/7"`, `"count":3`} {
		if !strings.Contains(strings.ReplaceAll(string(body), " ", ""), want) {
			t.Errorf("the answer has no %s: %s", want, body)
		}
	}
}

func TestDescriptorSetIsComplete(t *testing.T) {
	files, err := protodesc.NewFiles(testserver.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []protoreflect.FullName{"Echo", "Bindings", "Streams", "Control"} {
		if _, err := files.FindDescriptorByName("crossgate.test.v1." + service); err != nil {
			t.Error(err)
		}
	}
}
