package openapi

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/transcoder"
)

const (
	urlencodedForm = "application/x-www-form-urlencoded"
	multipartForm  = "multipart/form-data"
)

// forms describes a body that may be an HTML form: its fields are named as parameters are, and in a multipart form bytes
// come as they are.
func (c *call) forms(body *RequestBody, md protoreflect.MessageDescriptor) {
	prefix := fieldPath{}
	if fd := c.Method.Descriptor.Input().Fields().ByName(protoreflect.Name(c.Rule.Body)); fd != nil {
		prefix = fieldPath{fd}
	}
	q := query{call: c, bound: c.variables(prefix)}
	q.walk(md, nil)
	urlencoded, multipart := &Schema{Type: Types{"object"}}, &Schema{Type: Types{"object"}}
	for _, p := range q.list {
		s := p.Schema
		if s == nil {
			s = &Schema{Type: Types{"string"}, Description: "JSON."}
		}
		s = described(s, p.Description)
		urlencoded.Properties.Set(p.Name, s)
		if s.ContentEncoding != "" {
			s = described(binary(), s.Description)
		}
		multipart.Properties.Set(p.Name, s)
		if p.Required {
			urlencoded.Required = append(urlencoded.Required, p.Name)
			multipart.Required = append(multipart.Required, p.Name)
		}
	}
	if c.Forms == transcoder.SameOriginForms {
		body.Description = paragraphs(body.Description, "Forms are not taken from pages of other origins.")
	}
	body.Content.Set(urlencodedForm, &MediaType{Schema: urlencoded})
	body.Content.Set(multipartForm, &MediaType{Schema: multipart})
}
