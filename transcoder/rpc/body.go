package rpc

import (
	"errors"
	"io"
)

// passing is a request body whose messages go to the backend as they are.
type passing struct {
	io.Reader
	io.Closer
	call   *call
	frames frames
	strict bool // a body that ends within a message is the caller's fault, and not left for the backend to say
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	bad := p.frames.scan(b[:n])
	if bad == nil && p.strict && errors.Is(err, io.EOF) && !p.frames.whole() {
		bad = errCutShort
	}
	if bad != nil {
		p.call.fail(bad)
		return 0, bad
	}
	return n, err
}
