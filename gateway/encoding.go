package gateway

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoder compresses one answer after the other.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// encoding is a content coding and its encoders that rest.
type encoding struct {
	name   string
	header []string
	pool   sync.Pool
}

// encodings are all of them, those first that give the most for their time.
var encodings = []*encoding{
	newEncoding("zstd", func() encoder {
		// A small window: clients must not need more than 8 MiB (RFC 9659), and each stream holds one.
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("gateway: zstd: " + err.Error()) // the options are constants
		}
		return e
	}),
	newEncoding("br", func() encoder {
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 3, LGWin: 17})
	}),
	newEncoding("gzip", func() encoder {
		e, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic("gateway: gzip: " + err.Error()) // the level is a constant
		}
		return e
	}),
}

func newEncoding(name string, open func() encoder) *encoding {
	return &encoding{name: name, header: []string{name}, pool: sync.Pool{New: func() any { return open() }}}
}

func (e *encoding) take(to io.Writer) encoder {
	one := e.pool.Get().(encoder)
	one.Reset(to)
	return one
}

func (e *encoding) giveBack(one encoder) {
	one.Reset(nil) // it must not hold on to the answer
	e.pool.Put(one)
}
