package proxy

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/crossgate/crossgate/fault"
)

// body is a request's body on its way to the backend. It ends with an error once it is larger than the route allows.
type body struct {
	from    io.ReadCloser
	left    int64 // that may still come, -1 once it was more
	request *http.Request
	handler *Handler
	trailer http.Header
	failed  atomic.Pointer[fault.Error] // why it ended too early, for whoever asks for the answer
}

var errTooLarge = fault.New(fault.MessageTooLarge, "the request's body is larger than the route's max_body_size")

func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.failed.Store(errTooLarge)
		return n - 1, errTooLarge
	}
	switch err {
	case nil:
	case io.EOF:
		for name := range b.trailer {
			b.trailer[name] = b.request.Trailer[name]
		}
	default:
		if b.request.Context().Err() == nil {
			b.failed.Store(fault.New(fault.InvalidRequest, "the request's body is malformed, or ends too early"))
		}
	}
	return n, err
}

// announce returns the trailers that the client has announced, without those that a backend could take for headers of the
// gateway's. It fills them in when all have come, at the end of the body.
func (b *body) announce() http.Header {
	for name := range b.request.Trailer {
		if b.handler.owned(name) {
			continue
		}
		if b.trailer == nil {
			b.trailer = make(http.Header, len(b.request.Trailer))
		}
		b.trailer[name] = nil
	}
	return b.trailer
}

func (b *body) Close() error { return b.from.Close() }
