package codec

import (
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits bounds what one conversion may cost. Zero values are the defaults.
type Limits struct {
	// Depth is how deeply messages may nest; 10,000, protojson's, by default.
	Depth int
	// Output is how many bytes one conversion may produce; 256 MiB by default. It is looked at between
	// messages, so that the result may be longer by one of them.
	Output int
}

const (
	defaultDepth  = protowire.DefaultRecursionLimit
	defaultOutput = 256 << 20
)

// Compiler compiles message types into programs, each type once, all with the same options. It is safe for concurrent use.
type Compiler struct {
	options  Options
	resolver Resolver
	limits   Limits

	mu       sync.Mutex
	programs map[protoreflect.MessageDescriptor]*Program
	enums    map[protoreflect.EnumDescriptor]*enum

	urls       cache[string, *Program] // types of google.protobuf.Any by URL
	extNames   cache[string, *field]   // extensions by full name
	extNumbers cache[extensionNumber, *field]
}

type extensionNumber struct {
	p   *Program
	num protowire.Number
}

// NewCompiler returns a Compiler. What o.Resolver answers must not change.
func NewCompiler(o Options, l Limits) *Compiler {
	if l.Depth == 0 {
		l.Depth = defaultDepth
	}
	if l.Output == 0 {
		l.Output = defaultOutput
	}
	return &Compiler{
		options:  o,
		resolver: o.resolver(),
		limits:   l,
		programs: make(map[protoreflect.MessageDescriptor]*Program),
		enums:    make(map[protoreflect.EnumDescriptor]*enum),
	}
}

// Compile returns the program of a message type.
func Compile(md protoreflect.MessageDescriptor, o Options) (*Program, error) {
	return NewCompiler(o, Limits{}).Compile(md)
}

// Compile returns the program of a message type and compiles the types it leads to. A type that is
// not known (a placeholder) is an error.
func (c *Compiler) Compile(md protoreflect.MessageDescriptor) (*Program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.programs[md]; p != nil {
		return p, nil
	}
	b := build{c: c, programs: make(map[protoreflect.MessageDescriptor]*Program)}
	p := b.message(md)
	for len(b.todo) > 0 {
		last := len(b.todo) - 1
		next := b.todo[last]
		b.todo = b.todo[:last]
		b.fill(next.p, next.md)
	}
	if b.err != nil {
		return nil, b.err
	}
	for md, p := range b.programs {
		c.programs[md] = p
	}
	return p, nil
}

// build is one run of the compiler. Nothing of it can be seen until all of it has succeeded.
type build struct {
	c        *Compiler
	programs map[protoreflect.MessageDescriptor]*Program
	todo     []unfilled
	err      error
}

type unfilled struct {
	p  *Program
	md protoreflect.MessageDescriptor
}

// message returns the program of md, which may still have to be filled: that is how types refer to themselves.
func (b *build) message(md protoreflect.MessageDescriptor) *Program {
	if p := b.c.programs[md]; p != nil {
		return p
	}
	if p := b.programs[md]; p != nil {
		return p
	}
	if md.IsPlaceholder() {
		b.fail("message %s is not known", md.FullName())
	}
	p := &Program{c: b.c, name: md.FullName(), form: formOf(md)}
	b.programs[md] = p
	b.todo = append(b.todo, unfilled{p, md})
	return p
}

func (b *build) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("codec: "+format, args...)
	}
}

func formOf(md protoreflect.MessageDescriptor) form {
	if set, ok := md.(interface{ IsMessageSet() bool }); ok && set.IsMessageSet() {
		return formMessageSet
	}
	if md.FullName().Parent() != "google.protobuf" {
		return formObject
	}
	switch md.Name() {
	case "Any":
		return formAny
	case "Timestamp":
		return formTimestamp
	case "Duration":
		return formDuration
	case "FieldMask":
		return formFieldMask
	case "BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value",
		"FloatValue", "DoubleValue", "StringValue", "BytesValue":
		return formWrapper
	case "Struct":
		return formStruct
	case "ListValue":
		return formListValue
	case "Value":
		return formValue
	case "Empty":
		return formEmpty
	}
	return formObject
}

func (b *build) fill(p *Program, md protoreflect.MessageDescriptor) {
	fds := md.Fields()
	declared := make([]*field, fds.Len())
	oneofs := make(map[int]int)
	for i := range declared {
		fd := fds.Get(i)
		f := b.field(fd)
		if od := fd.ContainingOneof(); od != nil && od.Fields().Len() > 1 {
			n, ok := oneofs[od.Index()]
			if !ok {
				n = len(oneofs)
				oneofs[od.Index()] = n
			}
			f.oneof = n
		}
		declared[i] = f
	}
	if !knownShape(p.form, declared) {
		b.fail("%s is not the well-known type of that name", p.name)
		return
	}
	p.oneofs = len(oneofs)
	p.fields = slices.Clone(declared)
	slices.SortFunc(p.fields, func(x, y *field) int { return int(x.num) - int(y.num) })
	p.index()
	for i, f := range declared {
		f.next = f
		if i+1 < len(declared) {
			f.next = declared[i+1]
		}
	}
	if len(declared) > 0 {
		p.first = declared[0]
	}
	p.names(declared, b.c.options.ProtoNames)
	if b.c.options.EmitUnpopulated {
		p.unpopulated()
	}
	if md.ExtensionRanges().Len() > 0 {
		p.ranges = md.ExtensionRanges()
	}
}

// knownShape reports whether a well-known type has the fields that its form relies on: the name alone proves nothing.
func knownShape(f form, fields []*field) bool {
	has := func(num protowire.Number, k kind, c cardinality) bool {
		return slices.ContainsFunc(fields, func(f *field) bool { return f.num == num && f.kind == k && f.card == c })
	}
	switch f {
	case formAny:
		return has(1, kindString, singular) && has(2, kindBytes, singular)
	case formTimestamp, formDuration:
		return has(1, kindInt64, singular) && has(2, kindInt32, singular)
	case formFieldMask:
		return has(1, kindString, list)
	case formWrapper:
		return len(fields) == 1 && fields[0].num == 1 && fields[0].card == singular && fields[0].kind < kindMessage
	case formStruct:
		return has(1, kindMessage, mapping) && fields[0].mapV.msg != nil && fields[0].mapV.msg.form == formValue &&
			fields[0].mapK.kind == kindString
	case formListValue:
		return has(1, kindMessage, list) && fields[0].msg.form == formValue
	case formValue:
		return has(1, kindNull, singular) && has(2, kindDouble, singular) && has(3, kindString, singular) &&
			has(4, kindBool, singular) && has(5, kindMessage, singular) && has(6, kindMessage, singular) && len(fields) == 6
	}
	return true
}

// index makes the tables that find a field by number, and gives each its bits.
func (p *Program) index() {
	most := protowire.Number(4*len(p.fields) + 64)
	groups := make([]int, p.oneofs)
	for i := range groups {
		groups[i] = -1
	}
	for i, f := range p.fields {
		f.index, f.slot, f.group = i, i, i
		if f.oneof >= 0 {
			if groups[f.oneof] < 0 {
				groups[f.oneof] = i
			}
			f.group = groups[f.oneof]
			f.oneofSlot = len(p.fields) + f.oneof
		}
		if f.num < most {
			p.dense = append(p.dense, make([]*field, int(f.num)+1-len(p.dense))...)
			p.dense[f.num] = f
		} else {
			if p.sparse == nil {
				p.sparse = make(map[protowire.Number]*field)
			}
			p.sparse[f.num] = f
		}
		if f.desc.Cardinality() == protoreflect.Required {
			f.setSlot = len(p.fields) + p.oneofs + len(p.required)
			p.required = append(p.required, f)
		}
	}
	p.slots = len(p.fields) + p.oneofs + len(p.required)
}

func (p *Program) names(declared []*field, proto bool) {
	for _, f := range declared {
		p.byName.add(f.desc.JSONName(), f.index)
	}
	for _, f := range declared {
		p.byName.add(f.desc.TextName(), f.index)
	}
	p.byName.build()
	for _, f := range declared {
		name, other := f.desc.JSONName(), f.desc.TextName()
		if proto {
			name, other = other, name
		}
		// A name that another field has first, or that JSON would escape, is left to the table.
		for _, n := range []struct {
			name string
			to   *string
		}{{name, &f.key}, {other, &f.alt}} {
			*n.to = "\x00" // no key begins with it
			if i := p.byName.find([]byte(n.name)); i == f.index && plain(n.name) {
				*n.to = n.name + `"`
			}
		}
		f.prefix = prefixOf(name)
	}
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x80 || s[i] == '"' || s[i] == '\\' || s[i] == '[' {
			return false
		}
	}
	return s != ""
}

func prefixOf(name string) []byte {
	text, _ := appendString([]byte{','}, []byte(name))
	return append(text, ':')
}

func (p *Program) unpopulated() {
	p.unsetAt = make([]int, len(p.fields)+1)
	for i, f := range p.fields {
		p.unsetAt[i] = len(p.unset)
		if f.desc.ContainingOneof() == nil {
			p.unset = append(append(p.unset, f.prefix...), unsetText(f)...)
		}
	}
	p.unsetAt[len(p.fields)] = len(p.unset)
}

// unsetText is what a field that is not set is printed as.
func unsetText(f *field) []byte {
	switch {
	case f.card == list:
		return []byte("[]")
	case f.card == mapping:
		return []byte("{}")
	case f.presence:
		return []byte("null")
	}
	switch f.kind {
	case kindBool:
		return []byte("false")
	case kindString, kindBytes:
		return []byte(`""`)
	case kindEnum, kindNull:
		return f.enum.append(nil, 0)
	}
	if f.quoted {
		return []byte(`"0"`)
	}
	return []byte("0")
}
