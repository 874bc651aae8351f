package upstream

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unreachable says that no backend of a pool could be connected to. Its text has the reason, for logs; the status that
// a caller is shown has not, since addresses are nobody's business outside.
type unreachable struct {
	upstream string
	err      error // of the last one tried
}

func (e *unreachable) Error() string {
	if e.err == nil {
		return fmt.Sprintf("upstream %s: no backend can be reached", e.upstream)
	}
	return fmt.Sprintf("upstream %s: no backend can be reached: %s", e.upstream, status.Convert(e.err).Message())
}

func (e *unreachable) Unwrap() error { return e.err }

// GRPCStatus makes this an error of package status.
func (e *unreachable) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, "no backend of upstream "+e.upstream+" can be reached")
}

// callError makes what grpc-go itself says of a call fit to be shown: it names addresses, and calls an answer that is
// too large for us RESOURCE_EXHAUSTED, which a caller would read as a limit of its own. A backend's own status passes.
func callError(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	text := s.Message()
	switch s.Code() {
	case codes.Unavailable:
		for _, own := range []string{"error reading from server: ", "connection error: ", "closing transport due to: ", "transport: "} {
			if strings.HasPrefix(text, own) {
				return status.Error(codes.Unavailable, "the connection to the backend broke")
			}
		}
	case codes.ResourceExhausted:
		if strings.HasPrefix(text, "grpc: received message larger than max") || strings.HasPrefix(text, "grpc: message after decompression larger than max") {
			return status.Error(codes.Internal, "the backend's answer is larger than the upstream's max_message_size")
		}
	}
	return err
}
