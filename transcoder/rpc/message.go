package rpc

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
)

// IsProto reports whether the messages of a call are protobuf's own.
func IsProto(h http.Header) bool {
	values := h["Content-Type"]
	if len(values) != 1 {
		return false
	}
	_, codec := parseContentType(values[0])
	return codec == "" || codec == "proto"
}

// ReadMessage reads the first message of a body in gRPC's frames into dst, with its frame. whole says that nothing else has come,
// and that the message is not compressed and has at most so many bytes as most says; where it is false, frame is the body's
// beginning. Of a body that ends too early it is what there was.
func ReadMessage(dst []byte, body io.Reader, most int) (frame []byte, whole bool, err error) {
	for need := PrefixSize; ; {
		if cap(dst)-len(dst) < 512 {
			dst = append(make([]byte, 0, max(512, 2*cap(dst))), dst...)
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst) >= PrefixSize {
			size := binary.BigEndian.Uint32(dst[1:])
			if dst[0] != 0 || uint64(size) > uint64(most) {
				return dst, false, nil
			}
			need = PrefixSize + int(size)
		}
		switch {
		case len(dst) >= need:
			return dst, len(dst) == need, nil
		case errors.Is(err, io.EOF):
			return dst, false, nil
		case err != nil:
			return dst, false, err
		}
	}
}
