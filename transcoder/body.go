package transcoder

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/crossgate/crossgate/fault"
)

var errTooLarge = fault.New(fault.MessageTooLarge, "the body is larger than the route's max_body_size")

// checkContent refuses a body that does not claim to be JSON. Nothing is guessed: a web page of another origin may send
// forms and plain text without asking first (Fetch standard, CORS-safelisted request headers), but not JSON.
func checkContent(r *http.Request) error {
	if encoding := r.Header["Content-Encoding"]; len(encoding) > 0 && !strings.EqualFold(encoding[0], "identity") {
		return fault.New(fault.UnsupportedMediaType, "content-encoding: a body must not be compressed")
	}
	values := r.Header["Content-Type"]
	if len(values) == 0 || values[0] == "" || values[0] == "application/json" {
		return nil
	}
	kind, _, _ := strings.Cut(values[0], ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "application/json", kind == "application/x-ndjson", strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"):
		return nil
	}
	return fault.New(fault.UnsupportedMediaType, "content-type: expected application/json")
}

// readBody appends the request's body to dst, limit bytes at the most. What a client declares reserves no more memory
// than it has sent, but for a first piece.
func readBody(dst []byte, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength == 0 || r.Body == nil {
		return dst, nil
	}
	if r.ContentLength > limit {
		return dst, errTooLarge
	}
	if want := min(r.ContentLength+1, 64<<10); int64(cap(dst)) < want {
		dst = make([]byte, 0, want)
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)) > limit {
			return dst, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return dst, readError(r, err)
		}
	}
	if len(dst) == 0 {
		return dst, nil
	}
	return dst, checkContent(r)
}

// readError says why a body could not be read to its end: the client's connection broke, or its framing did.
func readError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case r.Context().Err() != nil:
		return errClientGone
	}
	return fault.New(fault.InvalidRequest, "the body ended early")
}
