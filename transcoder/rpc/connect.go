package rpc

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// acceptPost is what a method's own path takes by Connect (https://connectrpc.com/docs/protocol).
const (
	acceptUnary  = "application/proto, application/json"
	acceptStream = "application/connect+proto, application/connect+json"
)

// checkConnect says what in a request is not as Connect has it, besides the message.
func (h *Handler) checkConnect(r *http.Request, codec string, stream bool) error {
	switch {
	case h.method != nil && h.streams() != stream, codec != "proto" && codec != "json":
		return fault.New(fault.UnsupportedMediaType, "expected a content type of "+h.accepts(stream))
	case codec == "json" && h.method == nil:
		return fault.New(fault.DescriptorsMissing, "no descriptors of this service have been loaded yet")
	}
	if v := r.Header["Connect-Protocol-Version"]; len(v) > 0 && v[0] != "1" {
		return fault.New(fault.InvalidRequest, "connect-protocol-version: expected 1")
	}
	return nil
}

// streams reports whether the method is of a streaming kind.
func (h *Handler) streams() bool {
	return h.method.Descriptor.IsStreamingClient() || h.method.Descriptor.IsStreamingServer()
}

func (h *Handler) accepts(stream bool) string {
	if h.method != nil && h.streams() || h.method == nil && stream {
		return acceptStream
	}
	return acceptUnary
}

// connectTimeout returns the nearer of a route's limit (0 for none) and the caller's Connect-Timeout-Ms, which is 1 to
// 10 digits.
func connectTimeout(h http.Header, limit time.Duration) (time.Duration, error) {
	values := h["Connect-Timeout-Ms"]
	if len(values) == 0 {
		return limit, nil
	}
	ms, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil || len(values[0]) > 10 {
		return 0, fault.New(fault.InvalidRequest, fmt.Sprintf("connect-timeout-ms: expected 1 to 10 digits, got %q", values[0]))
	}
	asked := time.Duration(ms) * time.Millisecond
	if limit > 0 && limit < asked {
		return limit, nil
	}
	// A deadline that has passed is still a deadline.
	return max(asked, 1), nil
}

// encodings returns the names in an Accept-Encoding or Connect-Accept-Encoding that are not refused, as
// grpc-accept-encoding has them.
func encodings(values []string) []string {
	var list []string
	for _, line := range values {
		for item := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(item, ";")
			if name = strings.TrimSpace(name); name == "" || name == "*" || isZeroWeight(weight) {
				continue
			}
			list = append(list, name)
		}
	}
	return list
}

// isZeroWeight reports a q of 0 (RFC 9110 section 12.4.2).
func isZeroWeight(weight string) bool {
	q, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
	return ok && strings.Trim(q, "0.") == "" && strings.HasPrefix(q, "0")
}

// isIdentity reports a content coding that is none.
func isIdentity(encoding string) bool { return encoding == "" || encoding == "identity" }

// isGRPC reports names in a backend's answer that are the gRPC protocol's, and no metadata.
func isGRPC(name string) bool { return strings.HasPrefix(name, "Grpc-") }

// connectStatus returns the status of an error as Connect has it, and the HTTP status of a unary answer: the one of the
// code. Where HTTP says itself that something is not there, the code is the one that a client reads from that.
func connectStatus(err error) (*status.Status, int) {
	err = transcoder.AsStatus(err)
	s := status.Convert(err)
	httpStatus := transcoder.HTTPStatus(s.Code())
	own, ok := errors.AsType[*fault.Error](err)
	if ok && (own.Reason == fault.NoRoute || own.Reason == fault.MethodNotAllowed || isMediaType(err)) {
		httpStatus = own.Reason.HTTPStatus()
		p := s.Proto()
		p.Code = int32(fault.CodeOfHTTP(httpStatus))
		s = status.FromProto(p)
	}
	return s, httpStatus
}

// isMediaType reports a content type that the method does not take.
func isMediaType(err error) bool {
	own, ok := errors.AsType[*fault.Error](err)
	return ok && own.Reason == fault.UnsupportedMediaType && own.Code == codes.OK
}

// refuseUnary answers a unary call with an error.
func (h *Handler) refuseUnary(w http.ResponseWriter, r *http.Request, err error) codes.Code {
	if isMediaType(err) {
		w.Header()["Accept-Post"] = []string{h.accepts(false)}
	}
	return refuseConnect(w, r, err)
}
