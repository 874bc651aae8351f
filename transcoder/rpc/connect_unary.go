package rpc

import (
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// connectCall is a unary call of Connect. Its buffers are kept for the next one.
type connectCall struct {
	lost     bool     // a write of the answer failed
	codec    string   // proto or json
	encoding string   // of the request's message
	accept   []string // encodings that the answer's message may have
	body     []byte   // the message as the client sent it
	out      []byte   // the message as the backend gets it, behind its prefix
	in       []byte   // the backend's answer
	text     []byte   // the answer as the client gets it, where it is not what the backend sent
}

var connectCalls = sync.Pool{New: func() any { return new(connectCall) }}

// keepable is the largest buffer that a pool keeps: one large message should not cost its memory for ever.
const keepable = 1 << 20

func (u *connectCall) release() {
	if u.lost {
		// HTTP/2's server may still be reading what it could not write.
		return
	}
	for _, b := range []*[]byte{&u.body, &u.out, &u.in, &u.text} {
		if cap(*b) > keepable {
			*b = nil
		}
	}
	u.accept = nil
	connectCalls.Put(u)
}

// serveConnect serves a unary call of Connect: one message each way, as the body of an HTTP request and its answer.
func (h *Handler) serveConnect(w http.ResponseWriter, r *http.Request, p Protocol) codes.Code {
	timeout, err := connectTimeout(r.Header, h.options.Timeout)
	if err != nil {
		return h.refuseUnary(w, r, err)
	}
	u := connectCalls.Get().(*connectCall)
	c := h.begin(w, r, timeout)
	sent := new(transcoder.HeldBody)
	defer func() {
		c.end()
		sent.Release()
		u.release()
	}()
	if err := h.readConnect(u, c, p); err != nil {
		return h.refuseUnary(w, r, err)
	}
	header := c.header()
	header["Content-Type"] = []string{"application/grpc+proto"}
	if u.codec == "proto" {
		if !isIdentity(u.encoding) {
			header["Grpc-Encoding"] = []string{u.encoding}
		}
		if len(u.accept) > 0 {
			header["Grpc-Accept-Encoding"] = []string{strings.Join(u.accept, ",")}
		}
	}
	sent.Hold(u.out)
	if err := c.send(header, sent); err != nil {
		return h.refuseUnary(w, r, err)
	}
	return c.answerConnect(u, p)
}

// readConnect reads the request's message into u.out.
func (h *Handler) readConnect(u *connectCall, c *call, p Protocol) error {
	r := c.r
	var err error
	if p == ConnectGet {
		err = u.readQuery(r)
	} else {
		_, u.codec = parseContentType(r.Header.Get("Content-Type"))
		u.encoding = r.Header.Get("Content-Encoding")
	}
	if err == nil {
		err = h.checkConnect(r, u.codec, false)
	}
	if err != nil {
		return err
	}
	u.accept = encodings(r.Header["Accept-Encoding"])
	switch {
	case p == ConnectGet && int64(len(u.body)) > h.options.MaxMessage, r.ContentLength > h.options.MaxMessage:
		return errMessageTooLarge
	case p != ConnectGet:
		body := transcoder.TimedBody{Request: r, Writer: c.w, Deadline: c.deadline}
		u.body, err = appendAll(u.body[:0], &body, h.options.MaxMessage, nil)
		if body.Release(); err != nil {
			return bodyError(r, err)
		}
	}
	if u.codec == "proto" {
		var flags byte
		if !isIdentity(u.encoding) && len(u.body) > 0 {
			flags = flagCompressed
		}
		u.out = append(appendPrefix(u.out[:0], flags, len(u.body)), u.body...)
		return nil
	}
	if u.body, err = h.plain(u.body, u.encoding); err != nil {
		return err
	}
	u.out, err = h.appendWire(u.out[:0], u.body)
	return err
}

// plain returns a message of a client in JSON without its compression.
func (h *Handler) plain(body []byte, encoding string) ([]byte, error) {
	switch {
	case isIdentity(encoding) || len(body) == 0:
		return body, nil
	case encoding == "gzip":
		return appendGunzip(nil, body, h.options.MaxMessage)
	}
	return nil, &fault.Error{Reason: fault.UnsupportedMediaType, Code: codes.Unimplemented,
		Message: "the encoding " + strconv.Quote(encoding) + " is not supported; expected gzip or identity"}
}

// appendWire appends a message in JSON as the backend gets it, with its prefix.
func (h *Handler) appendWire(dst, text []byte) ([]byte, error) {
	dst, err := h.request.AppendWire(appendPrefix(dst, 0, 0), text, nil)
	if err != nil {
		return dst, err
	}
	if int64(len(dst)) > 1<<32 {
		return dst, errMessageTooLarge
	}
	binary.BigEndian.PutUint32(dst[1:], uint32(len(dst)-PrefixSize))
	return dst, nil
}

// bodyError says why a body could not be read to its end.
func bodyError(r *http.Request, err error) error {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	if r.Context().Err() != nil {
		return fault.ErrClientGone
	}
	return fault.New(fault.InvalidRequest, "the body ended early")
}

// answerConnect hands the answer's one message on. Nothing is written before all of it is there: trailing metadata is
// in headers.
func (c *call) answerConnect(u *connectCall, p Protocol) codes.Code {
	message, compressed, trailer := c.readMessage(u)
	to := c.w.Header()
	if !c.trailersOnly() {
		c.returnHeader(false)
	}
	for name, values := range trailer {
		if !isGRPC(name) {
			to["Trailer-"+name] = values
		}
	}
	if code := codeOf(trailer); code != codes.OK {
		s := statusOf(trailer)
		writeConnectError(c.w, c.r, s, transcoder.HTTPStatus(code))
		return code
	}
	encoding := ""
	if compressed {
		encoding = c.answer.Header.Get("Grpc-Encoding")
	}
	message, encoding, err := c.handler.translate(u, message, encoding)
	if err != nil {
		return c.handler.refuseUnary(c.w, c.r, err)
	}
	to["Content-Type"] = []string{"application/" + u.codec}
	if encoding != "" {
		to["Content-Encoding"] = []string{encoding}
	}
	if p == ConnectGet {
		to["Vary"] = append(to["Vary"], "Accept-Encoding")
		if matches(c.r.Header["If-None-Match"], to["Etag"]) {
			delete(to, "Content-Type")
			delete(to, "Content-Encoding")
			c.w.WriteHeader(http.StatusNotModified)
			return codes.OK
		}
	} else if accept := c.acceptedEncodings(u.codec); accept != "" {
		to["Accept-Encoding"] = []string{accept}
	}
	to["Content-Length"] = []string{strconv.Itoa(len(message))}
	c.w.WriteHeader(http.StatusOK)
	_, err = c.w.Write(message)
	u.lost = err != nil
	return codes.OK
}

// acceptedEncodings is what the client may compress its messages with.
func (c *call) acceptedEncodings(codec string) string {
	if codec == "json" {
		return "gzip"
	}
	return c.answer.Header.Get("Grpc-Accept-Encoding")
}

// readMessage reads an answer of one message. What ended the call is in the trailers, and without an error there is a message.
func (c *call) readMessage(u *connectCall) (message []byte, compressed bool, trailer http.Header) {
	bad := func(text string) ([]byte, bool, http.Header) {
		return nil, false, trailerOf(fault.New(fault.UpstreamAnswerInvalid, text))
	}
	limit := c.handler.options.MaxAnswer
	var err error
	u.in, err = appendAll(u.in[:0], c.answer.Body, limit+PrefixSize, nil)
	if errors.Is(err, errMessageTooLarge) {
		return nil, false, trailerOf(fault.ErrAnswerTooLarge)
	}
	if trailer = c.trailer(err); codeOf(trailer) != codes.OK {
		return nil, false, trailer
	}
	if len(u.in) == 0 {
		return bad("the backend ended the call without an answer")
	}
	if len(u.in) < PrefixSize || int(binary.BigEndian.Uint32(u.in[1:])) != len(u.in)-PrefixSize {
		return bad("the backend's answer is not one message")
	}
	return u.in[PrefixSize:], u.in[0]&flagCompressed != 0, trailer
}

// translate makes of the backend's message what the client gets.
func (h *Handler) translate(u *connectCall, message []byte, encoding string) ([]byte, string, error) {
	var err error
	if encoding != "" && (u.codec == "json" || !slices.Contains(u.accept, encoding)) {
		if encoding != "gzip" {
			return nil, "", fault.Errorf(fault.UpstreamAnswerInvalid, "the backend's answer is compressed with %q, which nobody asked for", encoding)
		}
		if message, err = appendGunzip(nil, message, h.options.MaxAnswer); err != nil {
			return nil, "", fault.New(fault.UpstreamAnswerInvalid, "the backend's answer cannot be decompressed")
		}
		encoding = ""
	}
	if u.codec == "proto" {
		return message, encoding, nil
	}
	if u.text, err = h.response.AppendJSON(u.text[:0], message); err != nil {
		return nil, "", fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	if len(u.text) >= minCompress && slices.Contains(u.accept, "gzip") {
		return appendGzip(nil, u.text), "gzip", nil
	}
	return u.text, "", nil
}

// matches reports whether a client has the answer already (RFC 9110 section 13.1.2).
func matches(asked, etag []string) bool {
	if len(etag) != 1 {
		return false
	}
	have := strings.TrimPrefix(etag[0], "W/")
	for _, line := range asked {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == have {
				return true
			}
		}
	}
	return false
}
