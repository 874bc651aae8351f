package transcoder

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

var timeoutUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// CallTimeout returns the nearer of a route's limit (0 for none) and the caller's grpc-timeout, 0 when there is neither.
// A grpc-timeout is 1 to 8 digits and a unit of H, M, S, m, u and n (PROTOCOL-HTTP2.md).
func CallTimeout(h http.Header, limit time.Duration) (time.Duration, error) {
	values := h["Grpc-Timeout"]
	if len(values) == 0 {
		return limit, nil
	}
	text := values[0]
	if n := len(text); n >= 2 && n <= 9 {
		unit, known := timeoutUnits[text[n-1]]
		count, err := strconv.ParseUint(text[:n-1], 10, 63)
		if known && err == nil {
			asked := time.Duration(count)
			if count > uint64((1<<63-1)/unit) {
				asked = 1<<63 - 1
			} else {
				asked *= unit
			}
			if limit <= 0 || asked < limit {
				// A deadline that has passed is still a deadline.
				return max(asked, 1), nil
			}
			return limit, nil
		}
	}
	return 0, fmt.Errorf("grpc-timeout: expected 1 to 8 digits and one of H, M, S, m, u and n, got %q", text)
}
