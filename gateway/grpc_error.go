package gateway

import (
	"net/http"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// writeGRPCError answers with a status alone (PROTOCOL-HTTP2.md, Trailers-Only).
func writeGRPCError(w http.ResponseWriter, e *fault.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	transcoder.SetGRPCStatus(h, "", e.GRPCStatus())
	w.WriteHeader(http.StatusOK)
}

// notGRPC is what an answer that is no gRPC amounts to: it is read from its HTTP status.
func notGRPC(httpStatus int) *fault.Error {
	e := fault.Errorf(fault.UpstreamAnswerInvalid, "the backend answered HTTP %d without gRPC", httpStatus)
	e.Code = transcoder.CodeOfHTTP(httpStatus)
	return e
}
