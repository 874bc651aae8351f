package gateway

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// writeGRPCError answers with a status alone (PROTOCOL-HTTP2.md, Trailers-Only).
func writeGRPCError(w http.ResponseWriter, e *fault.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	setGRPCError(h, "", e)
	w.WriteHeader(http.StatusOK)
}

// setGRPCError sets the status as header fields whose names begin with prefix: none or http.TrailerPrefix.
func setGRPCError(h http.Header, prefix string, e *fault.Error) {
	s := e.GRPCStatus()
	h.Set(prefix+"Grpc-Status", strconv.Itoa(int(s.Code())))
	h.Set(prefix+"Grpc-Message", encodeGRPCMessage(s.Message()))
	if details, err := proto.Marshal(s.Proto()); err == nil {
		h.Set(prefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

// notGRPC is what an answer that is no gRPC amounts to: it is read from its HTTP status.
func notGRPC(httpStatus int) *fault.Error {
	e := fault.Errorf(fault.UpstreamAnswerInvalid, "the backend answered HTTP %d without gRPC", httpStatus)
	e.Code = transcoder.CodeOfHTTP(httpStatus)
	return e
}

// encodeGRPCMessage percent-encodes what grpc-message may not hold (PROTOCOL-HTTP2.md, Status-Message).
func encodeGRPCMessage(s string) string {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '%' {
			b := append(make([]byte, 0, len(s)+16), s[:i]...)
			for ; i < len(s); i++ {
				if c := s[i]; c < ' ' || c > '~' || c == '%' {
					b = append(b, '%', hex[c>>4], hex[c&15])
				} else {
					b = append(b, c)
				}
			}
			return string(b)
		}
	}
	return s
}
