package rpc

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/transcoder"
)

// appendConnectError appends a status as Connect writes it: the code by its name, and each detail by the name of its
// type and its bytes in base64 without padding.
func appendConnectError(dst []byte, s *status.Status) []byte {
	dst = append(append(append(dst, `{"code":"`...), transcoder.ConnectCode(s.Code())...), '"')
	if s.Message() != "" {
		dst = appendText(append(dst, `,"message":`...), s.Message())
	}
	for i, detail := range s.Proto().GetDetails() {
		if i == 0 {
			dst = append(dst, `,"details":[`...)
		} else {
			dst = append(dst, ',')
		}
		url := detail.GetTypeUrl()
		dst = appendText(append(dst, `{"type":`...), url[strings.LastIndexByte(url, '/')+1:])
		dst = append(dst, `,"value":"`...)
		dst = base64.RawStdEncoding.AppendEncode(dst, detail.GetValue())
		dst = append(dst, `"}`...)
	}
	if len(s.Proto().GetDetails()) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendText appends a JSON string. What is no UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...)
	}
	return append(dst, text...)
}

// appendEndStream appends the envelope that ends a stream of Connect: the error, if there is one, and the trailing
// metadata.
func appendEndStream(dst []byte, s *status.Status, trailer http.Header) []byte {
	text := []byte{'{'}
	if s.Code() != codes.OK {
		text = appendConnectError(append(text, `"error":`...), s)
	}
	first := true
	for name, values := range trailer {
		if isGRPC(name) {
			continue
		}
		switch {
		case first && len(text) > 1:
			text = append(text, `,"metadata":{`...)
		case first:
			text = append(text, `"metadata":{`...)
		default:
			text = append(text, ',')
		}
		first = false
		text = append(appendText(text, strings.ToLower(name)), ":["...)
		for i, v := range values {
			if i > 0 {
				text = append(text, ',')
			}
			text = appendText(text, v)
		}
		text = append(text, ']')
	}
	if !first {
		text = append(text, '}')
	}
	text = append(text, '}')
	return append(appendPrefix(dst, flagEndStream, len(text)), text...)
}

// refuseConnect answers a unary call with an error, where nothing was written before.
func refuseConnect(w http.ResponseWriter, r *http.Request, err error) codes.Code {
	s, httpStatus := connectStatus(err)
	writeConnectError(w, r, s, httpStatus)
	return s.Code()
}

func writeConnectError(w http.ResponseWriter, r *http.Request, s *status.Status, httpStatus int) {
	h := w.Header()
	transcoder.SetErrorHeaders(h, s, httpStatus)
	h["Content-Type"] = []string{"application/json"}
	w.WriteHeader(httpStatus)
	if r.Method != http.MethodHead {
		_, _ = w.Write(appendConnectError(nil, s))
	}
}
