package validation

import (
	"errors"
	"fmt"
	"slices"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// Compiler compiles the rules of the message types of one source. It is not safe for concurrent use; what it returns is.
type Compiler struct {
	types     codec.Resolver
	inputs    []protoreflect.MessageDescriptor
	validator protovalidate.Validator // nil until a type has rules
	compiled  map[protoreflect.MessageDescriptor]*Rules
}

// NewCompiler returns a compiler that looks for predefined rules, which are extensions, in types. What Compile may be asked
// for should be among inputs: it is built all at once then.
func NewCompiler(types codec.Resolver, inputs []protoreflect.MessageDescriptor) *Compiler {
	return &Compiler{types: types, inputs: inputs, compiled: map[protoreflect.MessageDescriptor]*Rules{}}
}

// Compile returns the rules of a message type, nil when neither it nor a type of its fields has any. The error names the
// message and the field whose rule is broken.
func (c *Compiler) Compile(md protoreflect.MessageDescriptor) (*Rules, error) {
	if r, done := c.compiled[md]; done {
		return r, nil
	}
	reached := reach(md)
	if !slices.ContainsFunc(reached, hasRules) {
		c.compiled[md] = nil
		return nil, nil
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	for _, m := range reached {
		if err := c.probe(m); err != nil {
			return nil, err
		}
	}
	r := &Rules{
		message:   md,
		validator: c.validator,
		// Extensions have no rules, and are not weighed.
		unmarshal: proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true, Resolver: new(protoregistry.Types), RecursionLimit: maxDepth},
	}
	c.compiled[md] = r
	return r, nil
}

// open makes the validator, with the rules of all inputs that have any.
func (c *Compiler) open() error {
	if c.validator != nil {
		return nil
	}
	var ruled []protoreflect.MessageDescriptor
	for _, md := range c.inputs {
		if slices.ContainsFunc(reach(md), hasRules) {
			ruled = append(ruled, md)
		}
	}
	var err error
	c.validator, err = protovalidate.New(protovalidate.WithExtensionTypeResolver(c.types), protovalidate.WithMessageDescriptors(ruled...))
	if err != nil {
		return fmt.Errorf("validation: %w", err)
	}
	return nil
}

// reach returns the message types that md leads to, each after those of its fields, so that a broken rule is found where
// it stands and not where it is used.
func reach(md protoreflect.MessageDescriptor) []protoreflect.MessageDescriptor {
	var list []protoreflect.MessageDescriptor
	seen := map[protoreflect.MessageDescriptor]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(md protoreflect.MessageDescriptor) {
		if seen[md] {
			return
		}
		seen[md] = true
		for i := range md.Fields().Len() {
			if of := md.Fields().Get(i).Message(); of != nil {
				visit(of)
			}
		}
		list = append(list, md)
	}
	visit(md)
	return list
}

func hasRules(md protoreflect.MessageDescriptor) bool {
	if proto.HasExtension(md.Options(), validate.E_Message) {
		return true
	}
	for i := range md.Oneofs().Len() {
		if proto.HasExtension(md.Oneofs().Get(i).Options(), validate.E_Oneof) {
			return true
		}
	}
	for i := range md.Fields().Len() {
		if proto.HasExtension(md.Fields().Get(i).Options(), validate.E_Field) {
			return true
		}
	}
	return false
}

// probe has every rule of a type compiled, and says which is broken: a validator keeps that for when it meets one. An
// empty message asks for all of them, and the filter for one at a time.
func (c *Compiler) probe(md protoreflect.MessageDescriptor) error {
	empty := dynamicpb.NewMessage(md)
	ask := func(of protoreflect.Descriptor) error {
		only := protovalidate.FilterFunc(func(_ protoreflect.Message, d protoreflect.Descriptor) bool { return d == of })
		broken, isBroken := errors.AsType[*protovalidate.CompilationError](c.validator.Validate(empty, protovalidate.WithFilter(only)))
		if isBroken {
			return broken.Unwrap()
		}
		return nil
	}
	if err := ask(md); err != nil {
		return fmt.Errorf("validation: message %s: broken rule: %w", md.FullName(), err)
	}
	for i := range md.Oneofs().Len() {
		if o := md.Oneofs().Get(i); ask(o) != nil {
			return fmt.Errorf("validation: message %s, oneof %s: broken rule: %w", md.FullName(), o.Name(), ask(o))
		}
	}
	for i := range md.Fields().Len() {
		if f := md.Fields().Get(i); ask(f) != nil {
			return fmt.Errorf("validation: message %s, field %s: broken rule: %w", md.FullName(), f.Name(), ask(f))
		}
	}
	return nil
}
