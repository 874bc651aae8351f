package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/crossgate/crossgate/fault"
)

// failure says why there is no answer.
func (x *exchange) failure(ctx context.Context, err error) *fault.Error {
	if own, ok := errors.AsType[*fault.Error](err); ok && own != errTooLarge {
		return own
	}
	switch own := x.body.failed.Load(); {
	case own != nil:
		return own
	case x.r.Context().Err() != nil:
		return fault.ErrClientGone
	case ctx.Err() != nil:
		return fault.ErrDeadline
	}
	f := fault.New(fault.UpstreamResponseInvalid, "the backend's answer is not HTTP")
	if broken(err) {
		f = fault.New(fault.UpstreamDisconnected, fault.ErrDisconnected.Message)
	}
	f.Cause = err
	return f
}

// broken tells a connection that ended from an answer that is none. net/http and its HTTP/2 have texts for most of it.
func broken(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed) {
		return true
	}
	text := err.Error()
	for _, part := range []string{
		"server closed idle connection", "use of closed network connection", "stream error:", "client connection lost",
		"server sent GOAWAY", "http2: Transport", "write error",
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
