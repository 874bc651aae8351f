package openapi

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// behavior is what google.api.field_behavior says of a field.
type behavior struct {
	required, readOnly, writeOnly, identifier bool

	note string // what JSON Schema has no keyword for
}

func behaviorOf(fd protoreflect.FieldDescriptor) behavior {
	list, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	var b behavior
	var notes []string
	for _, one := range list {
		switch one {
		case annotations.FieldBehavior_REQUIRED:
			b.required = true
		case annotations.FieldBehavior_OUTPUT_ONLY:
			b.readOnly = true
		case annotations.FieldBehavior_INPUT_ONLY:
			b.writeOnly = true
		case annotations.FieldBehavior_IMMUTABLE:
			notes = append(notes, "Immutable: set when the resource is created.")
		case annotations.FieldBehavior_IDENTIFIER:
			b.identifier = true
			notes = append(notes, "The resource's name.")
		case annotations.FieldBehavior_UNORDERED_LIST:
			notes = append(notes, "In no particular order.")
		}
	}
	b.note = strings.Join(notes, " ")
	return b
}

// required reports whether a message must have the field: by its behavior, its buf.validate rules or, in proto2, its
// label.
func required(fd protoreflect.FieldDescriptor) bool {
	return fd.Cardinality() == protoreflect.Required || behaviorOf(fd).required || fieldRules(fd).GetRequired()
}

// requires reports whether a message has fields it must have.
func requires(md protoreflect.MessageDescriptor, without []fieldPath) bool {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if required(fd) && !slices.ContainsFunc(without, func(p fieldPath) bool { return len(p) == 1 && p[0] == fd }) {
			return true
		}
	}
	return false
}
