package transcoder

import (
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// The fields of google.api.HttpBody, which is a body as it is: its bytes and their media type.
const (
	contentTypeNumber = protowire.Number(1)
	dataNumber        = protowire.Number(2)
)

// isHTTPBody reports whether a message is google.api.HttpBody, by its fields too: the name alone proves nothing.
func isHTTPBody(md protoreflect.MessageDescriptor) bool {
	if md == nil || md.FullName() != "google.api.HttpBody" {
		return false
	}
	has := func(n protowire.Number, k protoreflect.Kind) bool {
		fd := md.Fields().ByNumber(n)
		return fd != nil && fd.Kind() == k && fd.Cardinality() != protoreflect.Repeated
	}
	return has(contentTypeNumber, protoreflect.StringKind) && has(dataNumber, protoreflect.BytesKind)
}

// bodyOf returns the message that a body or an answer is: all of md for "*", or of the singular message field that name
// names. It is nil for anything else.
func bodyOf(md protoreflect.MessageDescriptor, name string) (protoreflect.MessageDescriptor, protoreflect.FieldDescriptor) {
	if name == "*" {
		return md, nil
	}
	fd := md.Fields().ByName(protoreflect.Name(name))
	if fd == nil || fd.Message() == nil || fd.IsList() || fd.IsMap() {
		return nil, nil
	}
	return fd.Message(), fd
}

// rawRequest makes wire bytes of requests whose body goes to the backend as it came.
type rawRequest struct {
	tag  []byte        // of the field that the body is; nil where it is the whole request
	rest codec.Request // of path and query
}

// compileRawRequest returns nil for a binding whose body is no google.api.HttpBody.
func compileRawRequest(input protoreflect.MessageDescriptor, b descriptors.Binding, o *Options) (*rawRequest, error) {
	md, fd := bodyOf(input, b.Body)
	if !isHTTPBody(md) {
		return nil, nil
	}
	rest, err := o.Codec.CompileRequest(input, "", o.JSON)
	if err != nil {
		return nil, err
	}
	q := &rawRequest{rest: rest}
	if fd != nil {
		q.tag = protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
	}
	return q, nil
}

// append appends a request message with a body, or with a piece of one, and with parameters.
func (q *rawRequest) append(dst []byte, contentType string, data []byte, params []codec.Param) ([]byte, error) {
	if q.tag != nil {
		dst = append(dst, q.tag...)
		dst = protowire.AppendVarint(dst, uint64(sizeOf(contentTypeNumber, len(contentType))+sizeOf(dataNumber, len(data))))
	}
	if contentType != "" {
		dst = protowire.AppendTag(dst, contentTypeNumber, protowire.BytesType)
		dst = protowire.AppendString(dst, contentType)
	}
	if len(data) > 0 {
		dst = protowire.AppendTag(dst, dataNumber, protowire.BytesType)
		dst = protowire.AppendBytes(dst, data)
	}
	// After the body, so that a variable for one of its fields is the last to say what that is.
	return q.rest.AppendWire(dst, nil, params)
}

func sizeOf(n protowire.Number, length int) int {
	if length == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeBytes(length)
}

// contentType is the media type of a request's body, as HttpBody has it.
func contentType(r *http.Request) (string, error) {
	values := r.Header["Content-Type"]
	if len(values) == 0 {
		return "", nil
	}
	if !isText(values[0]) {
		return "", fault.New(fault.UnsupportedMediaType, "content-type: expected printable ASCII")
	}
	return values[0], nil
}

// rawResponse finds in an answer the body that goes to the client as it is.
type rawResponse struct {
	message protoreflect.FullName
	field   protowire.Number // that is the body; 0 where it is the whole answer
}

// compileRawResponse returns nil for a binding whose answer is no google.api.HttpBody.
func compileRawResponse(output protoreflect.MessageDescriptor, b descriptors.Binding) *rawResponse {
	name := b.ResponseBody
	if name == "" {
		name = "*"
	}
	md, fd := bodyOf(output, name)
	if !isHTTPBody(md) {
		return nil
	}
	a := &rawResponse{message: output.FullName()}
	if fd != nil {
		a.field = fd.Number()
	}
	return a
}

// parse returns the media type and the bytes that wire has, which are parts of it.
func (a *rawResponse) parse(wire []byte) (contentType, data []byte, err error) {
	read := func(n protowire.Number, v []byte) bool {
		switch n {
		case contentTypeNumber:
			contentType = v
		case dataNumber:
			data = v
		}
		return true
	}
	ok := false
	if a.field == 0 {
		ok = eachBytes(wire, read)
	} else {
		// A message that comes in several pieces is all of them.
		ok = eachBytes(wire, func(n protowire.Number, v []byte) bool { return n != a.field || eachBytes(v, read) })
	}
	if !ok {
		return nil, nil, fault.New(fault.UpstreamAnswerInvalid, fmt.Sprintf("the backend's answer is no %s", a.message))
	}
	return contentType, data, nil
}

// answer returns the bytes of an answer, and says in the header what they are.
func (a *rawResponse) answer(h http.Header, wire []byte) ([]byte, error) {
	contentType, data, err := a.parse(wire)
	if err == nil {
		a.header(h, contentType)
	}
	return data, err
}

// eachBytes calls do with each field of a message that is of the wire type of strings and messages. It returns false when
// the message is malformed, or when do does.
func eachBytes(wire []byte, do func(protowire.Number, []byte) bool) bool {
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return false
		}
		wire = wire[n:]
		if typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(wire)
			if n < 0 || !do(num, v) {
				return false
			}
			wire = wire[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, wire); n < 0 {
			return false
		}
		wire = wire[n:]
	}
	return true
}

// header says what media type a body has. Left out, it is unknown, so that nobody guesses.
func (a *rawResponse) header(h http.Header, contentType []byte) {
	if text := string(contentType); text != "" && isText(text) {
		h["Content-Type"] = []string{text}
		return
	}
	h["Content-Type"] = unknownType
}

var unknownType = []string{"application/octet-stream"}
