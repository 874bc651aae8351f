package openapi

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxExampleDepth bounds the messages in messages of an example.
	maxExampleDepth = 4
	// maxExampleFields bounds its fields.
	maxExampleFields = 100
	// maxExampleText bounds a text, however long it must be to be valid.
	maxExampleText = 200
)

// exampleOf is a request body to begin with: what a caller may set, one field of each oneof, recursion cut. A tool would
// make one of the schema by itself, with fields in it that exclude each other.
func (r *route) exampleOf(md protoreflect.MessageDescriptor, without []fieldPath) any {
	e := &example{route: r, fields: maxExampleFields}
	return e.message(md, without, nil)
}

// example is an example while it is made.
type example struct {
	*route
	fields int // that may still be added
}

func (e *example) message(md protoreflect.MessageDescriptor, without []fieldPath, on []protoreflect.FullName) any {
	if v, ok := exampleText[md.FullName()]; ok {
		return v
	}
	if s := e.wellKnown(md.FullName()); s != nil {
		return fitting(s, true) // a wrapper
	}
	on = append(slices.Clone(on), md.FullName())
	var o Ordered[any]
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		inner, bound := below(without, fd)
		// An etag, like a name, is nothing that a caller makes up (AIP-154).
		if b := behaviorOf(fd); bound || b.readOnly || b.identifier || deprecated(fd) || fd.Name() == "etag" {
			continue
		}
		if od := fd.ContainingOneof(); od != nil && !od.IsSynthetic() && od.Fields().Get(0) != fd {
			continue
		}
		nested := fd.Message()
		if fd.IsMap() {
			nested = fd.MapValue().Message()
		}
		if nested != nil && (len(on) >= maxExampleDepth || slices.Contains(on, nested.FullName())) {
			continue
		}
		if e.fields == 0 {
			break
		}
		e.fields--
		if v := e.field(fd, inner, on); v != nil {
			o.Set(e.fieldName(fd), v)
		}
	}
	return o
}

func (e *example) field(fd protoreflect.FieldDescriptor, inner []fieldPath, on []protoreflect.FullName) any {
	s := e.set(fd)
	switch {
	case fd.IsMap():
		var o Ordered[any]
		if v := e.value(fd.MapValue(), s.AdditionalProperties, nil, on); v != nil {
			o.Set(exampleKey(fd.MapKey()), v)
		}
		return o
	case fd.IsList():
		if v := e.value(fd, s.Items, nil, on); v != nil {
			return []any{v}
		}
		return []any{}
	}
	return e.value(fd, s, inner, on)
}

func exampleKey(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "key"
	case protoreflect.BoolKind:
		return "true"
	}
	return "1"
}

// value is one value that fits s, nil where there is nothing to show.
func (e *example) value(fd protoreflect.FieldDescriptor, s *Schema, inner []fieldPath, on []protoreflect.FullName) any {
	switch {
	case len(s.Enum) > 0 || fd.Message() != nil && len(s.Type) == 2:
		// A list of what may be; a wrapper.
	case fd.Enum() != nil:
		return e.enum(fd.Enum())
	case fd.Message() != nil:
		return e.message(fd.Message(), inner, on)
	}
	return fitting(s, required(fd))
}

// fitting returns a value that a schema of a scalar takes, nil where that is hard to say and the value not needed.
func fitting(s *Schema, needed bool) any {
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type[0] == "boolean":
		return true
	case s.Type[0] == "string" && s.Format == "int64", s.Type[0] == "string" && s.Format == "uint64":
		return "1"
	case s.ContentEncoding != "":
		return "Ynl0ZXM="
	case s.Type[0] == "string" && formatted[s.Format] != "":
		return formatted[s.Format]
	case s.Type[0] == "string":
		if (s.Pattern != "" || s.Not != nil || s.AnyOf != nil) && !needed {
			return nil
		}
		text := "string"
		if s.MaxLength != nil && *s.MaxLength < uint64(len(text)) {
			text = text[:*s.MaxLength]
		}
		if s.MinLength != nil && *s.MinLength > uint64(len(text)) {
			text += strings.Repeat("g", int(min(*s.MinLength, maxExampleText))-len(text))
		}
		return text
	case s.Minimum != "" && s.Minimum != "0":
		return s.Minimum
	case s.ExclusiveMinimum != "", s.ExclusiveMaximum != "", s.Maximum != "":
		return between(s)
	case s.Type[0] == "number":
		return 1.5
	}
	return 1
}

var formatted = map[string]string{
	"email": "someone@example.com", "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
	"uri": "https://example.com/", "uri-reference": "/", "uuid": "6f6b1b8e-6a5e-4d59-9d6b-0c1c5a3f2e10",
}

// between returns a number inside of bounds, one of which may be missing.
func between(s *Schema) any {
	low, err := cmp.Or(s.ExclusiveMinimum, s.Minimum).Float64()
	if err != nil {
		low = 0
	}
	high, err := cmp.Or(s.ExclusiveMaximum, s.Maximum).Float64()
	switch {
	case err != nil:
		return low + 1
	case low >= high:
		return high - 1
	case s.Type[0] == "integer":
		return min(low+1, high)
	}
	return low + (high-low)/2
}

// enum is the first value that says something: zero is by custom the one that does not.
func (e *example) enum(ed protoreflect.EnumDescriptor) any {
	if ed.FullName() == "google.protobuf.NullValue" {
		return nil
	}
	v := ed.Values().Get(min(1, ed.Values().Len()-1))
	if e.variant.enumNumbers {
		return int32(v.Number())
	}
	return string(v.Name())
}

// exampleText has the types with a JSON form of their own; nil leaves a field out.
var exampleText = map[protoreflect.FullName]any{
	"google.protobuf.Timestamp": "2026-01-02T03:04:05Z", "google.protobuf.Duration": "1.5s", "google.protobuf.FieldMask": nil,
	"google.protobuf.Struct": map[string]any{"key": "value"}, "google.protobuf.Value": "value", "google.protobuf.ListValue": []any{"value"},
	"google.protobuf.Empty": map[string]any{}, "google.protobuf.Any": nil,
}
