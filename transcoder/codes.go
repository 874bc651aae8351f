package transcoder

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
)

// codeTable is what each google.rpc.Code is to the other protocols: the one place that says so. The HTTP statuses are
// google/rpc/code.proto's, the names those of the Connect protocol, which has the same statuses ("Error Codes").
var codeTable = [...]struct {
	http    int
	connect string
}{
	codes.OK:                 {http.StatusOK, ""},
	codes.Canceled:           {fault.StatusClientClosedRequest, "canceled"},
	codes.Unknown:            {http.StatusInternalServerError, "unknown"},
	codes.InvalidArgument:    {http.StatusBadRequest, "invalid_argument"},
	codes.DeadlineExceeded:   {http.StatusGatewayTimeout, "deadline_exceeded"},
	codes.NotFound:           {http.StatusNotFound, "not_found"},
	codes.AlreadyExists:      {http.StatusConflict, "already_exists"},
	codes.PermissionDenied:   {http.StatusForbidden, "permission_denied"},
	codes.ResourceExhausted:  {http.StatusTooManyRequests, "resource_exhausted"},
	codes.FailedPrecondition: {http.StatusBadRequest, "failed_precondition"},
	codes.Aborted:            {http.StatusConflict, "aborted"},
	codes.OutOfRange:         {http.StatusBadRequest, "out_of_range"},
	codes.Unimplemented:      {http.StatusNotImplemented, "unimplemented"},
	codes.Internal:           {http.StatusInternalServerError, "internal"},
	codes.Unavailable:        {http.StatusServiceUnavailable, "unavailable"},
	codes.DataLoss:           {http.StatusInternalServerError, "data_loss"},
	codes.Unauthenticated:    {http.StatusUnauthorized, "unauthenticated"},
}

// HTTPStatus returns the HTTP status of a gRPC code; of one that is not defined, that of UNKNOWN.
func HTTPStatus(c codes.Code) int { return codeTable[defined(c)].http }

// ConnectCode returns the name that the Connect protocol gives a gRPC code, "" for OK; of one that is not defined,
// "unknown".
func ConnectCode(c codes.Code) string { return codeTable[defined(c)].connect }

func defined(c codes.Code) codes.Code {
	if int(c) < len(codeTable) {
		return c
	}
	return codes.Unknown
}

// CodeOfConnect returns the gRPC code that the Connect protocol calls name, and whether there is one.
func CodeOfConnect(name string) (codes.Code, bool) {
	for c := codes.Canceled; int(c) < len(codeTable); c++ {
		if codeTable[c].connect == name {
			return c, true
		}
	}
	return codes.Unknown, false
}
