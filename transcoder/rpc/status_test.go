package rpc

import (
	"net/http"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestAStatusSurvivesItsTrailers(t *testing.T) {
	s, err := status.New(codes.FailedPrecondition, "100% wröng\nand over").WithDetails(&errdetails.ErrorInfo{Reason: "R", Domain: "d"})
	if err != nil {
		t.Fatal(err)
	}
	trailer := trailerOf(s.Err())
	if got := trailer.Get("Grpc-Message"); got != "100%25 wr%C3%B6ng%0Aand over" {
		t.Errorf("grpc-message is %q", got)
	}
	if got := statusOf(trailer); !proto.Equal(got.Proto(), s.Proto()) {
		t.Errorf("%v, want %v", got, s)
	}
}

func TestOddTrailersMakeAStatusAllTheSame(t *testing.T) {
	for _, c := range []struct {
		name    string
		trailer http.Header
		code    codes.Code
		message string
	}{
		{"a code that is none", http.Header{"Grpc-Status": {"99"}}, codes.Unknown, ""},
		{"a code that is no number", http.Header{"Grpc-Status": {"ok"}}, codes.Unknown, ""},
		{"a message with a broken escape", http.Header{"Grpc-Status": {"3"}, "Grpc-Message": {"100% x"}}, codes.InvalidArgument, "100% x"},
		{"a message that is not UTF-8", http.Header{"Grpc-Status": {"3"}, "Grpc-Message": {"%FF"}}, codes.InvalidArgument, "\uFFFD"},
		{"details that are none", http.Header{"Grpc-Status": {"3"}, "Grpc-Status-Details-Bin": {"****"}}, codes.InvalidArgument, ""},
	} {
		if s := statusOf(c.trailer); s.Code() != c.code || s.Message() != c.message || len(s.Details()) != 0 {
			t.Errorf("%s: %v", c.name, s)
		}
	}
}
