package validation

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/fault"
)

// Rules are the rules of one message type. They are immutable and safe for concurrent use. Nil Rules take any message.
type Rules struct {
	message   protoreflect.MessageDescriptor
	validator protovalidate.Validator
	unmarshal proto.UnmarshalOptions
}

const (
	// thorough is up to which weight all of a message's violations are looked for, each of which takes memory; in a
	// heavier one the first is enough.
	thorough = 4 << 10
	// maxViolations is how many an error lists: over gRPC it has to fit into headers, for which many clients have 8 KiB.
	maxViolations = 20
)

// Check returns a *fault.Error for a message on the wire that breaks its rules, or is none.
func (r *Rules) Check(wire []byte) error {
	if r == nil {
		return nil
	}
	weight, err := weigh(wire, r.message)
	if err != nil {
		return err
	}
	m := dynamicpb.NewMessage(r.message)
	if err := r.build(m, wire); err != nil {
		return fault.Errorf(fault.InvalidRequest, "the message is no %s", r.message.FullName())
	}
	if weight > thorough {
		err = r.validator.Validate(m, protovalidate.WithFailFast())
	} else {
		err = r.validator.Validate(m)
	}
	if err == nil {
		return nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok || len(broken.Violations) == 0 {
		// The rule does not fit the value: there is no such key, or nothing may be divided by it.
		return &fault.Error{Reason: fault.Internal, Message: fmt.Sprintf("a rule of %s cannot be evaluated", r.message.FullName()), Cause: err}
	}
	return r.refuse(broken.Violations)
}

// build reads wire into m. proto.Unmarshal panics where a map entry of a dynamic message has a key and then a key of another
// wire type, which anybody may send.
func (r *Rules) build(m *dynamicpb.Message, wire []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errWire
		}
	}()
	return r.unmarshal.Unmarshal(wire, m)
}

func (r *Rules) refuse(violations []*protovalidate.Violation) error {
	bad := &errdetails.BadRequest{}
	for _, v := range violations[:min(len(violations), maxViolations)] {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field:       fieldPath(r.message, v.Proto.GetField(), v.Proto.GetForKey()),
			Description: describe(v),
			Reason:      reason(v.Proto.GetRuleId()),
		})
	}
	first := bad.FieldViolations[0]
	text := first.GetDescription()
	if first.GetField() != "" {
		text = first.GetField() + ": " + text
	}
	if more := len(violations) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return fault.New(fault.ValidationFailed, text, bad)
}

// maxDescription bounds texts that rules make of values.
const maxDescription = 300

// describe says what was expected, and by which rule.
func describe(v *protovalidate.Violation) string {
	id, text := v.Proto.GetRuleId(), v.Proto.GetMessage()
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "…"
	}
	switch {
	case id == "":
		return text
	case text == "":
		return "breaks the rule " + id
	}
	return text + " [" + id + "]"
}

// reason is a rule's id in the form that google.rpc.BadRequest has for constants: at most 63 of A-Z, 0-9 and _.
func reason(id string) string {
	upper := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, id)
	return strings.Trim(upper[:min(len(upper), 63)], "_")
}
