package testserver

import (
	"context"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/crossgate/crossgate/integration/testproto"
)

// bindings serves testproto.Bindings: each method returns its request.
type bindings struct {
	testproto.UnimplementedBindingsServer
}

func (bindings) GetOne(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetTwo(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetRest(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetInside(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetAnonymous(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetTyped(_ context.Context, r *testproto.Scalars) (*testproto.Scalars, error) {
	return r, nil
}

func (bindings) GetKind(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) PostAll(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) PutAll(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) PostField(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) PatchInside(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) UpdateThing(_ context.Context, r *testproto.UpdateThingRequest) (*testproto.UpdateThingRequest, error) {
	return r, nil
}

func (bindings) PutLabels(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetFile(_ context.Context, r *testproto.Bound) (*httpbody.HttpBody, error) {
	return &httpbody.HttpBody{ContentType: r.GetNote(), Data: r.GetData()}, nil
}

func (bindings) PutString(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) Delete(context.Context, *testproto.Bound) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (bindings) Poke(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) CountThings(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) Describe(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetMessageField(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) GetRepeatedField(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) PostStringField(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}

func (bindings) Many(_ context.Context, r *testproto.Bound) (*testproto.Bound, error) {
	return r, nil
}
