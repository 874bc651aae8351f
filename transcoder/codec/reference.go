package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Reference is the codec that others are measured against: messages of dynamicpb, JSON by protojson.
var Reference Codec = reference{}

type reference struct{}

func (reference) CompileRequest(md protoreflect.MessageDescriptor, body string, o Options) (Request, error) {
	r := &referenceRequest{
		md:      md,
		whole:   body == "*",
		options: protojson.UnmarshalOptions{AllowPartial: true, DiscardUnknown: o.DiscardUnknown, Resolver: o.resolver()},
	}
	if body != "" && !r.whole {
		fd := md.Fields().ByName(protoreflect.Name(body))
		if fd == nil {
			return nil, fmt.Errorf("body: %s has no field %q", md.FullName(), body)
		}
		r.field = fd.JSONName()
		r.before = []byte(`{"` + r.field + `":`)
	}
	return r, nil
}

type referenceRequest struct {
	md      protoreflect.MessageDescriptor
	whole   bool   // the body is the message
	field   string // the field that the body is
	before  []byte // what makes an object of the whole message out of the field's JSON
	options protojson.UnmarshalOptions
}

func (r *referenceRequest) AppendWire(dst, body []byte, params []Param) ([]byte, error) {
	m := dynamicpb.NewMessage(r.md)
	if len(bytes.TrimSpace(body)) > 0 {
		if err := r.readBody(m, body); err != nil {
			return dst, err
		}
	}
	for i := range params {
		if err := params[i].set(m); err != nil {
			return dst, err
		}
	}
	if err := proto.CheckInitialized(m); err != nil {
		return dst, &Error{Reason: plainText(err)}
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst, &Error{Reason: plainText(err)}
	}
	return out, nil
}

func (r *referenceRequest) readBody(m proto.Message, body []byte) error {
	skip := 0
	switch {
	case r.whole:
	case r.before != nil:
		// Checked first, so that the field's JSON cannot add others.
		if err := checkValue(body); err != nil {
			return &Error{Field: r.field, Reason: "not valid JSON: " + err.Error()}
		}
		body = append(append(bytes.Clone(r.before), body...), '}')
		skip = len(r.before)
	default:
		return nil
	}
	if err := r.options.Unmarshal(body, m); err != nil {
		return bodyError(err, body, skip)
	}
	return nil
}

// bareExponent finds an exponent without digits, outside strings.
var bareExponent = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[0-9][eE][+-]?[\s,\]}]`)

// checkValue reports what keeps text from being one JSON value as protojson reads it, which takes exponents without digits.
func checkValue(text []byte) error {
	err := json.Unmarshal(text, new(json.RawMessage))
	if err == nil || !strings.HasSuffix(err.Error(), "in exponent of numeric literal") {
		return err
	}
	return json.Unmarshal(bareExponent.ReplaceAllFunc(text, func(found []byte) []byte {
		if found[0] == '"' {
			return found
		}
		return slices.Insert(bytes.Clone(found), len(found)-1, '0')
	}), new(json.RawMessage))
}

func (reference) CompileResponse(md protoreflect.MessageDescriptor, responseBody string, o Options) (Response, error) {
	r := &referenceResponse{
		md:        md,
		bare:      o.Int64Numbers,
		unmarshal: proto.UnmarshalOptions{AllowPartial: true, Resolver: o.resolver()},
		options: protojson.MarshalOptions{
			AllowPartial:    true,
			UseProtoNames:   o.ProtoNames,
			UseEnumNumbers:  o.EnumNumbers,
			EmitUnpopulated: o.EmitUnpopulated,
			Resolver:        o.resolver(),
		},
	}
	if responseBody != "" {
		if r.field = md.Fields().ByName(protoreflect.Name(responseBody)); r.field == nil {
			return nil, fmt.Errorf("response_body: %s has no field %q", md.FullName(), responseBody)
		}
	}
	return r, nil
}

type referenceResponse struct {
	md        protoreflect.MessageDescriptor
	field     protoreflect.FieldDescriptor // nil for the whole message
	bare      bool                         // integers of 64 bits are numbers
	unmarshal proto.UnmarshalOptions
	options   protojson.MarshalOptions
}

// errPanic stands for a panic of proto.Unmarshal, which it has for a message of dynamicpb whose map entry has a key and then
// a key of another wire type; an Any may hold such a message too.
var errPanic = errors.New("the backend's answer has a map entry with keys of two types")

func (r *referenceResponse) AppendJSON(dst, wire []byte) (out []byte, err error) {
	defer func() {
		if recover() != nil {
			out, err = dst, errPanic
		}
	}()
	m := dynamicpb.NewMessage(r.md)
	if err := r.unmarshal.Unmarshal(wire, m); err != nil {
		return dst, fmt.Errorf("the backend's answer is no %s: %s", r.md.FullName(), plainText(err))
	}
	if r.field != nil {
		out, err = r.appendField(dst, m)
	} else {
		out, err = r.append(dst, m)
	}
	if err != nil {
		return dst, fmt.Errorf("the backend's answer has no JSON form: %s", plainText(err))
	}
	return out, nil
}

func (r *referenceResponse) append(dst []byte, m proto.Message) ([]byte, error) {
	if !spaced && !r.bare {
		return r.options.MarshalAppend(dst, m)
	}
	text, err := r.marshal(r.options, m)
	if err != nil {
		return dst, err
	}
	return appendCompact(dst, text)
}

func (r *referenceResponse) marshal(o protojson.MarshalOptions, m proto.Message) ([]byte, error) {
	text, err := o.Marshal(m)
	if err != nil || !r.bare {
		return text, err
	}
	return bareInt64(nil, text, m.ProtoReflect().Descriptor(), o.Resolver)
}

// spaced says that protojson puts spaces into its output, which it decides once for each build of a program.
var spaced = func() bool {
	text, err := protojson.Marshal(&descriptorpb.FileDescriptorProto{Name: proto.String("a"), Package: proto.String("b")})
	return err != nil || bytes.IndexByte(text, ' ') >= 0
}()

func appendCompact(dst, text []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	if err := json.Compact(out, text); err != nil {
		return dst, err
	}
	return out.Bytes(), nil
}

// appendField prints one field: a message as itself, and one that is not set as an empty one, as grpc-gateway does;
// anything else as it stands in the JSON of a message that has nothing but it.
func (r *referenceResponse) appendField(dst []byte, m protoreflect.Message) ([]byte, error) {
	fd, has := r.field, m.Has(r.field)
	options := r.options
	switch {
	case fd.IsList() && !has:
		return append(dst, "[]"...), nil
	case fd.IsMap() && !has:
		return append(dst, "{}"...), nil
	case fd.Message() != nil && !fd.IsList() && !fd.IsMap():
		if !has && fd.Message().FullName() == "google.protobuf.Value" {
			return append(dst, "null"...), nil
		}
		return r.append(dst, m.Get(fd).Message().Interface())
	case !has && fd.HasPresence():
		return append(dst, "null"...), nil
	case !has:
		options.EmitUnpopulated = true
	}
	only := dynamicpb.NewMessage(r.md)
	if has {
		only.Set(fd, m.Get(fd))
	}
	text, err := r.marshal(options, only)
	if err != nil {
		return dst, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return dst, err
	}
	name := fd.JSONName()
	if options.UseProtoNames {
		name = fd.TextName()
	}
	return appendCompact(dst, fields[name])
}
