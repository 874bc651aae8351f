package codec

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Program turns the JSON of one message type into wire bytes and back, without building a message. It is immutable and
// safe for concurrent use. A [Compiler] makes programs.
type Program struct {
	c    *Compiler
	name protoreflect.FullName
	form form

	fields []*field // in order of their numbers
	dense  []*field // by number, for small numbers; nil where there is none
	sparse map[protowire.Number]*field
	byName table // JSON names and proto names; the index is into fields
	first  *field
	slots  int                      // of a seenSet
	oneofs int                      // oneofs of two or more members
	ranges protoreflect.FieldRanges // extension ranges, nil for none

	required []*field
	// unset is the JSON of all fields that are printed although they are not set, each with its comma and name;
	// unsetAt[i] is where in it the text of fields[i:] begins.
	unset   []byte
	unsetAt []int
}

// form is how a message looks in JSON: an object of its fields, or what a well-known type has instead.
type form uint8

const (
	formObject form = iota
	formMessageSet
	formAny
	formTimestamp
	formDuration
	formFieldMask
	formWrapper
	formStruct
	formListValue
	formValue
	formEmpty
)

// custom reports whether the JSON mapping has a form of its own for the type, which google.protobuf.Any then puts under "value".
func (f form) custom() bool { return f >= formAny }

// kind is how one value is written on the wire and in JSON.
type kind uint8

const (
	kindBool kind = iota
	kindInt32
	kindSint32
	kindUint32
	kindInt64
	kindSint64
	kindUint64
	kindSfixed32
	kindFixed32
	kindFloat
	kindSfixed64
	kindFixed64
	kindDouble
	kindString
	kindBytes
	kindEnum
	kindNull // the enum google.protobuf.NullValue
	kindMessage
	kindGroup
)

type cardinality uint8

const (
	singular cardinality = iota
	list
	mapping
)

// field is what a program knows of one field, an extension, or the key or value of a map.
type field struct {
	num    protowire.Number
	kind   kind
	card   cardinality
	packed bool // JSON becomes a packed list

	presence bool // a value that equals the default is still there
	nullable bool // JSON null means that the field is not set
	quoted   bool // an integer of 64 bits, which is a string in JSON
	utf8     bool // the wire may not hold invalid UTF-8 even where the value is not printed

	tag       uint64 // as a number; of one element of a list
	packedTag uint64 // of a packed list, 0 when the elements cannot be packed
	tagBytes  []byte // what is written before a value
	endTag    []byte // what ends a group

	index     int // in Program.fields; for an extension -1
	slot      int // of the field among what is seen in a message
	oneof     int // number of the oneof among those of the message that have two or more members, -1 for none
	oneofSlot int // of its oneof; -1 for none
	setSlot   int // of a required field having a value; -1 for others
	group     int // index of the first member of the oneof, or the field's own

	key    string // the name with its closing quote, as most JSON writers put it
	alt    string // the other name with its closing quote
	prefix []byte // comma, quoted name and colon, as they stand before the value in JSON
	next   *field // the one that most likely follows in JSON

	enum *enum
	msg  *Program
	mapK *field
	mapV *field

	desc protoreflect.FieldDescriptor
}

func (p *Program) String() string { return fmt.Sprintf("codec.Program(%s)", p.name) }

// Name is the full name of the message type.
func (p *Program) Name() protoreflect.FullName { return p.name }

// field finds a field by number.
func (p *Program) field(num protowire.Number) *field {
	if int(num) < len(p.dense) {
		return p.dense[num]
	}
	return p.sparse[num]
}

// AppendWire appends the wire bytes of the message that json describes to dst. It accepts what protojson accepts; the
// fields come in the order that json has them. dst must not overlap json. Bad input is an *[Error] and dst as it was.
func (p *Program) AppendWire(dst, json []byte) ([]byte, error) {
	d := newDecoder(p.c, dst, json)
	defer d.free()
	return d.finish(dst, d.document(p), "")
}

// AppendJSON appends the JSON of the wire bytes of a message to dst. It prints the values that protojson prints, without
// space between them, the fields in order of their numbers. dst must not overlap wire. Wire bytes that are malformed,
// or that have no JSON form, are an error and dst as it was.
func (p *Program) AppendJSON(dst, wire []byte) ([]byte, error) {
	e := newEncoder(p.c)
	defer e.free()
	return e.run(dst, wire, p)
}
