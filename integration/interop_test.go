package integration

import (
	"context"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestGRPCInteroperability runs the cases of grpc-go's interoperability client that need no Google account, against its
// server behind the gateway (grpc's doc/interop-test-descriptions.md). A case that fails ends the process, as that client
// does. Compressed calls are not among the cases that grpc-go has.
func TestGRPCInteroperability(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := grpc.NewServer(orca.CallMetricsServerOption(nil))
	testpb.RegisterTestServiceServer(backend, interop.NewTestServer())
	go func() { _ = backend.Serve(l) }() // ends with Stop
	t.Cleanup(backend.Stop)
	conn := dialGRPC(t, rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
upstreams: [{name: interop, endpoints: ["%s"]}]
routes:
  - name: interop
    grpc: {upstream: interop, services: [grpc.testing.TestService, grpc.testing.UnimplementedService]}
`, l.Addr())))
	c := testpb.NewTestServiceClient(conn)
	for name, run := range map[string]func(context.Context, testpb.TestServiceClient, ...grpc.CallOption){
		"empty_unary":                 interop.DoEmptyUnaryCall,
		"large_unary":                 interop.DoLargeUnaryCall,
		"client_streaming":            interop.DoClientStreaming,
		"server_streaming":            interop.DoServerStreaming,
		"ping_pong":                   interop.DoPingPong,
		"empty_stream":                interop.DoEmptyStream,
		"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
		"cancel_after_begin":          interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
		"custom_metadata":             interop.DoCustomMetadata,
		"status_code_and_message":     interop.DoStatusCodeAndMessage,
		"special_status_message":      interop.DoSpecialStatusMessage,
	} {
		t.Run(name, func(t *testing.T) { run(soon(t), c) })
	}
	t.Run("unimplemented_method", func(t *testing.T) { interop.DoUnimplementedMethod(soon(t), conn) })
	t.Run("unimplemented_service", func(t *testing.T) {
		interop.DoUnimplementedService(soon(t), testpb.NewUnimplementedServiceClient(conn))
	})
}
