package gateway

import (
	"encoding/binary"
	"io"
	"sync/atomic"

	"github.com/crossgate/crossgate/fault"
)

// errMessageTooLarge is what a frameLimiter ends a request body with.
var errMessageTooLarge = fault.New(fault.MessageTooLarge, "gRPC message is larger than the route's max_body_size")

// frameLimiter passes a gRPC request body through untouched and fails when the length prefix of a message
// (PROTOCOL-HTTP2.md, Length-Prefixed-Message) promises more than max bytes.
type frameLimiter struct {
	body   io.ReadCloser
	max    int64
	left   int64   // bytes of the current message still to come
	prefix [5]byte // the length prefix being read
	have   int     // bytes of it read
	over   func()  // told when a message is too large

	refused atomic.Bool // a message was too large; read while the transport may still be reading
}

func (f *frameLimiter) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	for b := p[:n]; len(b) > 0; {
		if f.left > 0 {
			skip := min(f.left, int64(len(b)))
			f.left -= skip
			b = b[skip:]
			continue
		}
		c := copy(f.prefix[f.have:], b)
		f.have += c
		b = b[c:]
		if f.have < len(f.prefix) {
			continue
		}
		f.have = 0
		if f.left = int64(binary.BigEndian.Uint32(f.prefix[1:])); f.left > f.max {
			f.refused.Store(true)
			f.over()
			return 0, errMessageTooLarge
		}
	}
	return n, err
}

// tooLarge reports whether the body was refused.
func (f *frameLimiter) tooLarge() bool { return f.refused.Load() }

func (f *frameLimiter) Close() error { return f.body.Close() }
