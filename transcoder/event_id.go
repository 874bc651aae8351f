package transcoder

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// eventID is the field of a message that is the id of its event, read from wire bytes.
type eventID struct{ path fieldPath }

// compileEventID finds the field, a string or a whole number; nil where name is empty or the message has no such field,
// as another method's may have it.
func compileEventID(md protoreflect.MessageDescriptor, name string) (*eventID, error) {
	if name == "" {
		return nil, nil
	}
	path, err := ResolvePath(md, name)
	var none *errNoParam
	if errors.As(err, &none) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("event_id: %w", err)
	}
	last := path[len(path)-1]
	switch last.Kind() {
	case protoreflect.BoolKind, protoreflect.FloatKind, protoreflect.DoubleKind, protoreflect.BytesKind,
		protoreflect.MessageKind, protoreflect.GroupKind:
	default:
		if !last.IsList() {
			return &eventID{path}, nil
		}
	}
	return nil, fmt.Errorf("event_id: %s is no string and no whole number", last.FullName())
}

// append appends the id: nothing where the field is an empty string, or one that would break its line.
func (e *eventID) append(dst, wire []byte) []byte {
	for _, fd := range e.path[:len(e.path)-1] {
		_, _, wire = lastField(wire, fd.Number())
	}
	last := e.path[len(e.path)-1]
	kind, number, text := lastField(wire, last.Number())
	switch last.Kind() {
	case protoreflect.StringKind:
		if kind == protowire.BytesType && isLine(text) {
			dst = append(dst, text...)
		}
		return dst
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return strconv.AppendInt(dst, protowire.DecodeZigZag(number), 10)
	case protoreflect.Sfixed32Kind:
		return strconv.AppendInt(dst, int64(int32(number)), 10)
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.EnumKind, protoreflect.Sfixed64Kind:
		return strconv.AppendInt(dst, int64(number), 10)
	}
	return strconv.AppendUint(dst, number, 10)
}

// lastField returns the value of a field's last occurrence, which is the one that counts.
func lastField(wire []byte, want protowire.Number) (kind protowire.Type, number uint64, text []byte) {
	kind = -1
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return
		}
		wire = wire[n:]
		size := protowire.ConsumeFieldValue(num, typ, wire)
		if size < 0 {
			return
		}
		if num == want {
			kind = typ
			switch typ {
			case protowire.VarintType:
				number, _ = protowire.ConsumeVarint(wire)
			case protowire.Fixed32Type:
				v, _ := protowire.ConsumeFixed32(wire)
				number = uint64(v)
			case protowire.Fixed64Type:
				number, _ = protowire.ConsumeFixed64(wire)
			case protowire.BytesType:
				text, _ = protowire.ConsumeBytes(wire)
			}
		}
		wire = wire[size:]
	}
	return
}

// isLine reports whether text can be an id (HTML standard, section 9.2.6: one with NULL is ignored).
func isLine(text []byte) bool {
	for _, c := range text {
		if c == '\n' || c == '\r' || c == 0 {
			return false
		}
	}
	return true
}
