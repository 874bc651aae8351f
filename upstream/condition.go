package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

// conditions are the failures after which a request is tried again: one bit for each code of gRPC, and some more.
type conditions uint32

const (
	onReset conditions = 1 << (iota + 24)
	onTimeout
	onGateway
	on5xx
)

func onCode(c codes.Code) conditions { return 1 << min(c, 20) }

var conditionNames = map[string]conditions{
	"reset": onReset, "timeout": onTimeout, "gateway": onGateway | onCode(codes.Unavailable), "5xx": on5xx,
	"cancelled": onCode(codes.Canceled), "deadline_exceeded": onCode(codes.DeadlineExceeded), "resource_exhausted": onCode(codes.ResourceExhausted),
	"aborted": onCode(codes.Aborted), "internal": onCode(codes.Internal), "unknown": onCode(codes.Unknown), "data_loss": onCode(codes.DataLoss),
}

func compileConditions(names []string) conditions {
	if len(names) == 0 {
		names = []string{"reset", "gateway"}
	}
	var all conditions
	for _, name := range names {
		all |= conditionNames[name]
	}
	return all
}

// verdict is whether a request that failed may be tried again.
type verdict uint8

const (
	final    verdict = iota
	again            // if it is idempotent
	unbegun          // nothing of it was done
	timedOut         // as again, when try_timeout is what passed
)

// ofError judges the error of a unary call.
func (c conditions) ofError(err error) verdict {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		switch own.Reason {
		case fault.UpstreamUnreachable:
			return unbegun
		case fault.UpstreamDisconnected:
			if c&onReset != 0 {
				return again
			}
		case fault.DeadlineExceeded:
			if c&onTimeout != 0 {
				return timedOut
			}
		}
		return final
	}
	switch code := status.Code(err); {
	case c&onCode(code) != 0:
		return again
	case code == codes.DeadlineExceeded && c&onTimeout != 0: // the backend was the first to find that it passed
		return timedOut
	}
	return final
}

// ofAnswer judges an answer that is there as far as its headers.
func (c conditions) ofAnswer(answer *http.Response) verdict {
	if isGRPC(answer) {
		// Only one that is nothing but a status: of another the caller will have had something.
		if text := answer.Header.Get("Grpc-Status"); text != "" {
			if code, err := strconv.ParseUint(text, 10, 8); err == nil && code != 0 && c&onCode(codes.Code(code)) != 0 {
				return again
			}
		}
		return final
	}
	o := outcomeOfHTTP(answer.StatusCode)
	if c&onGateway != 0 && o == gatewayFailed || c&on5xx != 0 && answer.StatusCode >= 500 {
		return again
	}
	return final
}

// pushback reads what a backend's grpc-retry-pushback-ms says of when to try again (gRFC A6): a pause, or with ok false that it is not to be
// tried again.
func pushback(value string) (pause time.Duration, said, ok bool) {
	if value == "" {
		return 0, false, true
	}
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return 0, true, false
	}
	return time.Duration(n) * time.Millisecond, true, true
}

// isIdempotent reports whether an HTTP method may be repeated (RFC 9110 section 9.2.2).
func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
