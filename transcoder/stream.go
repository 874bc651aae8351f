package transcoder

import (
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
)

// serveServerStream sends one request and hands on what comes back.
func (m *Method) serveServerStream(ctx context.Context, w http.ResponseWriter, r *http.Request, vars routing.Vars) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.openWithRequest(ctx, r, vars)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	m.relay(w, r, stream, nil)
}

func (m *Method) openWithRequest(ctx context.Context, r *http.Request, vars routing.Vars) (grpc.ClientStream, error) {
	var body []byte
	var err error
	if m.hasBody {
		if body, err = readBody(nil, r, m.options.MaxBodySize); err != nil {
			return nil, err
		}
	}
	params, err := m.params(nil, vars, r.URL.RawQuery, body)
	if err != nil {
		return nil, err
	}
	wire, err := m.request.AppendWire(nil, body, params)
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

// relay hands a backend's stream on: nothing is written before the first message or the end, so that an error before
// it is a plain HTTP error; each message is flushed. in is where the requests come from, nil when all have been sent.
func (m *Method) relay(w http.ResponseWriter, r *http.Request, stream grpc.ClientStream, in *sender) {
	f := framing(r)
	rc := http.NewResponseController(w)
	var frame []byte
	started := false
	for {
		var err error
		if frame, err = m.receive(stream, f, frame[:0]); err != nil {
			m.end(w, r, stream, f, in.cause(err), started)
			return
		}
		if !started {
			started = true
			m.begin(w, stream, f)
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
		if rc.Flush() != nil {
			return
		}
	}
}

// receive waits for a message and frames it.
func (m *Method) receive(stream grpc.ClientStream, f frames, dst []byte) ([]byte, error) {
	var message mem.Buffer
	if err := stream.RecvMsg(&message); err != nil {
		return dst, err
	}
	defer message.Free()
	dst, err := m.response.AppendJSON(f.open(dst), message.ReadOnlyData())
	if err != nil {
		return dst, fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	return f.close(dst), nil
}

func (m *Method) begin(w http.ResponseWriter, stream grpc.ClientStream, f frames) {
	if md, err := stream.Header(); err == nil {
		m.back.header(w.Header(), md)
	}
	f.header(w.Header())
	w.WriteHeader(http.StatusOK)
}

// end tells the client how the stream ended: err is io.EOF when it ended well.
func (m *Method) end(w http.ResponseWriter, r *http.Request, stream grpc.ClientStream, f frames, err error, started bool) {
	if errors.Is(err, io.EOF) {
		if !started {
			m.begin(w, stream, f)
		}
		if takesTrailers(r) {
			trailers(w.Header(), stream.Trailer())
		}
		return
	}
	if started {
		_, _ = w.Write(f.failure(AppendStatus(nil, status.Convert(asStatus(err)), m.options.JSON.Resolver)))
		return
	}
	if md, headerErr := stream.Header(); headerErr == nil {
		m.back.header(w.Header(), md)
	}
	m.back.named(w.Header(), stream.Trailer())
	m.fail(w, r, err)
}
