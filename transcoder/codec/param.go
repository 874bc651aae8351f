package codec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// CheckParam says why no parameter can be for the field fd; nil when one can. Scalars and enums have a text form, and so
// have the well-known types that JSON writes as one scalar, and google.protobuf.Struct, Value and ListValue as JSON.
func CheckParam(fd protoreflect.FieldDescriptor) error {
	switch {
	case fd.IsMap():
		return errors.New("is a map, which no parameter can be for")
	case fd.Message() == nil || hasText(fd.Message().FullName()):
		return nil
	case fd.IsList():
		return errors.New("is a repeated message, which no parameter can be for")
	}
	return errors.New("is a message: name one of its fields, as in " + fd.JSONName() + ".field")
}

func hasText(name protoreflect.FullName) bool {
	return name.Parent() == "google.protobuf" && slices.Contains(textual, name.Name())
}

var textual = []protoreflect.Name{
	"Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Empty",
	"DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue",
}

// ParseParam returns what text stands for in the scalar or enum field fd, or in an element of it. Its error says what
// was expected.
func ParseParam(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	var none protoreflect.Value
	switch fd.Kind() {
	case protoreflect.BoolKind:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return none, expected("true or false", text)
		}
		return protoreflect.ValueOfBool(v), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return none, expected("a whole number of 32 bits", text)
		}
		return protoreflect.ValueOfInt32(int32(v)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return none, expected("a whole number of 64 bits", text)
		}
		return protoreflect.ValueOfInt64(v), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return none, expected("a whole number of 32 bits, not negative", text)
		}
		return protoreflect.ValueOfUint32(uint32(v)), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return none, expected("a whole number of 64 bits, not negative", text)
		}
		return protoreflect.ValueOfUint64(v), nil
	case protoreflect.FloatKind:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil || notDecimal(text) {
			return none, expected("a number of 32 bits", text)
		}
		return protoreflect.ValueOfFloat32(float32(v)), nil
	case protoreflect.DoubleKind:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || notDecimal(text) {
			return none, expected("a number of 64 bits", text)
		}
		return protoreflect.ValueOfFloat64(v), nil
	case protoreflect.StringKind:
		if !utf8.ValidString(text) {
			return none, expected("valid UTF-8", text)
		}
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BytesKind:
		v, err := parseBase64(text)
		if err != nil {
			return none, expected("base64", text)
		}
		return protoreflect.ValueOfBytes(v), nil
	case protoreflect.EnumKind:
		return parseEnum(fd.Enum(), text)
	}
	return none, fmt.Errorf("no parameter can be for a field of kind %v", fd.Kind())
}

// notDecimal reports the spellings of numbers that Go has and nobody expects in a URL: hexadecimal and underscores.
func notDecimal(s string) bool { return strings.ContainsAny(s, "xX_") }

// parseBase64 takes both alphabets, padded or not, as the protobuf JSON mapping does.
func parseBase64(text string) ([]byte, error) {
	enc := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	return enc.DecodeString(text)
}

// parseEnum takes the name or the number of a value that the enum has.
func parseEnum(ed protoreflect.EnumDescriptor, text string) (protoreflect.Value, error) {
	values := ed.Values()
	v := values.ByName(protoreflect.Name(text))
	if v == nil {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			v = values.ByNumber(protoreflect.EnumNumber(n))
		}
	}
	if v == nil {
		return protoreflect.Value{}, expected("a value of the enum "+string(ed.FullName()), text)
	}
	return protoreflect.ValueOfEnum(v.Number()), nil
}

// AppendParam appends the wire bytes of the message md that text stands for. md is a well-known type of which
// CheckParam reports nil. Its error says what was expected.
func AppendParam(dst []byte, md protoreflect.MessageDescriptor, text string) ([]byte, error) {
	m, err := parseMessage(md, text)
	if err != nil {
		return dst, err
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

func parseMessage(md protoreflect.MessageDescriptor, text string) (proto.Message, error) {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		t, err := time.Parse(time.RFC3339Nano, text)
		if m := timestamppb.New(t); err == nil && m.IsValid() {
			return m, nil
		}
		return nil, expected("a time as in RFC 3339, such as 2026-01-02T03:04:05Z", text)
	case "google.protobuf.Duration":
		return parseDuration(text)
	case "google.protobuf.FieldMask":
		return parseFieldMask(text)
	case "google.protobuf.StringValue":
		if !utf8.ValidString(text) {
			return nil, expected("valid UTF-8", text)
		}
		return wrapperspb.String(text), nil
	case "google.protobuf.Empty":
		if text != "" && text != "{}" {
			return nil, expected("nothing or {}", text)
		}
		return dynamicpb.NewMessage(md), nil
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue":
		m := dynamicpb.NewMessage(md)
		if protojson.Unmarshal([]byte(text), m) != nil {
			return nil, expected("JSON for a "+string(md.FullName()), text)
		}
		return m, nil
	}
	// The wrappers: one field, number 1.
	m := dynamicpb.NewMessage(md)
	fd := md.Fields().ByNumber(1)
	if fd == nil || fd.Message() != nil || fd.Cardinality() == protoreflect.Repeated {
		return nil, fmt.Errorf("%s is not the well-known type of that name", md.FullName())
	}
	v, err := ParseParam(fd, text)
	if err != nil {
		return nil, err
	}
	m.Set(fd, v)
	return m, nil
}

// parseDuration takes seconds ("1.5s", exact over the whole range of google.protobuf.Duration) and Go's form ("1m30s").
func parseDuration(text string) (proto.Message, error) {
	d := new(durationpb.Duration)
	if protojson.Unmarshal(strconv.AppendQuote(nil, text), d) == nil {
		return d, nil
	}
	if g, err := time.ParseDuration(text); err == nil && g != math.MinInt64 {
		return durationpb.New(g), nil
	}
	return nil, expected("seconds with s, such as 1.5s", text)
}

// parseFieldMask takes paths in lowerCamelCase, as the JSON mapping has them, or in the names of the .proto file.
func parseFieldMask(text string) (proto.Message, error) {
	m := new(fieldmaskpb.FieldMask)
	if text == "" {
		return m, nil
	}
	for path := range strings.SplitSeq(text, ",") {
		if path == "" || !utf8.ValidString(path) {
			return nil, expected("field paths separated by commas", text)
		}
		m.Paths = append(m.Paths, snakeCase(path))
	}
	return m, nil
}

func snakeCase(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c + 'a' - 'A')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// maxEcho bounds how much of a bad value an error repeats.
const maxEcho = 64

func expected(what, got string) error {
	return fmt.Errorf("expected %s, got %q", what, shorten(got))
}

func shorten(s string) string { return cut(s, maxEcho) }

func cut(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// set gives the field that p names its value in m, in place of what the field had; a repeated field gets one more.
func (p *Param) set(m protoreflect.Message) error {
	last := len(p.Path) - 1
	for _, fd := range p.Path[:last] {
		m = m.Mutable(fd).Message()
	}
	if err := setField(m, p.Path[last], p.Value); err != nil {
		return &Error{Field: p.field(), Reason: err.Error()}
	}
	return nil
}

func setField(m protoreflect.Message, fd protoreflect.FieldDescriptor, text string) error {
	if err := CheckParam(fd); err != nil {
		return err
	}
	var v protoreflect.Value
	var err error
	if md := fd.Message(); md == nil {
		v, err = ParseParam(fd, text)
	} else {
		if fd.IsList() {
			v = m.Mutable(fd).List().NewElement()
		} else {
			v = m.NewField(fd)
		}
		var wire []byte
		if wire, err = AppendParam(nil, md, text); err == nil {
			err = proto.Unmarshal(wire, v.Message().Interface())
		}
	}
	if err != nil {
		return err
	}
	if fd.IsList() {
		m.Mutable(fd).List().Append(v)
	} else {
		m.Set(fd, v)
	}
	return nil
}

// field is the dotted path in JSON names.
func (p *Param) field() string {
	if len(p.Path) == 1 {
		return p.Path[0].JSONName()
	}
	names := make([]string, len(p.Path))
	for i, fd := range p.Path {
		names[i] = fd.JSONName()
	}
	return strings.Join(names, ".")
}
