package codec

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (b *build) field(fd protoreflect.FieldDescriptor) *field {
	f := &field{num: fd.Number(), kind: kindOf(fd), oneof: -1, oneofSlot: -1, setSlot: -1, index: -1, desc: fd, presence: fd.HasPresence(), utf8: enforcesUTF8(fd)}
	f.quoted = !b.c.options.Int64Numbers && integers64>>f.kind&1 != 0
	switch {
	case fd.IsMap():
		f.card = mapping
		f.mapK, f.mapV = b.field(fd.MapKey()), b.field(fd.MapValue())
		f.mapK.presence, f.mapV.presence = true, true
		f.mapK.quoted = false // appendKey quotes every key
	case fd.IsList():
		f.card = list
		f.presence = true // of an element
	}
	if f.kind >= kindMessage && f.card != mapping {
		f.msg = b.message(fd.Message())
	}
	if f.kind == kindEnum || f.kind == kindNull {
		f.enum = b.enum(fd.Enum())
	}
	f.nullable = f.kind != kindNull && (fd.Message() == nil || fd.Message().FullName() != "google.protobuf.Value")
	wt := wireTypes[f.kind]
	f.tag = protowire.EncodeTag(f.num, wt)
	f.tagBytes = protowire.AppendVarint(nil, f.tag)
	if f.card == list && wt != protowire.BytesType && wt != protowire.StartGroupType {
		f.packedTag = protowire.EncodeTag(f.num, protowire.BytesType)
		f.packed = fd.IsPacked()
		if f.packed {
			f.tagBytes = protowire.AppendVarint(nil, f.packedTag)
		}
	}
	if f.kind == kindGroup {
		f.endTag = protowire.AppendTag(nil, f.num, protowire.EndGroupType)
	}
	return f
}

var wireTypes = [...]protowire.Type{
	kindBool: protowire.VarintType, kindInt32: protowire.VarintType, kindSint32: protowire.VarintType,
	kindUint32: protowire.VarintType, kindInt64: protowire.VarintType, kindSint64: protowire.VarintType,
	kindUint64: protowire.VarintType, kindEnum: protowire.VarintType, kindNull: protowire.VarintType,
	kindSfixed32: protowire.Fixed32Type, kindFixed32: protowire.Fixed32Type, kindFloat: protowire.Fixed32Type,
	kindSfixed64: protowire.Fixed64Type, kindFixed64: protowire.Fixed64Type, kindDouble: protowire.Fixed64Type,
	kindString: protowire.BytesType, kindBytes: protowire.BytesType, kindMessage: protowire.BytesType,
	kindGroup: protowire.StartGroupType,
}

// integers64 are the kinds of integers of 64 bits, which the JSON mapping makes strings.
const integers64 = 1<<kindInt64 | 1<<kindSint64 | 1<<kindUint64 | 1<<kindSfixed64 | 1<<kindFixed64

func kindOf(fd protoreflect.FieldDescriptor) kind {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return kindBool
	case protoreflect.Int32Kind:
		return kindInt32
	case protoreflect.Sint32Kind:
		return kindSint32
	case protoreflect.Uint32Kind:
		return kindUint32
	case protoreflect.Int64Kind:
		return kindInt64
	case protoreflect.Sint64Kind:
		return kindSint64
	case protoreflect.Uint64Kind:
		return kindUint64
	case protoreflect.Sfixed32Kind:
		return kindSfixed32
	case protoreflect.Fixed32Kind:
		return kindFixed32
	case protoreflect.FloatKind:
		return kindFloat
	case protoreflect.Sfixed64Kind:
		return kindSfixed64
	case protoreflect.Fixed64Kind:
		return kindFixed64
	case protoreflect.DoubleKind:
		return kindDouble
	case protoreflect.StringKind:
		return kindString
	case protoreflect.BytesKind:
		return kindBytes
	case protoreflect.EnumKind:
		if fd.Enum().FullName() == "google.protobuf.NullValue" {
			return kindNull
		}
		return kindEnum
	case protoreflect.GroupKind:
		return kindGroup
	default:
		return kindMessage
	}
}

// enforcesUTF8 is what the protobuf module decides by for strings on the wire.
func enforcesUTF8(fd protoreflect.FieldDescriptor) bool {
	if fd.Kind() != protoreflect.StringKind {
		return false
	}
	if fd.Syntax() == protoreflect.Editions {
		if fd, ok := fd.(interface{ EnforceUTF8() bool }); ok {
			return fd.EnforceUTF8()
		}
	}
	return fd.Syntax() == protoreflect.Proto3
}
