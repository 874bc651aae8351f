package rpc

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// trailerOf returns the trailers that stand for an error.
func trailerOf(err error) http.Header {
	h := http.Header{}
	transcoder.SetGRPCStatus(h, "", status.Convert(err))
	return h
}

// codeOf returns the code in trailers.
func codeOf(trailer http.Header) codes.Code { return fault.CodeOfStatus(trailer.Get("Grpc-Status")) }

// statusOf returns the status in trailers, with its details where they are sound.
func statusOf(trailer http.Header) *status.Status {
	p := &spb.Status{Code: int32(codeOf(trailer)), Message: decodeMessage(trailer.Get("Grpc-Message"))}
	var detailed spb.Status
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(trailer.Get("Grpc-Status-Details-Bin"), "="))
	if err == nil && proto.Unmarshal(raw, &detailed) == nil {
		p.Details = detailed.GetDetails()
	}
	return status.FromProto(p)
}

// decodeMessage undoes the percent-encoding of a message. What is encoded wrongly stays as it is (PROTOCOL-HTTP2.md: "must not discard").
func decodeMessage(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
