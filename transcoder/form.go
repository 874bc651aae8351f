package transcoder

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// Forms says whether HTML forms are taken for request messages. A page of any origin may send one with the user's cookies
// and without asking first (Fetch standard, CORS-safelisted request headers).
type Forms uint8

// The choices for forms.
const (
	RefuseForms Forms = iota
	// SameOriginForms takes forms but those that a browser sends from another origin.
	SameOriginForms
	AcceptForms
)

const (
	urlencodedForm = "application/x-www-form-urlencoded"
	multipartForm  = "multipart/form-data"
)

// form reads HTML forms into the message that a binding's body is.
type form struct {
	sameOrigin *http.CrossOriginProtection // nil: forms of any origin are taken
	body       fieldPath                   // the field that the body is; empty for the whole request
	query      *query                      // of the body's message: a form's fields are named as parameters are
}

// compileForm returns nil for a binding whose body is no message.
func compileForm(input protoreflect.MessageDescriptor, body string, o *Options) *form {
	md, fd := bodyOf(input, body)
	if o.Forms == RefuseForms || md == nil || isHTTPBody(md) {
		return nil
	}
	f := &form{query: compileQuery(md, false, &Options{IgnoreUnknownQuery: o.JSON.DiscardUnknown})}
	f.query.what = "form"
	if fd != nil {
		f.body = fieldPath{fd}
	}
	if o.Forms == SameOriginForms {
		f.sameOrigin = http.NewCrossOriginProtection()
	}
	return f
}

// formKind returns the media type of a form, and "" for anything else.
func formKind(r *http.Request) string {
	values := r.Header["Content-Type"]
	if len(values) == 0 {
		return ""
	}
	kind, _, _ := strings.Cut(values[0], ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case urlencodedForm, multipartForm:
		return kind
	}
	return ""
}

// IsForm reports whether a request's body is an HTML form.
func IsForm(r *http.Request) bool { return formKind(r) != "" }

// check refuses a form that another origin's page sends.
func (f *form) check(r *http.Request) error {
	if f.sameOrigin != nil && f.sameOrigin.Check(r) != nil {
		return fault.New(fault.PermissionDenied, "forms of other origins are not taken")
	}
	return nil
}

// read makes parameters of a form's fields, appended to dst, and JSON of those that are JSON.
func (f *form) read(dst []codec.Param, r *http.Request, body []byte) (params []codec.Param, rest []byte, err error) {
	first := len(dst)
	if formKind(r) == urlencodedForm {
		dst, err = f.query.parse(dst, string(body))
	} else {
		dst, rest, err = f.parts(dst, r.Header["Content-Type"][0], body)
	}
	if len(f.body) > 0 {
		for i := first; i < len(dst); i++ {
			dst[i].Path = append(f.body[:1:1], dst[i].Path...)
		}
	}
	return dst, rest, err
}

// parts reads multipart/form-data (RFC 7578).
func (f *form) parts(dst []codec.Param, contentType string, body []byte) ([]codec.Param, []byte, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || parameters["boundary"] == "" {
		return dst, nil, fault.New(fault.UnsupportedMediaType, "content-type: multipart/form-data needs a boundary")
	}
	in := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	first := len(dst)
	var members []byte
	for {
		part, err := in.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		var content []byte
		if err == nil {
			content, err = io.ReadAll(part)
		}
		if err != nil {
			return dst, nil, &codec.Error{Reason: "form: " + err.Error()}
		}
		if fd := f.jsonField(part); fd != nil {
			if members, err = appendMember(members, fd, content); err != nil {
				return dst, nil, &codec.Error{Field: part.FormName(), Reason: err.Error()}
			}
			continue
		}
		if dst, err = f.part(dst, first, part, content); err != nil {
			return dst, nil, &codec.Error{Field: part.FormName(), Reason: "form: " + err.Error()}
		}
	}
	if len(members) > 0 {
		members = append(members, '}')
	}
	return dst, members, nil
}

// jsonField returns the field whose JSON a part is: it says that it is JSON, and is for a field of the message itself that
// is neither text nor bytes.
func (f *form) jsonField(part *multipart.Part) protoreflect.FieldDescriptor {
	kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil
	}
	fd := fieldByName(f.query.message, part.FormName())
	if fd == nil || isHTTPBody(fd.Message()) || !fd.IsList() && (fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind) {
		return nil
	}
	return fd
}

// appendMember appends a member to an object that is not closed yet.
func appendMember(object []byte, fd protoreflect.FieldDescriptor, value []byte) ([]byte, error) {
	if !json.Valid(value) {
		return object, errors.New("form: the part is not valid JSON")
	}
	name, err := json.Marshal(fd.JSONName())
	if err != nil {
		return object, err
	}
	between := byte(',')
	if len(object) == 0 {
		between = '{'
	}
	return append(append(append(append(object, between), name...), ':'), value...), nil
}

// part appends what a part says of its field. A file is bytes as they are: of a bytes field, or of a google.api.HttpBody
// with its media type. Anything else is text, as a query has it.
func (f *form) part(dst []codec.Param, first int, part *multipart.Part, content []byte) ([]codec.Param, error) {
	if len(dst)-first >= maxParams {
		return dst, fmt.Errorf("more than %d parts", maxParams)
	}
	path, err := ResolvePath(f.query.message, part.FormName())
	if err != nil {
		if unknown := (*errNoParam)(nil); f.query.ignoreUnknown && errors.As(err, &unknown) {
			return dst, nil
		}
		return dst, err
	}
	if err := clash(dst[first:], path); err != nil {
		return dst, err
	}
	last := path[len(path)-1]
	switch {
	case isHTTPBody(last.Message()) && !last.IsList():
		fields := last.Message().Fields()
		kind := part.Header.Get("Content-Type")
		if !isText(kind) {
			return dst, errors.New("the content type is not printable ASCII")
		}
		path = path[:len(path):len(path)]
		return append(dst,
			codec.Param{Path: append(path, fields.ByNumber(contentTypeNumber)), Value: kind},
			codec.Param{Path: append(path, fields.ByNumber(dataNumber)), Value: base64.StdEncoding.EncodeToString(content)}), nil
	case last.Kind() == protoreflect.BytesKind && part.FileName() != "":
		return append(dst, codec.Param{Path: path, Value: base64.StdEncoding.EncodeToString(content)}), nil
	}
	if err := codec.CheckParam(last); err != nil {
		return dst, err
	}
	return append(dst, codec.Param{Path: path, Value: string(content)}), nil
}
