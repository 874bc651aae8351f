package transcoder

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// WriteError answers with an error over HTTP: a gRPC status, as a *fault.Error and what grpc-go returns are. The body is
// the google.rpc.Status in JSON, or a problem (RFC 9457) where the request's Accept prefers that.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	writeError(w, r, err, protoregistry.GlobalTypes)
}

func (m *Method) fail(w http.ResponseWriter, r *http.Request, err error) {
	writeError(w, r, err, m.options.JSON.Resolver)
}

func writeError(w http.ResponseWriter, r *http.Request, err error, resolver codec.Resolver) {
	err = AsStatus(err)
	s := status.Convert(err)
	httpStatus := HTTPStatus(s.Code())
	own, isOwn := errors.AsType[*fault.Error](err)
	if isOwn {
		httpStatus = own.Reason.HTTPStatus()
	}
	h := w.Header()
	SetErrorHeaders(h, s, httpStatus)
	h.Add("Vary", "Accept")
	var body []byte
	if prefersProblem(r.Header["Accept"]) {
		h["Content-Type"] = problemType
		p := problem{kind: "about:blank", title: statusText(httpStatus), status: httpStatus, cause: s}
		if isOwn {
			p.kind, p.title = problemKind(own.Reason), own.Reason.Title()
		}
		if ids := h["X-Request-Id"]; len(ids) == 1 {
			p.request = ids[0]
		}
		body = p.append(nil, resolver)
	} else {
		h["Content-Type"] = jsonType
		body = AppendStatus(nil, s, resolver)
	}
	w.WriteHeader(httpStatus)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n'))
	}
}

// SetErrorHeaders sets what HTTP has headers for, unless they are there: when to try again, and that a 401 has a challenge.
func SetErrorHeaders(h http.Header, s *status.Status, httpStatus int) {
	if wait := retryDelay(s); wait > 0 && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.FormatInt(int64(wait/time.Second)+min(1, int64(wait%time.Second)), 10))
	}
	if httpStatus == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		// A 401 must have a challenge (RFC 9110 section 15.5.2), and a backend's has none.
		h.Set("WWW-Authenticate", "Bearer")
	}
}

// AsStatus makes a gRPC status of any error that a call can end with: a *fault.Error, or what a backend said.
func AsStatus(err error) error {
	if bad, ok := errors.AsType[*codec.Error](err); ok {
		return invalid(bad)
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.ErrDeadline
	case errors.Is(err, context.Canceled):
		return fault.ErrClientGone
	}
	return fault.Errorf(fault.Internal, "the gateway failed")
}

// invalid names the field in a google.rpc.BadRequest too, for programs.
func invalid(bad *codec.Error) error {
	if bad.Field == "" {
		return fault.New(fault.InvalidRequest, bad.Error())
	}
	return fault.New(fault.InvalidRequest, bad.Error(), &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: bad.Field, Description: bad.Reason}},
	})
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
