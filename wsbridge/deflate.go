package wsbridge

import (
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// rsv1 marks a frame whose payload is compressed (RFC 7692 section 6).
const rsv1 = 0x40

// deflater compresses messages, each by itself: a connection keeps nothing for it, and the sessions that a message goes to
// share the bytes. Levels above the fastest take twice the time and more for a tenth of the size.
type deflater struct {
	writer *flate.Writer
	out    []byte
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.writer, _ = flate.NewWriter(d, flate.BestSpeed) // fails for other levels
	return d
}}

// Write implements io.Writer for the flate.Writer.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// tail is what a flush ends with, which is left out of the message (RFC 7692 section 7.2.1).
const tail = len("\x00\x00\xff\xff")

// deflateFrame returns a frame with its payload compressed, or the frame itself where that is no smaller.
func deflateFrame(frame []byte) []byte {
	first, payload, _ := cutFrame(frame)
	d := deflaters.Get().(*deflater)
	d.out = d.out[:0]
	d.writer.Reset(d)
	_, err := d.writer.Write(payload)
	if err == nil {
		err = d.writer.Flush()
	}
	if size := len(d.out) - tail; err == nil && size < len(payload) {
		frame = seal(append(newFrame(size), d.out[:size]...), first|rsv1)
	}
	if cap(d.out) > keptBuffer {
		d.out = nil
	}
	d.writer.Reset(io.Discard)
	deflaters.Put(d)
	return frame
}

// compresses reports whether the session gets a frame compressed.
func (s *session) compresses(frame []byte) bool {
	return s.deflates && len(frame) >= s.route.minCompressed
}

// shared is a frame that goes to many sessions. It is compressed once for all of them, when the first one needs it.
type shared struct{ plain, deflated []byte }

// of returns the frame as a session gets it.
func (f *shared) of(s *session) []byte {
	if !s.compresses(f.plain) {
		return f.plain
	}
	if f.deflated == nil {
		f.deflated = deflateFrame(f.plain)
	}
	return f.deflated
}
