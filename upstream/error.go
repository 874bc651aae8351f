package upstream

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

// unreachable says that no backend of a pool could be connected to. cause is for logs: it names addresses, which are
// nobody's business outside.
func (p *Pool) unreachable(cause error) error {
	f := fault.Errorf(fault.UpstreamUnreachable, "no backend of upstream %s can be reached", p.name)
	f.Cause = cause
	return f
}

// callError tells what grpc-go itself says of a call from a backend's own status, which passes, and makes a fault of it
// that is fit to be shown: grpc-go names addresses, and calls an answer that is too large for us RESOURCE_EXHAUSTED,
// which a caller would read as a limit of its own. ctx is the call's.
func callError(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	text := s.Message()
	switch s.Code() {
	case codes.DeadlineExceeded:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && len(s.Proto().GetDetails()) == 0 {
			return fault.ErrDeadline
		}
	case codes.Canceled:
		if errors.Is(ctx.Err(), context.Canceled) && len(s.Proto().GetDetails()) == 0 {
			return fault.ErrClientGone
		}
	case codes.Unavailable:
		for _, own := range []string{"error reading from server: ", "connection error: ", "closing transport due to: ", "transport: "} {
			if strings.HasPrefix(text, own) {
				return fault.ErrDisconnected
			}
		}
	case codes.ResourceExhausted:
		if strings.HasPrefix(text, "grpc: received message larger than max") || strings.HasPrefix(text, "grpc: message after decompression larger than max") {
			return fault.ErrAnswerTooLarge
		}
	}
	return err
}
