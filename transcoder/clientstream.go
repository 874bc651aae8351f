package transcoder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// serveClientStream sends the messages of the body, JSON values one after the other, as they come. What comes back is
// one answer, or is handed on at the same time.
func (m *Method) serveClientStream(ctx context.Context, w http.ResponseWriter, r *http.Request, vars routing.Vars) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	params, err := m.params(nil, vars, r.URL.RawQuery, nil)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	body, w := NewDuplexBody(w, r)
	defer body.End()
	in := &sender{method: m, params: params, request: r, body: body, cancel: cancel}
	if m.rawIn == nil {
		in.decoder = json.NewDecoder(in)
	}
	// The first message is read before the backend is called, so that a broken one calls nothing. But it may be the backend
	// of a bidirectional stream that speaks first.
	later := m.stream.ServerStreams && m.hasBody
	var first []byte
	if later && r.ContentLength != 0 {
		err = m.checkContent(r)
	} else if !later {
		first, err = in.first()
	}
	if err != nil {
		m.fail(w, r, err)
		return
	}
	if in.stream, err = m.options.Backend.NewStream(ctx, m.stream, m.method.FullMethod); err != nil {
		m.fail(w, r, err)
		return
	}
	sent := make(chan struct{})
	go func() { // ends with the body, which is closed below, or with the stream
		defer close(sent)
		in.sent(Guard(func() (err error) {
			if later {
				first, err = in.first()
			}
			if err == nil {
				err = in.sendAll(first)
			}
			return err
		}))
	}()
	if m.stream.ServerStreams {
		m.relay(ctx, cancel, w, r, in.stream, in)
	} else {
		m.answerStream(w, r, in)
	}
	cancel()
	_ = body.Close()
	<-sent
}

// answerStream answers with the one message of a client stream.
func (m *Method) answerStream(w http.ResponseWriter, r *http.Request, in *sender) {
	h := w.Header()
	text, free, err := m.receiveAnswer(h, in.stream)
	defer free()
	if md, headerErr := in.stream.Header(); headerErr == nil {
		m.back.header(h, md)
	}
	m.back.named(h, in.stream.Trailer())
	if err != nil {
		m.fail(w, r, in.cause(err))
		return
	}
	if takesTrailers(r) {
		trailers(h, in.stream.Trailer())
	}
	_, _ = w.Write(text)
}

// receiveAnswer waits for the one message of a stream and returns what the client gets, which is good until free.
func (m *Method) receiveAnswer(h http.Header, stream grpc.ClientStream) (text []byte, free func(), err error) {
	var reply mem.Buffer
	if err = stream.RecvMsg(&reply); err != nil {
		if errors.Is(err, io.EOF) {
			err = fault.New(fault.UpstreamAnswerInvalid, "the backend ended the call without an answer")
		}
		return nil, func() {}, err
	}
	if m.rawOut != nil {
		text, err = m.rawOut.answer(h, reply.ReadOnlyData())
		return text, reply.Free, err
	}
	h["Content-Type"] = jsonType
	if text, err = m.response.AppendJSON(nil, reply.ReadOnlyData()); err != nil {
		err = fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	return text, reply.Free, err
}

// sender sends the JSON values of a body one by one, each as large as the route's limit at the most; or, where the body
// goes to the backend as it is, one piece after the other.
type sender struct {
	method  *Method
	params  []codec.Param
	request *http.Request
	body    io.Reader
	chunk   []byte // the piece of a raw body that is being sent; nil before the first
	decoder *json.Decoder
	value   json.RawMessage
	since   int64 // bytes read since the last message began
	stream  grpc.ClientStream
	cancel  context.CancelFunc
	failed  atomic.Pointer[error] // why sending ended early
}

// Read counts what the decoder reads, to bound one message.
func (s *sender) Read(p []byte) (int, error) {
	if s.since > s.method.options.MaxBodySize {
		return 0, errTooLarge
	}
	n, err := s.body.Read(p)
	s.since += int64(n)
	return n, err
}

// first returns the first message, nil when there is none. Without a body in the binding it is what the path and the
// query say.
func (s *sender) first() ([]byte, error) {
	if !s.method.hasBody {
		return s.message(nil)
	}
	wire, err := s.next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return wire, s.method.checkContent(s.request)
}

func (s *sender) message(value []byte) ([]byte, error) {
	wire, err := s.method.appendRequest(nil, s.request, value, s.params)
	if wire == nil {
		wire = []byte{} // an empty message is a message
	}
	return wire, err
}

// rawChunk is how much of a raw body one message takes at the most: enough for its cost not to count, and no more than
// what is held for each upload.
const rawChunk = 64 << 10

// nextChunk returns the message with what has come of a raw body. The first one, which is there even for an empty body, has
// the media type and what path and query say.
func (s *sender) nextChunk() ([]byte, error) {
	first := s.chunk == nil
	if first {
		s.chunk = make([]byte, min(rawChunk, s.method.options.MaxBodySize))
	}
	for {
		n, err := s.body.Read(s.chunk)
		switch {
		case first && (n > 0 || errors.Is(err, io.EOF)):
			return s.method.appendRequest(nil, s.request, s.chunk[:n], s.params)
		case n > 0:
			wire, err := s.method.rawIn.append(nil, "", s.chunk[:n], nil)
			if err == nil {
				err = s.method.options.Rules.Check(wire)
			}
			return wire, err
		case errors.Is(err, io.EOF):
			return nil, err
		case err != nil:
			return nil, readError(s.request, err)
		}
	}
}

func (s *sender) next() ([]byte, error) {
	if s.method.rawIn != nil {
		return s.nextChunk()
	}
	s.since = 0
	if err := s.decoder.Decode(&s.value); err != nil {
		var syntax *json.SyntaxError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTooLarge):
			return nil, err
		case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, &codec.Error{Reason: "expected JSON values one after the other: " + err.Error()}
		}
		return nil, readError(s.request, err)
	}
	if value := bytes.TrimSpace(s.value); int64(len(value)) > s.method.options.MaxBodySize {
		return nil, errTooLarge
	}
	return s.message(s.value)
}

// sent ends sending, of which err is how it went. What went wrong ends the call, and is what the client is told.
func (s *sender) sent(err error) {
	switch {
	case err == nil:
		err = s.stream.CloseSend()
	case errors.Is(err, io.EOF):
		// The stream has ended; receiving tells why.
		return
	}
	if err != nil {
		s.failed.Store(&err)
		s.cancel()
	}
}

func (s *sender) sendAll(wire []byte) error {
	for wire != nil {
		if err := send(s.stream, wire); err != nil {
			return err
		}
		if !s.method.hasBody {
			return nil
		}
		var err error
		if wire, err = s.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// cause returns why a call ended: err, unless sending had failed before.
func (s *sender) cause(err error) error {
	if s == nil || status.Code(err) != codes.Canceled {
		return err
	}
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	return err
}
