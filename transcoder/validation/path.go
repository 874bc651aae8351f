package validation

import (
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldPath writes where a violation is as the errors of bad JSON are written: JSON names with dots between them, and in
// brackets the index of an element or the key of a map's value. Of a key that is wrong itself it says so.
func fieldPath(md protoreflect.MessageDescriptor, path *validate.FieldPath, forKey bool) string {
	var b strings.Builder
	for i, e := range path.GetElements() {
		if i > 0 {
			b.WriteByte('.')
		}
		var fd protoreflect.FieldDescriptor
		if md != nil {
			fd = md.Fields().ByNumber(protoreflect.FieldNumber(e.GetFieldNumber()))
		}
		if fd == nil {
			// A rule may name what is no field, such as a oneof.
			b.WriteString(e.GetFieldName())
			md = nil
			continue
		}
		b.WriteString(fd.JSONName())
		writeSubscript(&b, e)
		md = fd.Message()
		if fd.IsMap() {
			md = fd.MapValue().Message()
		}
	}
	if forKey {
		b.WriteString(" (key)")
	}
	return b.String()
}

func writeSubscript(b *strings.Builder, e *validate.FieldPathElement) {
	var text string
	switch e.WhichSubscript() {
	case validate.FieldPathElement_Index_case:
		text = strconv.FormatUint(e.GetIndex(), 10)
	case validate.FieldPathElement_BoolKey_case:
		text = strconv.FormatBool(e.GetBoolKey())
	case validate.FieldPathElement_IntKey_case:
		text = strconv.FormatInt(e.GetIntKey(), 10)
	case validate.FieldPathElement_UintKey_case:
		text = strconv.FormatUint(e.GetUintKey(), 10)
	case validate.FieldPathElement_StringKey_case:
		text = strconv.Quote(e.GetStringKey())
	default:
		return
	}
	b.WriteString("[" + text + "]")
}
