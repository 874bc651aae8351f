package transcoder

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
)

var errTooLarge = fault.New(fault.MessageTooLarge, "the body is larger than the route's max_body_size")

// checkContent refuses a body in a form that the method does not take.
func (m *Method) checkContent(r *http.Request) error {
	if encoding := r.Header["Content-Encoding"]; len(encoding) > 0 && !strings.EqualFold(encoding[0], "identity") {
		return fault.New(fault.UnsupportedMediaType, "content-encoding: expected gzip or identity")
	}
	switch {
	case m.rawIn != nil:
		return nil
	case m.form != nil && formKind(r) != "":
		return m.form.check(r)
	}
	return checkJSON(r)
}

// checkJSON refuses a body that does not claim to be JSON. Nothing is guessed: a web page of another origin may send
// forms and plain text without asking first (Fetch standard, CORS-safelisted request headers), but not JSON.
func checkJSON(r *http.Request) error {
	values := r.Header["Content-Type"]
	if len(values) == 0 || values[0] == "" || values[0] == "application/json" {
		return nil
	}
	kind, _, _ := strings.Cut(values[0], ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "application/json", kind == "application/x-ndjson", strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"):
		return nil
	}
	return fault.New(fault.UnsupportedMediaType, "content-type: expected application/json")
}

// readBody appends the request's body to dst, max_body_size bytes at the most. What a client declares reserves no more memory
// than it has sent, but for a first piece.
func (m *Method) readBody(dst []byte, body TimedBody) ([]byte, error) {
	r := body.Request
	limit := m.options.MaxBodySize
	if r.ContentLength == 0 || r.Body == nil {
		return dst, nil
	}
	if r.ContentLength > limit {
		return dst, errTooLarge
	}
	if want := min(r.ContentLength+1, 64<<10); int64(cap(dst)) < want {
		dst = make([]byte, 0, want)
	}
	defer body.Release()
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)) > limit {
			return dst, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return dst, readError(r, err)
		}
	}
	if len(dst) == 0 {
		return dst, nil
	}
	return dst, m.checkContent(r)
}

// readRequest reads a request: its body into body[:0], and its parameters, appended to params.
func (m *Method) readRequest(body []byte, params []codec.Param, from TimedBody, vars routing.Vars) ([]byte, []codec.Param, error) {
	r := from.Request
	body = body[:0]
	var err error
	if m.hasBody {
		if body, err = m.readBody(body, from); err != nil {
			return body, params, err
		}
		if m.form != nil && formKind(r) != "" {
			if params, body, err = m.form.read(params, r, body); err != nil {
				return body, params, err
			}
		}
	}
	params, err = m.params(params, vars, r.URL.RawQuery, body)
	return body, params, err
}

// appendRequest appends the wire bytes of a request message that holds to its rules.
func (m *Method) appendRequest(dst []byte, r *http.Request, body []byte, params []codec.Param) ([]byte, error) {
	start := len(dst)
	dst, err := m.appendUnchecked(dst, r, body, params)
	if err != nil {
		return dst, err
	}
	return dst, m.options.Rules.Check(dst[start:])
}

func (m *Method) appendUnchecked(dst []byte, r *http.Request, body []byte, params []codec.Param) ([]byte, error) {
	if m.rawIn == nil {
		return m.request.AppendWire(dst, body, params)
	}
	kind, err := contentType(r)
	if err != nil {
		return dst, err
	}
	return m.rawIn.append(dst, kind, body, params)
}

// readError says why a body could not be read to its end: the client's connection broke, or its framing did.
func readError(r *http.Request, err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, errSlowBody):
		return errSlowBody
	case r.Context().Err() != nil:
		return fault.ErrClientGone
	}
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	return fault.New(fault.InvalidRequest, "the body ended early")
}
