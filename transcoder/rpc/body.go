package rpc

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
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

// http1Body is the body of an HTTP/1.1 request while a transport reads it, which may go on after the answer has come.
// net/http holds a lock through each read, so that closing such a body would wait for the client.
type http1Body struct {
	body io.ReadCloser
	rc   *http.ResponseController

	reading sync.Mutex
	closed  bool        // with reading
	ended   atomic.Bool // the client has sent it all
}

func newHTTP1Body(r *http.Request, rc *http.ResponseController) *http1Body {
	b := &http1Body{body: r.Body, rc: rc}
	b.ended.Store(r.Body == http.NoBody)
	return b
}

func (b *http1Body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// Close cuts a read that waits for the client short.
func (b *http1Body) Close() error {
	if !b.ended.Load() {
		_ = b.rc.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// end returns once nobody reads the body any more, nor will: net/http wants it back when the handler returns.
func (b *http1Body) end() {
	_ = b.Close()
	b.reading.Lock()
	b.closed = true
	b.reading.Unlock()
	_ = b.body.Close()
}
