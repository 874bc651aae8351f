package transcoder

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/crossgate/crossgate/fault"
)

// errSlowBody is what a body that does not come in time amounts to.
var errSlowBody = fault.New(fault.RequestTimeout, "the request's body did not come in time")

// TimedBody reads the body of a request, which must be there by a deadline: a client cannot hold a call open with a byte
// now and then. A body that has come with its header costs nothing.
type TimedBody struct {
	Request  *http.Request
	Writer   http.ResponseWriter
	Deadline time.Time // zero for none

	read    int64
	limited bool
	ended   bool
}

// Read implements io.Reader.
func (b *TimedBody) Read(p []byte) (int, error) {
	if b.read > 0 && !b.limited && !b.Deadline.IsZero() && b.read != b.Request.ContentLength {
		b.limited = true
		_ = http.NewResponseController(b.Writer).SetReadDeadline(b.Deadline) // a test's writer has none
	}
	n, err := b.Request.Body.Read(p)
	b.read += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errSlowBody
	}
	return n, err
}

// Release lifts the deadline again when the body has been read to its end; else net/http would wait for the rest of it
// before it answers.
func (b *TimedBody) Release() {
	if b.limited && b.ended {
		_ = http.NewResponseController(b.Writer).SetReadDeadline(time.Time{})
	}
}
