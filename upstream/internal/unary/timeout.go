package unary

import (
	"strconv"
	"time"
)

// AppendTimeout appends a duration as a value of grpc-timeout, rounded up to a unit that leaves it 8 digits or fewer
// (PROTOCOL-HTTP2.md, Timeout). A deadline that has passed is the least there is: 1n.
func AppendTimeout(dst []byte, d time.Duration) []byte {
	const most = 99_999_999
	d = max(d, 1)
	unit, suffix := time.Hour, byte('H')
	for _, u := range [...]struct {
		unit   time.Duration
		suffix byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if (d-1)/u.unit < most {
			unit, suffix = u.unit, u.suffix
			break
		}
	}
	return append(strconv.AppendInt(dst, int64((d-1)/unit+1), 10), suffix)
}
