package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"github.com/crossgate/crossgate/fault"
)

// decompress returns a request whose body is what r's is compressed from, or r itself. How much comes out of it is bounded
// by who reads it, as of any body: it comes as it is read. release must be called when the request is served.
func decompress(r *http.Request) (plain *http.Request, release func()) {
	encoding := r.Header["Content-Encoding"]
	if len(encoding) != 1 || !strings.EqualFold(encoding[0], "gzip") && !strings.EqualFold(encoding[0], "x-gzip") {
		return r, func() {}
	}
	body := &gunzip{body: r.Body}
	plain = new(http.Request)
	*plain = *r
	plain.Body, plain.ContentLength = body, -1
	plain.Header = r.Header.Clone()
	plain.Header.Del("Content-Encoding")
	plain.Header.Del("Content-Length")
	return plain, body.release
}

// gunzip is the body of a request that came in gzip. Its reader is taken from the pool for the first Read.
type gunzip struct {
	body io.ReadCloser
	mu   sync.Mutex // a stream's body may be read until its handler has ended
	gzip *gzip.Reader
	err  error
}

var gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}

var errNotGzip = fault.New(fault.InvalidRequest, "content-encoding: the body is not gzip, or is damaged")

func (g *gunzip) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	if g.gzip == nil {
		g.gzip = gunzips.Get().(*gzip.Reader)
		if err := g.gzip.Reset(g.body); err != nil {
			g.err = gzipError(err)
			return 0, g.err
		}
	}
	n, err := g.gzip.Read(p)
	g.err = gzipError(err)
	return n, g.err
}

// gzipError tells what is wrong with the bytes from what is wrong with the connection.
func gzipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return errNotGzip
	}
	return err
}

// Close implements io.Closer.
func (g *gunzip) Close() error { return g.body.Close() }

func (g *gunzip) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gzip != nil {
		gunzips.Put(g.gzip)
		g.gzip = nil
	}
	g.err = io.ErrClosedPipe
}
