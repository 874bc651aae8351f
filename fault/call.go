package fault

import (
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
)

// The errors that a call can end with whatever carried it.
var (
	ErrDeadline       = New(DeadlineExceeded, "the deadline passed before the backend answered")
	ErrClientGone     = New(ClientGone, "the client went away")
	ErrDisconnected   = New(UpstreamDisconnected, "the connection to the backend broke")
	ErrAnswerTooLarge = New(UpstreamAnswerTooLarge, "the backend's answer is larger than the upstream's max_message_size")
	ErrShuttingDown   = New(ShuttingDown, "the gateway is going away")
)

// CodeOfHTTP returns the gRPC code of an answer that has an HTTP status and nothing else, as gRPC
// (http-grpc-status-mapping.md) and Connect ("HTTP to Error Code") both read it. It is not [Reason.HTTPStatus] backwards:
// a 404 says that the method is not there, not that what it was to find is not.
func CodeOfHTTP(status int) codes.Code {
	switch status {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	}
	return codes.Unknown
}

// CodeOfStatus returns the code that the text of a grpc-status is; one that is none is UNKNOWN (PROTOCOL-HTTP2.md, Responses).
func CodeOfStatus(text string) codes.Code {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > uint64(codes.Unauthenticated) {
		return codes.Unknown
	}
	return codes.Code(n)
}
