package transcoder

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// details packs messages and hands a status with them to AppendStatus, with a resolver that knows no type.
func detailsJSON(t *testing.T, details ...*anypb.Any) string {
	t.Helper()
	s := status.FromProto(&spb.Status{Code: 9, Message: "m", Details: details})
	return string(AppendStatus(nil, s, new(protoregistry.Types)))
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestWellKnownDetailsAreJSONEvenIfTheSetLacksTheirTypes(t *testing.T) {
	for _, c := range []struct {
		detail proto.Message
		want   string
	}{
		{&errdetails.ErrorInfo{Reason: "R", Domain: "d", Metadata: map[string]string{"k": "v"}}, `"reason":"R","domain":"d","metadata":{"k":"v"}`},
		{&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}, `"retryDelay":"1.500s"`},
		{&errdetails.DebugInfo{StackEntries: []string{"a"}, Detail: "x"}, `"stackEntries":["a"],"detail":"x"`},
		{&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "s", Description: "x"}}}, `"violations":[{"subject":"s","description":"x"}]`},
		{&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{Type: "TOS", Subject: "s"}}}, `"violations":[{"type":"TOS","subject":"s"}]`},
		{&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "f", Description: "x", Reason: "R"}}}, `"fieldViolations":[{"field":"f","description":"x","reason":"R"}]`},
		{&errdetails.RequestInfo{RequestId: "r", ServingData: "x"}, `"requestId":"r","servingData":"x"`},
		{&errdetails.ResourceInfo{ResourceType: "t", ResourceName: "n"}, `"resourceType":"t","resourceName":"n"`},
		{&errdetails.Help{Links: []*errdetails.Help_Link{{Description: "x", Url: "https://example.com"}}}, `"links":[{"description":"x","url":"https://example.com"}]`},
		{&errdetails.LocalizedMessage{Locale: "de-CH", Message: "nein"}, `"locale":"de-CH","message":"nein"`},
	} {
		name := c.detail.ProtoReflect().Descriptor().FullName()
		t.Run(string(name), func(t *testing.T) {
			want := fmt.Sprintf(`{"code":9,"message":"m","details":[{"@type":"type.googleapis.com/%s",%s}]}`, name, c.want)
			sameJSON(t, detailsJSON(t, pack(t, c.detail)), want)
		})
	}
}

func TestADetailWithoutAJSONFormKeepsItsTypeAndBytes(t *testing.T) {
	unknown := &anypb.Any{TypeUrl: "type.googleapis.com/no.Such", Value: []byte{1, 2, 3}}
	for _, c := range []struct {
		name   string
		detail *anypb.Any
		url    string
	}{
		{"an unknown type", unknown, unknown.TypeUrl},
		{"a known type whose bytes are broken", &anypb.Any{TypeUrl: "type.googleapis.com/google.rpc.RetryInfo", Value: []byte{0x0a, 0x7f}}, "type.googleapis.com/google.rpc.RetryInfo"},
		{"a known type whose value has no JSON form", &anypb.Any{TypeUrl: "x/google.protobuf.Duration", Value: []byte{0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03}}, "x/google.protobuf.Duration"},
		{"a known type around an unknown one", pack(t, &spb.Status{Details: []*anypb.Any{unknown}}), "type.googleapis.com/google.rpc.Status"},
		{"no type", &anypb.Any{Value: []byte{1}}, ""},
		{"a type that is no UTF-8", &anypb.Any{TypeUrl: "x/\xff\""}, "x/\ufffd\\\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			value := base64.StdEncoding.EncodeToString(c.detail.Value)
			sameJSON(t, detailsJSON(t, c.detail, pack(t, &errdetails.RequestInfo{RequestId: "r"})), fmt.Sprintf(
				`{"code":9,"message":"m","details":[{"@type":"%s","value":"%s"},{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"r"}]}`, c.url, value))
		})
	}
}
