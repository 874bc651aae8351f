package rpc

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// serveConnectStream serves a streaming call of Connect. Its envelopes are gRPC's messages but for the one that ends the
// answer, so that those of the proto codec pass as they are.
func (h *Handler) serveConnectStream(w http.ResponseWriter, r *http.Request) codes.Code {
	_, codec := parseContentType(r.Header["Content-Type"][0])
	if err := h.checkConnect(r, codec, true); err != nil {
		if isMediaType(err) {
			return h.refuseUnary(w, r, err)
		}
		return refuseConnectStream(w, r, err)
	}
	timeout, err := connectTimeout(r.Header, h.options.Timeout)
	if err != nil {
		return refuseConnectStream(w, r, err)
	}
	c := h.begin(w, r, timeout)
	defer c.end()
	header := c.header()
	header["Content-Type"] = []string{"application/grpc+proto"}
	encoding, accept := r.Header.Get("Connect-Content-Encoding"), encodings(r.Header["Connect-Accept-Encoding"])
	body := c.duplex()
	if codec == "json" {
		body = &jsonBody{ReadCloser: body, call: c, encoding: encoding}
	} else {
		body = &passing{Reader: body, Closer: body, call: c, frames: frames{max: h.options.MaxMessage, known: flagCompressed}, strict: true}
		if !isIdentity(encoding) {
			header["Grpc-Encoding"] = []string{encoding}
		}
		if len(accept) > 0 {
			header["Grpc-Accept-Encoding"] = []string{strings.Join(accept, ",")}
		}
	}
	if err := c.send(header, body); err != nil {
		return refuseConnectStream(c.w, r, err)
	}
	a := &connectStream{call: c, codec: codec, gzip: codec == "json" && slices.Contains(accept, "gzip")}
	return a.serve()
}

// refuseConnectStream answers a streaming call with an error: HTTP 200, and an envelope that says what it is.
func refuseConnectStream(w http.ResponseWriter, r *http.Request, err error) codes.Code {
	s, _ := connectStatus(err)
	w.Header()["Content-Type"] = r.Header["Content-Type"]
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(appendEndStream(nil, s, nil))
	return s.Code()
}

// connectStream is the answer to a streaming call.
type connectStream struct {
	*call
	codec string
	gzip  bool // the client takes it, and there is JSON to compress

	answered frames // the backend's messages, as they came
	in, text []byte
}

func (a *connectStream) serve() codes.Code {
	to := a.w.Header()
	to["Content-Type"] = []string{"application/connect+" + a.codec}
	if a.trailersOnly() {
		a.w.WriteHeader(http.StatusOK)
		return a.finish(a.trailer(nil))
	}
	a.returnHeader(false)
	if accept := a.acceptedEncodings(a.codec); accept != "" {
		to["Connect-Accept-Encoding"] = []string{accept}
	}
	encoding := a.answer.Header.Get("Grpc-Encoding")
	if a.codec == "json" {
		encoding = ""
		if a.gzip {
			encoding = "gzip"
		}
	}
	if !isIdentity(encoding) {
		to["Connect-Content-Encoding"] = []string{encoding}
	}
	a.w.WriteHeader(http.StatusOK)
	if a.rc.Flush() != nil {
		return codes.Canceled
	}
	a.answered = frames{max: math.MaxUint32, known: 0xff}
	take := a.pass
	if a.codec == "json" {
		take = a.print
	}
	trailer := a.trailer(a.relay(take))
	if !a.answered.whole() {
		// Whatever came next would be taken for the rest of the message.
		return codeOf(trailer)
	}
	if len(a.in) > 0 && codeOf(trailer) == codes.OK {
		trailer = trailerOf(fault.New(fault.UpstreamAnswerInvalid, "the backend's answer ended within a message"))
	}
	return a.finish(trailer)
}

// finish sends the envelope that says how the call ended.
func (a *connectStream) finish(trailer http.Header) codes.Code {
	_, _ = a.w.Write(appendEndStream(nil, statusOf(trailer), trailer))
	return codeOf(trailer)
}

// pass hands on what came of the backend's messages.
func (a *connectStream) pass(b []byte) error {
	a.answered.scan(b)
	_, err := a.w.Write(b)
	return err
}

// print hands on the messages that are whole now, in JSON.
func (a *connectStream) print(b []byte) error {
	a.in = append(a.in, b...)
	rest := a.in
	for len(rest) >= PrefixSize {
		size := int64(binary.BigEndian.Uint32(rest[1:]))
		if size > a.handler.options.MaxAnswer {
			return fault.ErrAnswerTooLarge
		}
		if int64(len(rest)) < PrefixSize+size {
			break
		}
		if err := a.message(rest[0], rest[PrefixSize:PrefixSize+size]); err != nil {
			return err
		}
		rest = rest[PrefixSize+size:]
	}
	a.in = append(a.in[:0], rest...)
	return nil
}

func (a *connectStream) message(flags byte, wire []byte) error {
	if flags != 0 {
		return fault.New(fault.UpstreamAnswerInvalid, "the backend's answer is compressed, which nobody asked for")
	}
	var err error
	if a.text, err = a.handler.response.AppendJSON(appendPrefix(a.text[:0], 0, 0), wire); err != nil {
		return fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	if a.gzip && len(a.text) >= minCompress {
		a.text = append(a.text[:0], appendGzip(appendPrefix(nil, flagCompressed, 0), a.text[PrefixSize:])...)
	}
	binary.BigEndian.PutUint32(a.text[1:], uint32(len(a.text)-PrefixSize))
	_, err = a.w.Write(a.text)
	return err
}

// jsonBody makes the backend's messages of a client's in JSON.
type jsonBody struct {
	io.ReadCloser
	call     *call
	encoding string
	body     []byte
	out      []byte // made
	left     []byte // of it, not read
	err      error
}

func (b *jsonBody) Read(p []byte) (int, error) {
	for len(b.left) == 0 {
		if b.err == nil {
			b.err = b.next()
		}
		if b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// next makes the next message.
func (b *jsonBody) next() error {
	err := b.read()
	if err == nil {
		// The backend's transport reads this body, in a goroutine of its own.
		err = transcoder.Guard(func() (err error) {
			b.out, err = b.call.handler.appendWire(b.out[:0], b.body)
			return err
		})
	}
	switch {
	case err == nil:
		b.left = b.out
	case !errors.Is(err, io.EOF):
		b.call.fail(err)
	}
	return err
}

// read reads the next envelope.
func (b *jsonBody) read() error {
	var prefix [PrefixSize]byte
	if _, err := io.ReadFull(b.ReadCloser, prefix[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errCutShort
		}
		return err
	}
	size := int64(binary.BigEndian.Uint32(prefix[1:]))
	switch {
	case prefix[0]&^flagCompressed != 0:
		return errUnknownFlags
	case size > b.call.handler.options.MaxMessage:
		return errMessageTooLarge
	}
	var err error
	if b.body, err = appendAll(b.body[:0], io.LimitReader(b.ReadCloser, size), size, nil); err != nil {
		return err
	}
	if int64(len(b.body)) < size {
		return errCutShort
	}
	if prefix[0] == 0 {
		return nil
	}
	if isIdentity(b.encoding) {
		return &fault.Error{Reason: fault.InvalidRequest, Code: codes.Internal, Message: "a message is compressed, and connect-content-encoding does not say with what"}
	}
	b.body, err = b.call.handler.plain(b.body, b.encoding)
	return err
}
