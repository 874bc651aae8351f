package gateway

import (
	"net/http"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/crossgate/crossgate/fault"
)

var (
	errScheme     = fault.New(fault.InvalidRequest, "the target is of another scheme than http and https")
	errMethod     = fault.New(fault.InvalidRequest, "the method is no token")
	errHost       = fault.New(fault.InvalidRequest, "the host is malformed, or Host is another than :authority")
	errLength     = fault.New(fault.InvalidRequest, "the content-length is not that of the request")
	errFieldSpace = fault.New(fault.InvalidRequest, "a header's value begins or ends with white space")
)

// malformed returns what is wrong with a request that net/http has let pass: what is forwarded must be what was looked at. Of
// HTTP/1.1 net/http and package strict refuse the rest.
func malformed(r *http.Request) *fault.Error {
	switch r.URL.Scheme {
	case "", "http", "https":
	default:
		return errScheme
	}
	if r.ProtoMajor < 2 {
		return nil
	}
	if !isToken(r.Method) {
		return errMethod
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return errHost
	}
	for name, values := range r.Header {
		for _, v := range values {
			// RFC 9113 section 8.2.1. HTTP/1.1 drops the space, and a backend would see another value than a rule.
			if v != "" && (isSpace(v[0]) || isSpace(v[len(v)-1])) {
				return errFieldSpace
			}
		}
		switch name {
		case "Host": // section 8.3.1
			if len(values) != 1 || values[0] != r.Host {
				return errHost
			}
		case "Content-Length": // section 8.1.1; net/http holds data to it, where there is a stream of them
			if length, err := strconv.ParseUint(values[0], 10, 63); err != nil || len(values) != 1 || int64(length) != r.ContentLength {
				return errLength
			}
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// isToken knows methods (RFC 9110 section 9.1).
func isToken(method string) bool {
	for i := range len(method) {
		if !httpguts.IsTokenRune(rune(method[i])) {
			return false
		}
	}
	return method != ""
}
