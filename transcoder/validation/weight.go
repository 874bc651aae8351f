package validation

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/fault"
)

const (
	// maxWeight bounds what a message may hold to be checked. To check it is to build it, and then an embedded message of
	// two bytes takes hundreds and a packed bool of one byte takes 24: so many of them take some 30 MB.
	maxWeight = 1 << 20
	// messageWeight is what an embedded message or a map entry weighs; another value weighs 1.
	messageWeight = 16
	// maxDepth is how deep messages may be nested; decoders in other languages stop there.
	maxDepth = 100
)

var (
	errHeavy = fault.New(fault.MessageTooLarge, "the message holds too much to be checked: 65,536 embedded messages or 1,048,576 values at the most")
	errWire  = fault.New(fault.InvalidRequest, "the message is no valid protobuf")
)

// weigh returns what a message on the wire would weigh once it is built.
func weigh(wire []byte, md protoreflect.MessageDescriptor) (int, error) {
	s := scale{left: maxWeight}
	if err := s.message(wire, md, maxDepth); err != nil {
		return 0, err
	}
	return maxWeight - s.left, nil
}

type scale struct{ left int }

func (s *scale) put(weight int) error {
	if s.left -= weight; s.left < 0 {
		return errHeavy
	}
	return nil
}

func (s *scale) message(b []byte, md protoreflect.MessageDescriptor, depth int) error {
	if depth == 0 {
		return errWire
	}
	fields := md.Fields()
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return errWire
		}
		value := b[:n]
		b = b[n:]
		fd := fields.ByNumber(number)
		if fd == nil {
			continue // is not kept
		}
		if err := s.value(value, kind, fd, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *scale) value(value []byte, kind protowire.Type, fd protoreflect.FieldDescriptor, depth int) error {
	switch {
	case kind == protowire.BytesType && fd.Kind() == protoreflect.MessageKind:
		value, _ = protowire.ConsumeBytes(value)
	case kind == protowire.StartGroupType && fd.Kind() == protoreflect.GroupKind:
		value, _ = protowire.ConsumeGroup(fd.Number(), value)
	case kind == protowire.BytesType && fd.IsList():
		packed, _ := protowire.ConsumeBytes(value)
		return s.put(elements(packed, fd.Kind()))
	default:
		return s.put(1)
	}
	if err := s.put(messageWeight); err != nil {
		return err
	}
	return s.message(value, fd.Message(), depth-1)
}

// elements returns how many values a packed field holds; text and bytes cannot be packed, and are one.
func elements(packed []byte, kind protoreflect.Kind) int {
	switch kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return 1
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return len(packed) / 4
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return len(packed) / 8
	}
	n := 0
	for _, c := range packed {
		if c < 0x80 {
			n++
		}
	}
	return n
}
