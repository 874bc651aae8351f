package transcoder

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// SetGRPCStatus sets a status as gRPC's own header fields (PROTOCOL-HTTP2.md, Trailers), whose names begin with prefix: none
// or http.TrailerPrefix.
func SetGRPCStatus(h http.Header, prefix string, s *status.Status) {
	h.Set(prefix+"Grpc-Status", strconv.Itoa(int(s.Code())))
	if s.Code() == codes.OK {
		return
	}
	h.Set(prefix+"Grpc-Message", encodeMessage(s.Message()))
	if len(s.Proto().GetDetails()) == 0 {
		return
	}
	if details, err := proto.Marshal(s.Proto()); err == nil {
		h.Set(prefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

// encodeMessage percent-encodes what grpc-message may not hold (PROTOCOL-HTTP2.md, Status-Message).
func encodeMessage(s string) string {
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
