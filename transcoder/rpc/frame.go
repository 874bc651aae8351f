package rpc

import (
	"encoding/binary"

	"github.com/crossgate/crossgate/fault"
)

// PrefixSize is the length of what stands before each message of gRPC, gRPC-Web and a stream of Connect alike: a byte
// of flags, and the length in four bytes (PROTOCOL-HTTP2.md, Length-Prefixed-Message).
const PrefixSize = 5

// The flags of a prefix.
const (
	flagCompressed byte = 0x01
	flagEndStream  byte = 0x02 // Connect's last message
	flagTrailers   byte = 0x80 // gRPC-Web's
)

var (
	errMessageTooLarge = fault.New(fault.MessageTooLarge, "the message is larger than the route's max_body_size")
	errUnknownFlags    = fault.New(fault.InvalidRequest, "the prefix of a message has flags that are not the protocol's")
	errCutShort        = fault.New(fault.InvalidRequest, "the body ended within a message")
)

// appendPrefix appends the prefix of a message.
func appendPrefix(dst []byte, flags byte, length int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, flags), uint32(length))
}

// frames follows the messages of a body that passes through, in pieces of any size.
type frames struct {
	max    int64 // of a message
	known  byte  // flags that may be
	left   int64 // bytes of the message at hand that are still to come
	prefix [PrefixSize]byte
	have   int // bytes of the prefix read
	count  int // prefixes read
}

// scan looks at the next piece. A message that is too large or has strange flags is an error.
func (f *frames) scan(b []byte) *fault.Error {
	for len(b) > 0 {
		if f.left > 0 {
			skip := min(f.left, int64(len(b)))
			f.left -= skip
			b = b[skip:]
			continue
		}
		n := copy(f.prefix[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < PrefixSize {
			continue
		}
		f.have = 0
		f.count++
		if f.prefix[0]&^f.known != 0 {
			return errUnknownFlags
		}
		if f.left = int64(binary.BigEndian.Uint32(f.prefix[1:])); f.left > f.max {
			return errMessageTooLarge
		}
	}
	return nil
}

// whole reports whether what came so far ends with a message.
func (f *frames) whole() bool { return f.left == 0 && f.have == 0 }
