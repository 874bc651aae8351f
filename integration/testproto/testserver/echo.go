package testserver

import (
	"context"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/crossgate/crossgate/integration/testproto"
)

// echo serves testproto.Echo: each method returns its request.
type echo struct {
	testproto.UnimplementedEchoServer
}

func (echo) EchoScalars(_ context.Context, r *testproto.Scalars) (*testproto.Scalars, error) {
	return r, nil
}

func (echo) EchoOptionals(_ context.Context, r *testproto.Optionals) (*testproto.Optionals, error) {
	return r, nil
}

func (echo) EchoRepeateds(_ context.Context, r *testproto.Repeateds) (*testproto.Repeateds, error) {
	return r, nil
}

func (echo) EchoMaps(_ context.Context, r *testproto.Maps) (*testproto.Maps, error) {
	return r, nil
}

func (echo) EchoOneofs(_ context.Context, r *testproto.Oneofs) (*testproto.Oneofs, error) {
	return r, nil
}

func (echo) EchoNested(_ context.Context, r *testproto.Nested) (*testproto.Nested, error) {
	return r, nil
}

func (echo) EchoRecursive(_ context.Context, r *testproto.Recursive) (*testproto.Recursive, error) {
	return r, nil
}

func (echo) EchoEnums(_ context.Context, r *testproto.Enums) (*testproto.Enums, error) {
	return r, nil
}

func (echo) EchoTimes(_ context.Context, r *testproto.Times) (*testproto.Times, error) {
	return r, nil
}

func (echo) EchoWrappers(_ context.Context, r *testproto.Wrappers) (*testproto.Wrappers, error) {
	return r, nil
}

func (echo) EchoDynamics(_ context.Context, r *testproto.Dynamics) (*testproto.Dynamics, error) {
	return r, nil
}

func (echo) EchoNames(_ context.Context, r *testproto.Names) (*testproto.Names, error) {
	return r, nil
}

func (echo) EchoStruct(_ context.Context, r *structpb.Struct) (*structpb.Struct, error) {
	return r, nil
}

func (echo) EchoValue(_ context.Context, r *structpb.Value) (*structpb.Value, error) {
	return r, nil
}

func (echo) EchoListValue(_ context.Context, r *structpb.ListValue) (*structpb.ListValue, error) {
	return r, nil
}

func (echo) EchoTimestamp(_ context.Context, r *timestamppb.Timestamp) (*timestamppb.Timestamp, error) {
	return r, nil
}

func (echo) EchoAny(_ context.Context, r *anypb.Any) (*anypb.Any, error) {
	return r, nil
}

func (echo) EchoStringValue(_ context.Context, r *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return r, nil
}

func (echo) EchoEmpty(_ context.Context, r *emptypb.Empty) (*emptypb.Empty, error) {
	return r, nil
}

func (echo) EchoUnbound(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}
