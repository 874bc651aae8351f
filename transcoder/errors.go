package transcoder

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// HTTPStatus returns the HTTP status of a gRPC code, as google/rpc/code.proto maps them.
func HTTPStatus(c codes.Code) int {
	switch c {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // client closed request
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// httpError is a refusal of this package's own whose HTTP status is not the one of its code.
type httpError struct {
	status int
	code   codes.Code
	reason string
}

func (e *httpError) Error() string { return e.reason }

// WriteError answers with a gRPC status: its HTTP status, and a google.rpc.Status in JSON as the body.
func WriteError(w http.ResponseWriter, r *http.Request, s *status.Status) {
	writeError(w, r, s, HTTPStatus(s.Code()), protoregistry.GlobalTypes)
}

// WriteErrorStatus is WriteError with another HTTP status than the code's, such as 405.
func WriteErrorStatus(w http.ResponseWriter, r *http.Request, httpStatus int, s *status.Status) {
	writeError(w, r, s, httpStatus, protoregistry.GlobalTypes)
}

func (m *Method) fail(w http.ResponseWriter, r *http.Request, err error) {
	var own *httpError
	if errors.As(err, &own) {
		writeError(w, r, status.New(own.code, own.reason), own.status, m.options.JSON.Resolver)
		return
	}
	s := statusOf(err)
	writeError(w, r, s, HTTPStatus(s.Code()), m.options.JSON.Resolver)
}

// statusOf makes a status of any error: bad input is the caller's fault, a deadline or a cancellation keeps its code.
func statusOf(err error) *status.Status {
	var bad *codec.Error
	if errors.As(err, &bad) {
		return invalid(bad)
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	return status.FromContextError(err)
}

// invalid names the field in a google.rpc.BadRequest too, for programs.
func invalid(bad *codec.Error) *status.Status {
	s := status.New(codes.InvalidArgument, bad.Error())
	if bad.Field == "" {
		return s
	}
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: bad.Field, Description: bad.Reason}},
	})
	if err != nil {
		return s
	}
	return detailed
}

func writeError(w http.ResponseWriter, r *http.Request, s *status.Status, httpStatus int, resolver codec.Resolver) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if wait := retryDelay(s); wait > 0 && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.FormatInt(int64(wait/time.Second)+min(1, int64(wait%time.Second)), 10))
	}
	if httpStatus == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		// A 401 must have a challenge (RFC 9110 section 15.5.2), and a backend's has none.
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(httpStatus)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(AppendStatus(nil, s, resolver), '\n'))
	}
}

// AppendStatus appends a google.rpc.Status in JSON. A detail whose type the resolver does not have, or that does not
// decode, keeps its type URL and its bytes.
func AppendStatus(dst []byte, s *status.Status, resolver codec.Resolver) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(s.Code()), 10)
	dst = append(dst, `,"message":`...)
	text, err := json.Marshal(s.Message())
	if err != nil {
		text = []byte(`""`)
	}
	dst = append(dst, text...)
	dst = append(dst, `,"details":[`...)
	for i, detail := range s.Proto().GetDetails() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDetail(dst, detail, resolver)
	}
	return append(dst, "]}"...)
}

func appendDetail(dst []byte, detail *anypb.Any, resolver codec.Resolver) []byte {
	wire, err := proto.Marshal(detail)
	for _, types := range []codec.Resolver{resolver, protoregistry.GlobalTypes} {
		if types == nil || err != nil {
			continue
		}
		printer, err := codec.Reference.CompileResponse(detail.ProtoReflect().Descriptor(), "", codec.Options{Resolver: types})
		if err != nil {
			continue
		}
		if out, err := printer.AppendJSON(dst, wire); err == nil {
			return out
		}
	}
	url, err := json.Marshal(detail.GetTypeUrl())
	if err != nil {
		url = []byte(`""`)
	}
	dst = append(append(dst, `{"@type":`...), url...)
	dst = append(dst, `,"value":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, detail.GetValue())
	return append(dst, `"}`...)
}

// retryDelay returns what a google.rpc.RetryInfo says, 0 when there is none.
func retryDelay(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
