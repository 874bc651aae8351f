package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/crossgate/crossgate/fault"
)

// peekTime is how long the part of a body may take to come that an authorisation service is shown.
const peekTime = 30 * time.Second

var (
	errSlowPeek = fault.New(fault.RequestTimeout, "the request's body did not come in time")
	errBadPeek  = fault.New(fault.InvalidRequest, "the request's body cannot be read")
)

// Peek implements admission.Body. Whoever reads the body afterwards gets all of it.
func (x *exchange) Peek(most int64) (start []byte, more bool, err error) {
	body := x.r.Body
	control := http.NewResponseController(&x.w)
	_ = control.SetReadDeadline(time.Now().Add(peekTime)) // a test's writer has none
	start, err = io.ReadAll(io.LimitReader(body, most+1))
	_ = control.SetReadDeadline(time.Time{})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, false, errSlowPeek
	case err != nil:
		return nil, false, errBadPeek
	}
	x.r.Body = &peeked{start, body, nil}
	if more = int64(len(start)) > most; more {
		start = start[:most]
	}
	return start, more, nil
}

// peeked is a body of which the start has been read before.
type peeked struct {
	start []byte
	rest  io.ReadCloser
	err   error // the rest could not be read
}

func (p *peeked) Read(b []byte) (int, error) {
	switch {
	case len(p.start) > 0:
	case p.err != nil:
		return 0, p.err
	default:
		return p.rest.Read(b)
	}
	n := copy(b, p.start)
	p.start = p.start[n:]
	return n, nil
}

func (p *peeked) Close() error { return p.rest.Close() }
