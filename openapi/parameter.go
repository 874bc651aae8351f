package openapi

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

const (
	// maxQueryParams bounds the parameters of one operation: a message of messages has more fields than anyone reads.
	maxQueryParams = 200
	// maxQueryDepth bounds how deep they reach into messages.
	maxQueryDepth = 8
)

// pathParameter describes a segment of the path, or the rest of it.
func (c *call) pathParameter(s *pathSegment) *Parameter {
	p := &Parameter{Name: s.name, In: "path", Required: true, Schema: &Schema{Type: Types{"string"}}}
	rest := ""
	if s.multi {
		rest = "The rest of the path: any number of segments, with slashes between them."
	}
	field := c.vars[s.field]
	if field == nil {
		p.Description = rest
		return p
	}
	last := field[len(field)-1]
	p.Deprecated = deprecated(last)
	if s.whole && !s.multi {
		p.Schema = c.parameterSchema(last)
		p.Description, p.Schema.Description = paragraphs(comment(last), p.Schema.Description), ""
		if s.name != s.field {
			// Another binding has named the path's parameters.
			p.Description = paragraphs(p.Description, fmt.Sprintf("The field `%s`.", s.field))
		}
		return p
	}
	if s.whole {
		p.Description = paragraphs(comment(last), rest)
		return p
	}
	p.Description = paragraphs(fmt.Sprintf("A part of `%s`, which is `%s`.", s.field, c.path.variable(s.field)), rest, comment(last))
	return p
}

func deprecated(fd protoreflect.FieldDescriptor) bool {
	return fd.Options().(*descriptorpb.FieldOptions).GetDeprecated()
}

// parameterSchema is the schema of a field, or of an element of it, as text in a URL.
func (r *route) parameterSchema(fd protoreflect.FieldDescriptor) *Schema {
	s := r.value(fd)
	if n := len(s.Type); n > 1 && s.Type[n-1] == "null" {
		s.Type = s.Type[:n-1]
	}
	if !fd.IsList() {
		r.constrain(fd, s)
	}
	return s
}

// query collects the parameters for fields that neither path nor body binds.
type query struct {
	*call
	bound []fieldPath // what comes by other ways
	list  []*Parameter
	on    []protoreflect.FullName // the messages that the path leads through: a recursive one is entered once
}

func (q *query) walk(md protoreflect.MessageDescriptor, to fieldPath) {
	if len(to) > maxQueryDepth || slices.Contains(q.on, md.FullName()) {
		return
	}
	q.on = append(q.on, md.FullName())
	defer func() { q.on = q.on[:len(q.on)-1] }()
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		field := append(slices.Clone(to), fd)
		switch {
		case slices.ContainsFunc(q.bound, func(b fieldPath) bool { return len(b) <= len(field) && slices.Equal(b, field[:len(b)]) }):
		case codec.CheckParam(fd) == nil:
			if len(q.list) < maxQueryParams && !pointless(fd) {
				q.list = append(q.list, q.parameter(field))
			}
		case fd.Message() != nil && !fd.IsList() && !fd.IsMap():
			q.walk(fd.Message(), field)
		}
	}
}

// pointless reports whether a parameter could say nothing: Empty, and an enum whose only value is null.
func pointless(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Empty" ||
		fd.Enum() != nil && fd.Enum().FullName() == "google.protobuf.NullValue"
}

func (q *query) parameter(field fieldPath) *Parameter {
	fd := field[len(field)-1]
	b := behaviorOf(fd)
	p := &Parameter{In: "query", Deprecated: deprecated(fd)}
	// Inside a message that may be left out nothing is required.
	p.Required = len(field) == 1 && required(fd)
	for i, f := range field {
		if i > 0 {
			p.Name += "."
		}
		p.Name += q.fieldName(f)
	}
	s := q.parameterSchema(fd)
	p.Description, s.Description = paragraphs(comment(fd), s.Description, b.note), ""
	if fd.IsList() {
		s = &Schema{Type: Types{"array"}, Items: s}
		q.constrain(fd, s)
		p.Description, s.Description = paragraphs(p.Description, s.Description), ""
	}
	if fd.Message() != nil && jsonInText(fd.Message().FullName()) {
		p.Content.Set("application/json", &MediaType{Schema: s})
		return p
	}
	p.Schema = s
	return p
}

// jsonInText reports whether the type's text in a URL is JSON.
func jsonInText(name protoreflect.FullName) bool {
	return name == "google.protobuf.Struct" || name == "google.protobuf.Value" || name == "google.protobuf.ListValue"
}
