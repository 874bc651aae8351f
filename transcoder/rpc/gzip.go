package rpc

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"sync"

	"github.com/crossgate/crossgate/fault"
)

// minCompress is the size below which a message that this package makes is not worth compressing.
const minCompress = 1 << 10

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
)

// appendGzip appends what src is, compressed.
func appendGzip(dst, src []byte) []byte {
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	out := bytes.NewBuffer(dst)
	z.Reset(out)
	// Writing to memory does not fail.
	_, _ = z.Write(src)
	_ = z.Close()
	return out.Bytes()
}

// appendGunzip appends what src was before it was compressed, limit bytes at the most.
func appendGunzip(dst, src []byte, limit int64) ([]byte, error) {
	z := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(src)); err != nil {
		return dst, errNoGzip
	}
	return appendAll(dst, z, limit, errNoGzip)
}

var errNoGzip = fault.New(fault.InvalidRequest, "a message is not compressed with gzip, as its encoding says")

// appendAll appends what r has, limit bytes at the most. broken is what an r that fails amounts to. A length that the
// other side claims reserves nothing.
func appendAll(dst []byte, r io.Reader, limit int64, broken error) ([]byte, error) {
	for start := len(dst); ; {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case int64(len(dst)-start) > limit:
			return dst, errMessageTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			if broken == nil {
				broken = err
			}
			return dst, broken
		}
	}
}
