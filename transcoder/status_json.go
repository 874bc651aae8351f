package transcoder

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// AppendStatus appends a google.rpc.Status in JSON. A detail whose type the resolver does not have, or that does not
// decode, keeps its type URL and its bytes.
func AppendStatus(dst []byte, s *status.Status, resolver codec.Resolver) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(s.Code()), 10)
	dst = append(dst, `,"message":`...)
	dst = appendText(dst, s.Message())
	dst = append(dst, `,"details":`...)
	return append(appendDetails(dst, s, resolver), '}')
}

func appendDetails(dst []byte, s *status.Status, resolver codec.Resolver) []byte {
	dst = append(dst, '[')
	for i, detail := range s.Proto().GetDetails() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDetail(dst, detail, resolver)
	}
	return append(dst, ']')
}

// appendText appends a JSON string. What is no UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		text = []byte(`""`)
	}
	return append(dst, text...)
}

func appendDetail(dst []byte, detail *anypb.Any, resolver codec.Resolver) []byte {
	for _, types := range detailTypes(detail, resolver) {
		if out, ok := appendAny(dst, detail, types); ok {
			return out
		}
	}
	dst = appendText(append(dst, `{"@type":`...), detail.GetTypeUrl())
	dst = append(dst, `,"value":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, detail.GetValue())
	return append(dst, `"}`...)
}

// detailTypes is where to look for a detail's type. Those of google/rpc/error_details.proto are the gateway's own first:
// a set may have an old version, whose JSON would lack fields.
func detailTypes(detail *anypb.Any, resolver codec.Resolver) []codec.Resolver {
	if strings.HasPrefix(string(detail.MessageName()), "google.rpc.") || resolver == nil {
		return []codec.Resolver{protoregistry.GlobalTypes, resolver}
	}
	return []codec.Resolver{resolver, protoregistry.GlobalTypes}
}

func appendAny(dst []byte, detail *anypb.Any, types codec.Resolver) ([]byte, bool) {
	if types == nil {
		return dst, false
	}
	wire, err := proto.Marshal(detail)
	if err != nil {
		return dst, false
	}
	printer, err := codec.Reference.CompileResponse(detail.ProtoReflect().Descriptor(), "", codec.Options{Resolver: types})
	if err != nil {
		return dst, false
	}
	out, err := printer.AppendJSON(dst, wire)
	return out, err == nil
}
