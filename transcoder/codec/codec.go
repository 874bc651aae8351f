package codec

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Options says how messages become JSON. The zero value is the protobuf JSON mapping's defaults:
// JSON names, unpopulated fields omitted, enums by name, unknown fields refused.
type Options struct {
	ProtoNames      bool // field names as in the .proto file
	EmitUnpopulated bool // unset fields are emitted: scalars as their default, lists [], maps {}, messages and others with presence null; oneofs are not
	EnumNumbers     bool // enum values as numbers
	Int64Numbers    bool // integers of 64 bits as numbers, in place of strings; many readers lose digits beyond 2^53
	DiscardUnknown  bool // unknown fields and enum names of JSON input are ignored
	// Resolver finds the message types of google.protobuf.Any and extensions.
	Resolver Resolver
}

// Resolver finds types by name. *dynamicpb.Types and *protoregistry.Types are Resolvers.
type Resolver interface {
	FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error)
	FindMessageByURL(url string) (protoreflect.MessageType, error)
	FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error)
	FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error)
}

// Param is one path or query variable: text for a field of the request message.
type Param struct {
	// Path leads to the field, through singular message fields; the last may be repeated.
	Path []protoreflect.FieldDescriptor
	// Value is the percent-decoded text. A repeated field gets one Param for each element, in order.
	Value string
}

// Request builds the wire bytes of one request message. Implementations are immutable and safe for concurrent use.
type Request interface {
	// AppendWire appends the message that body and params describe to dst. body is the JSON of the field the
	// binding's body names, or of the whole message; an empty body sets nothing. A param replaces what the body says
	// of the same scalar field, and is appended to a repeated one. Each embedded message stands once in the result.
	// Bad input is an *Error.
	AppendWire(dst, body []byte, params []Param) ([]byte, error)
}

// Response prints the wire bytes of one response message as JSON. Implementations are immutable and safe for concurrent use.
type Response interface {
	// AppendJSON appends the JSON of wire, or of the field that the binding's response_body names, to dst.
	// Malformed wire bytes are an error that is the backend's fault.
	AppendJSON(dst, wire []byte) ([]byte, error)
}

// Codec compiles requests and responses. body and responseBody are as in google.api.HttpRule:
// "*" or a field name, empty for none (body) or for the whole message (responseBody).
type Codec interface {
	CompileRequest(md protoreflect.MessageDescriptor, body string, o Options) (Request, error)
	CompileResponse(md protoreflect.MessageDescriptor, responseBody string, o Options) (Response, error)
}

// Error is bad input from a client: which field, and what was expected.
type Error struct {
	// Field is the path of the field, dotted, in JSON names; empty when the input as a whole is wrong.
	Field string
	// Reason is what was wrong and what was expected.
	Reason string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// resolver returns o.Resolver, or the types linked into the program.
func (o *Options) resolver() Resolver {
	if o.Resolver == nil {
		return protoregistry.GlobalTypes
	}
	return o.Resolver
}
