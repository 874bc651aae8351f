package openapi

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// schemaKey is one definition of a type in one variant. Two sources may have a type of the same name, the same or
// another.
type schemaKey struct {
	name    protoreflect.FullName
	file    [sha256.Size]byte
	variant variant
}

const componentPrefix = "#/components/schemas/"

// component returns a reference to the schema of a message or enum, and has it made when it is the first.
func (r *route) component(d protoreflect.Descriptor, make func() *Schema) *Schema {
	key := schemaKey{d.FullName(), r.digest(d.ParentFile()), r.variant}
	name, known := r.schemas[key]
	if !known {
		plain := string(d.FullName()) + r.variant.suffix(r.first)
		name = plain
		for n := 2; r.names[name]; n++ {
			name = plain + "-" + strconv.Itoa(n)
		}
		r.names[name] = true
		r.schemas[key] = name
		r.pending = append(r.pending, func() { r.doc.Components.Schemas[name] = make() })
	}
	return &Schema{Ref: componentPrefix + name}
}

// digest is the digest of what a file defines.
func (b *builder) digest(f protoreflect.FileDescriptor) [sha256.Size]byte {
	sum, known := b.digests[f]
	if !known {
		fd := protodesc.ToFileDescriptorProto(f)
		fd.SourceCodeInfo = nil
		// A file that compiled can be written.
		raw, _ := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(fd)
		sum = sha256.Sum256(raw)
		b.digests[f] = sum
	}
	return sum
}

// message is the schema of a message: its own where the JSON mapping has one for it, else a reference.
func (r *route) message(md protoreflect.MessageDescriptor) *Schema {
	if s := r.wellKnown(md.FullName()); s != nil {
		return s
	}
	return r.component(md, func() *Schema { return r.object(md, nil) })
}

// object is the schema of a message written out, without the fields that are bound elsewhere.
func (r *route) object(md protoreflect.MessageDescriptor, without []fieldPath) *Schema {
	s := &Schema{
		Title: string(md.Name()), Description: comment(md), Type: Types{"object"}, Deprecated: md.Options().(*descriptorpb.MessageOptions).GetDeprecated(),
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		inner, bound := below(without, fd)
		if bound {
			continue
		}
		if len(inner) > 0 && fd.Message() != nil && !fd.IsList() && !fd.IsMap() {
			s.Properties.Set(r.fieldName(fd), r.describe(fd, r.object(fd.Message(), inner)))
		} else {
			s.Properties.Set(r.fieldName(fd), r.property(fd))
		}
		if required(fd) {
			s.Required = append(s.Required, r.fieldName(fd))
		}
	}
	r.oneofs(md, without, s)
	s.Description = paragraphs(s.Description, ruleText(messageRules(md).GetCel(), messageRules(md).GetCelExpression()))
	return s
}

// below returns the paths under fd, without fd itself; bound says that fd is one of them as a whole.
func below(paths []fieldPath, fd protoreflect.FieldDescriptor) (inner []fieldPath, bound bool) {
	for _, p := range paths {
		switch {
		case p[0] != fd:
		case len(p) == 1:
			return nil, true
		default:
			inner = append(inner, p[1:])
		}
	}
	return inner, false
}

// property is the schema of a field in a message's JSON.
func (r *route) property(fd protoreflect.FieldDescriptor) *Schema {
	s := r.set(fd)
	// What is not set is null, where unset fields are emitted and this one has no default to emit.
	if r.variant.unpopulated && fd.HasPresence() && fd.ContainingOneof() == nil && !required(fd) {
		s = nullable(s)
	}
	return r.describe(fd, s)
}

// set is the schema of a field that is set.
func (r *route) set(fd protoreflect.FieldDescriptor) *Schema {
	var s *Schema
	switch {
	case fd.IsMap():
		s = &Schema{Type: Types{"object"}, AdditionalProperties: r.value(fd.MapValue()), PropertyNames: mapKey(fd.MapKey())}
	case fd.IsList():
		s = &Schema{Type: Types{"array"}, Items: r.value(fd)}
	default:
		s = r.value(fd)
	}
	r.constrain(fd, s)
	return s
}

// describe adds what is said of the field, beside the schema of its value.
func (r *route) describe(fd protoreflect.FieldDescriptor, s *Schema) *Schema {
	b := behaviorOf(fd)
	rules := fieldRules(fd)
	// The field's own words come before those of its type.
	s.Description = paragraphs(comment(fd), s.Description, b.note, ruleText(rules.GetCel(), rules.GetCelExpression()))
	s.ReadOnly, s.WriteOnly = b.readOnly, b.writeOnly
	s.Deprecated = s.Deprecated || fd.Options().(*descriptorpb.FieldOptions).GetDeprecated()
	return s
}

// value is the schema of a field's value, or of an element of it.
func (r *route) value(fd protoreflect.FieldDescriptor) *Schema {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return &Schema{Type: Types{"boolean"}}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return &Schema{Type: Types{"integer"}, Format: "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return &Schema{Type: Types{"integer"}, Format: "uint32", Minimum: "0"}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return &Schema{Type: Types{r.int64Type()}, Format: "int64"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return &Schema{Type: Types{r.int64Type()}, Format: "uint64"}
	case protoreflect.FloatKind:
		return &Schema{Type: Types{"number"}, Format: "float"}
	case protoreflect.DoubleKind:
		return &Schema{Type: Types{"number"}, Format: "double"}
	case protoreflect.StringKind:
		return &Schema{Type: Types{"string"}}
	case protoreflect.BytesKind:
		return &Schema{Type: Types{"string"}, Format: "byte", ContentEncoding: "base64"}
	case protoreflect.EnumKind:
		return r.enum(fd.Enum())
	}
	return r.message(fd.Message())
}

// int64Type is what integers of 64 bits are in the route's JSON.
func (r *route) int64Type() string {
	if r.variant.int64Numbers {
		return "integer"
	}
	return "string"
}

func (r *route) enum(ed protoreflect.EnumDescriptor) *Schema {
	if ed.FullName() == "google.protobuf.NullValue" {
		return &Schema{Type: Types{"null"}}
	}
	return r.component(ed, func() *Schema {
		s := &Schema{Title: string(ed.Name()), Type: Types{"string"}, Deprecated: ed.Options().(*descriptorpb.EnumOptions).GetDeprecated()}
		if r.variant.enumNumbers {
			s.Type, s.Format = Types{"integer"}, "int32"
		}
		var lines []string
		seen := map[protoreflect.EnumNumber]bool{}
		for i := range ed.Values().Len() {
			v := ed.Values().Get(i)
			line := "- `" + string(v.Name()) + "`"
			if r.variant.enumNumbers {
				line = "- `" + strconv.Itoa(int(v.Number())) + "` " + string(v.Name())
			}
			if text := comment(v); text != "" {
				line += ": " + strings.Join(strings.Fields(text), " ")
			}
			lines = append(lines, line)
			switch {
			case !r.variant.enumNumbers:
				s.Enum = append(s.Enum, string(v.Name()))
			case !seen[v.Number()]:
				s.Enum = append(s.Enum, int32(v.Number()))
			}
			seen[v.Number()] = true
		}
		s.Description = paragraphs(comment(ed), strings.Join(lines, "\n"))
		return s
	})
}

// mapKey is the schema of a map's keys, which JSON has as strings.
func mapKey(fd protoreflect.FieldDescriptor) *Schema {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return nil
	case protoreflect.BoolKind:
		return &Schema{Enum: []any{"true", "false"}}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return &Schema{Pattern: "^[0-9]+$"}
	}
	return &Schema{Pattern: "^-?[0-9]+$"}
}

// oneofs says of each oneof that a message has at most one of its fields, or just one where a rule asks for that.
func (r *route) oneofs(md protoreflect.MessageDescriptor, without []fieldPath, s *Schema) {
	for i := range md.Oneofs().Len() {
		od := md.Oneofs().Get(i)
		if od.IsSynthetic() {
			continue
		}
		var names []string
		for j := range od.Fields().Len() {
			if _, bound := below(without, od.Fields().Get(j)); !bound {
				names = append(names, r.fieldName(od.Fields().Get(j)))
			}
		}
		s.AllOf = append(s.AllOf, oneOf(names, oneofRequired(od)))
	}
	for _, rule := range messageRules(md).GetOneof() {
		var names []string
		for _, name := range rule.GetFields() {
			fd := md.Fields().ByName(protoreflect.Name(name))
			if fd == nil {
				continue
			}
			if _, bound := below(without, fd); !bound {
				names = append(names, r.fieldName(fd))
			}
		}
		// An answer with unset fields has them all: only a request can be held to this.
		if !r.variant.unpopulated {
			s.AllOf = append(s.AllOf, oneOf(names, rule.GetRequired()))
		}
	}
	s.AllOf = compact(s.AllOf)
}

func oneOf(names []string, required bool) *Schema {
	if len(names) < 2 && !required || len(names) == 0 {
		return nil
	}
	s := &Schema{}
	var none []*Schema
	for _, name := range names {
		one := &Schema{Required: []string{name}}
		s.OneOf = append(s.OneOf, one)
		none = append(none, one)
	}
	if !required {
		s.OneOf = append(s.OneOf, &Schema{Not: &Schema{AnyOf: none}})
	}
	return s
}

func compact(list []*Schema) []*Schema {
	var kept []*Schema
	for _, s := range list {
		if s != nil {
			kept = append(kept, s)
		}
	}
	return kept
}

// nullable is s that takes null too.
func nullable(s *Schema) *Schema {
	switch {
	case s.Ref == "" && len(s.Type) == 0 && s.AnyOf == nil:
		return s // anything, null among it
	case len(s.Type) > 0 && s.Type[len(s.Type)-1] == "null":
		return s
	case s.Ref == "" && s.Const == nil && s.Enum == nil && s.AllOf == nil && s.AnyOf == nil && s.OneOf == nil && s.Not == nil:
		// The other keywords are about values of one type, and say nothing of null.
		s.Type = append(s.Type, "null")
		return s
	}
	return &Schema{AnyOf: []*Schema{s, {Type: Types{"null"}}}}
}
