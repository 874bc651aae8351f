package fault

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Domain is the google.rpc.ErrorInfo.domain of every error that the gateway itself makes.
const Domain = "crossgate"

// Error is an error that the gateway itself makes. Its message and its details are shown to the caller, so they must not
// hold secrets or addresses. It is a gRPC status to package status.
type Error struct {
	Reason  Reason
	Message string
	// Code is the gRPC code where it is not the reason's; OK is the reason's.
	Code codes.Code
	// Details come after the ErrorInfo.
	Details []proto.Message
	// Cause is for logs, and not shown.
	Cause error
}

// New returns an error with a message and details besides its ErrorInfo.
func New(r Reason, message string, details ...proto.Message) *Error {
	return &Error{Reason: r, Message: message, Details: details}
}

// Errorf returns an error with a formatted message and no details besides its ErrorInfo.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...)}
}

// Error is for logs: it ends with the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus returns the status that callers get in every protocol: code, message, ErrorInfo and details.
func (e *Error) GRPCStatus() *status.Status {
	code := e.Code
	if code == codes.OK {
		code = e.Reason.Code()
	}
	p := &spb.Status{Code: int32(code), Message: strings.ToValidUTF8(e.Message, "\uFFFD")}
	info := &errdetails.ErrorInfo{Reason: e.Reason.String(), Domain: Domain}
	for _, detail := range append([]proto.Message{info}, e.Details...) {
		// What cannot be marshalled, such as text that is no UTF-8, is left out: the rest still says what is wrong.
		if packed, err := anypb.New(detail); err == nil {
			p.Details = append(p.Details, packed)
		}
	}
	return status.FromProto(p)
}
