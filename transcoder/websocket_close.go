package transcoder

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

// closeBase is what a gRPC code is added to for the close code of a call that failed: of the range that is private
// (RFC 6455 section 7.4.2), apart from the codes of sessions of package wsbridge.
const closeBase = 4100

// maxReason is the longest reason of a closing frame (RFC 6455 section 5.5): 125 bytes with the code.
const maxReason = 123

var (
	errNotText  = fault.New(fault.InvalidRequest, "a text frame is to be UTF-8")
	errNoAnswer = fault.New(fault.UpstreamAnswerInvalid, "the backend ended the call without an answer")
)

// closing returns the code and the reason of the frame that ends a call: those of RFC 6455 where it has one for the case,
// else the gRPC code above closeBase and its message.
func closing(err error) (websocket.StatusCode, string) {
	if err == nil {
		return websocket.StatusNormalClosure, ""
	}
	s := status.Convert(AsStatus(err))
	code := closeBase + websocket.StatusCode(defined(s.Code()))
	switch {
	case errors.Is(err, fault.ErrShuttingDown):
		code = websocket.StatusGoingAway
	case errors.Is(err, errNotText):
		code = websocket.StatusInvalidFramePayloadData
	case errors.Is(err, errTooLarge):
		code = websocket.StatusMessageTooBig
	case errors.Is(err, fault.ErrClientGone):
		code = websocket.StatusAbnormalClosure
	}
	return code, cut(s.Message())
}

// cut makes a reason UTF-8, which a client would close the connection over, and shortens it to what fits, between two
// characters. Backends may say anything.
func cut(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for n > 0 && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// StatusOfClose returns the HTTP status that a close code of a [Socket] amounts to.
func StatusOfClose(code int) int {
	switch {
	case code >= closeBase && code <= closeBase+int(codes.Unauthenticated):
		return HTTPStatus(codes.Code(code - closeBase))
	case code == int(websocket.StatusAbnormalClosure):
		return fault.StatusClientClosedRequest
	case code == int(websocket.StatusInvalidFramePayloadData), code == int(websocket.StatusMessageTooBig):
		return http.StatusBadRequest
	}
	return http.StatusOK
}
