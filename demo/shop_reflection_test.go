package demo

//lint:file-ignore SA1019 v1alpha is deprecated, and what many clients still speak

import (
	"context"
	"testing"
	"time"

	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

func TestReflectionSpeaksBothVersions(t *testing.T) {
	_, conn := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	v1, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err == nil {
		err = v1.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "crossgate.demo.v1.Shop"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := v1.Recv(); err != nil || answer.GetErrorResponse() != nil {
		t.Errorf("v1 answers %v, %v", answer, err)
	}
	alpha, err := reflectionv1alpha.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err == nil {
		err = alpha.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "crossgate.demo.v1.Shop"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := alpha.Recv(); err != nil || answer.GetErrorResponse() != nil {
		t.Errorf("v1alpha answers %v, %v", answer, err)
	}
}
