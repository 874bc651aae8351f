package transcoder

import (
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/crossgate/crossgate/routing"
)

// serveServerStream sends one request and hands on what comes back.
func (m *Method) serveServerStream(ctx context.Context, w http.ResponseWriter, r *http.Request, vars routing.Vars) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.openWithRequest(ctx, w, r, vars)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	m.relay(ctx, cancel, w, r, stream, nil)
}

func (m *Method) openWithRequest(ctx context.Context, w http.ResponseWriter, r *http.Request, vars routing.Vars) (grpc.ClientStream, error) {
	deadline, _ := ctx.Deadline()
	body, params, err := m.readRequest(nil, nil, TimedBody{Request: r, Writer: w, Deadline: deadline}, vars)
	if err != nil {
		return nil, err
	}
	wire, err := m.appendRequest(nil, r, body, params)
	if err != nil {
		return nil, err
	}
	stream, err := m.options.Backend.NewStream(ctx, m.stream, m.method.FullMethod)
	if err != nil {
		return nil, err
	}
	// io.EOF says that the stream has ended, for a reason that receiving tells.
	if err := send(stream, wire); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return stream, stream.CloseSend()
}

func send(stream grpc.ClientStream, wire []byte) error {
	return stream.SendMsg(mem.Buffer(mem.SliceBuffer(wire)))
}
