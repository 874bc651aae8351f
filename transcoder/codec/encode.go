package codec

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// encoder reads wire bytes and writes JSON. Its methods take what has been written and return it with more.
//
// An object begins without its brace: each member brings its comma, and the first comma is made the brace in the end.
// Arrays are written in the same way.
type encoder struct {
	c       *Compiler
	depth   int // how many messages may still be entered
	limit   int // how long the output may become
	inAny   int // within how many google.protobuf.Any: required fields are not asked for there
	partial bool
	indexed bool // the input is not in order: see indexed
	repeats int  // how many bytes may still be looked at again, which groups and split messages cost

	keys    keySet
	records []record
	joint   []byte             // well-known types that came in pieces, as one
	exts    []protowire.Number // extensions seen in the messages that are open
}

// errOrder says that the fields of a message are not in order, or one came twice, so that one pass is not enough.
var errOrder = errors.New("the fields are not in order")

// ErrMalformed is what the error of wire bytes is that are no message at all.
var ErrMalformed = errors.New("malformed wire bytes")

var (
	errWire  = ErrMalformed
	errUTF8  = errors.New("invalid UTF-8")
	errDepth = errors.New("exceeded max recursion depth")
	errLarge = errors.New("the JSON becomes too large")
)

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func newEncoder(c *Compiler) *encoder {
	e := encoders.Get().(*encoder)
	e.c = c
	e.partial = false
	return e
}

func (e *encoder) begin(dst, wire []byte, indexed bool) {
	e.depth, e.limit = e.c.limits.Depth, len(dst)+e.c.limits.Output
	e.inAny, e.indexed, e.repeats = 0, indexed, 1<<20+64*len(wire)
	e.records, e.exts, e.joint = e.records[:0], e.exts[:0], e.joint[:0]
	e.keys.reset()
}

func (e *encoder) free() {
	e.c = nil
	clear(e.records[:cap(e.records)])
	if cap(e.records) > maxKept/32 {
		e.records = nil
	}
	if cap(e.joint) > maxKept {
		e.joint = nil
	}
	e.keys.shrink()
	encoders.Put(e)
}

// run appends the JSON of a message: in one pass when the input allows it.
func (e *encoder) run(dst, wire []byte, p *Program) ([]byte, error) {
	e.begin(dst, wire, false)
	out, err := e.message(dst, p, wire)
	if mayBeMended(err) {
		e.begin(dst, wire, true)
		out, err = e.message(dst, p, wire)
	}
	if err != nil {
		return dst, fmt.Errorf("codec: %s: %w", p.name, err)
	}
	return out, nil
}

// mayBeMended reports whether an error of one pass may vanish when the input is indexed: what is wrong with a value is
// nothing when a later one replaces it.
func mayBeMended(err error) bool {
	return err != nil && err != errWire && err != errDepth && err != errLarge
}

// message writes a message in whatever form its type has.
func (e *encoder) message(out []byte, p *Program, b []byte) ([]byte, error) {
	if e.indexed {
		return e.oneSegment(out, p, b)
	}
	if e.depth--; e.depth < 0 {
		return out, errDepth
	}
	var err error
	if p.form == formObject || p.form == formEmpty {
		start := len(out)
		if out, err = e.fields(out, p, b); err == nil {
			out = closeWith(out, start, '{', '}')
		}
	} else {
		out, err = e.known(out, p, b)
	}
	e.depth++
	if len(out) > e.limit {
		return out, errLarge
	}
	return out, err
}

// closeWith ends what began at start with a comma, or with nothing.
func closeWith(out []byte, start int, opening, closing byte) []byte {
	if len(out) == start {
		return append(out, opening, closing)
	}
	out[start] = opening
	return append(out, closing)
}

// fields writes the members of the object of a message, each with a comma before it.
func (e *encoder) fields(out []byte, p *Program, b []byte) ([]byte, error) {
	var (
		next   int    // fields before it have been written
		oneofs uint64 // those that are set
		have   int    // required fields
		err    error
	)
	if p.oneofs > 64 {
		return out, errOrder
	}
	exts := len(e.exts)
	for i := 0; i < len(b); {
		var tag uint64
		if tag = uint64(b[i]); tag < 0x80 {
			i++
		} else if tag, i = longVarint(b, i); i < 0 {
			return out, errWire
		}
		num := tag >> 3
		var f *field
		if num < uint64(len(p.dense)) {
			f = p.dense[num]
		} else if f, err = e.rareField(p, num); err != nil {
			return out, err
		}
		if f == nil || tag != f.tag && (tag != f.packedTag || f.packedTag == 0) {
			if f == nil && p.ranges != nil {
				if f, err = e.c.extensionByNumber(p, protowire.Number(num)); err != nil {
					return out, err
				}
			}
			if f == nil || tag != f.tag && (tag != f.packedTag || f.packedTag == 0) {
				if i, err = e.skip(b, i, tag); err != nil {
					return out, err
				}
				continue
			}
		}
		switch {
		case f.oneof >= 0:
			if oneofs>>f.oneof&1 != 0 {
				return out, errOrder
			}
			oneofs |= 1 << f.oneof
		case f.index < 0:
			if e.repeatedExtension(f.num, exts) {
				return out, errOrder
			}
		case f.index < next:
			return out, errOrder
		}
		before, at := len(out), next
		if p.unset != nil && f.index >= next {
			out = append(out, p.unset[p.unsetAt[next]:p.unsetAt[f.index]]...)
		}
		empty := len(out)
		if f.card == singular {
			out = append(out, f.prefix...)
			value := len(out)
			if out, i, err = e.value(out, f, b, i); len(out) == value {
				out = out[:empty]
			}
		} else {
			out, i, err = e.repeated(out, f, b, i, tag)
		}
		if err != nil {
			return out, err
		}
		switch {
		case len(out) == empty: // it equals the default, or is an empty list
			out = out[:before]
			next = at
		case f.index >= next:
			next = f.index + 1
		}
		if f.setSlot >= 0 {
			have++
		}
	}
	if p.unset != nil {
		out = append(out, p.unset[p.unsetAt[next]:]...)
	}
	e.exts = e.exts[:exts]
	if have < len(p.required) && e.inAny == 0 && !e.partial {
		return out, errRequired
	}
	return out, nil
}

var errRequired = errors.New("a required field is not set")

// rareField finds a field of which the number is large. It is nil for a number that the message does not have.
func (e *encoder) rareField(p *Program, num uint64) (*field, error) {
	if num > uint64(protowire.MaxValidNumber) {
		return nil, errWire
	}
	return p.sparse[protowire.Number(num)], nil
}

// repeatedExtension notes an extension of a message, of which the first was noted at first, and reports whether it came before.
func (e *encoder) repeatedExtension(num protowire.Number, first int) bool {
	for _, n := range e.exts[first:] {
		if n == num {
			return true
		}
	}
	e.exts = append(e.exts, num)
	return false
}

// repeated writes a repeated field, of which the first tag has been read, as far as its elements follow each other. It writes
// nothing for an empty one.
func (e *encoder) repeated(out []byte, f *field, b []byte, i int, tag uint64) ([]byte, int, error) {
	if f.card == list {
		return e.list(out, f, b, i, tag)
	}
	return e.mapping(out, f, b, i)
}

// skip passes over a field that is not known. The index is behind the tag.
func (e *encoder) skip(b []byte, i int, tag uint64) (int, error) {
	num, typ := protowire.DecodeTag(tag)
	if num < protowire.MinValidNumber || num > protowire.MaxValidNumber {
		return i, errWire
	}
	if typ == protowire.StartGroupType {
		n, err := e.groupLength(b[i:], num)
		return i + n, err
	}
	n := protowire.ConsumeFieldValue(num, typ, b[i:])
	if n < 0 {
		return i, errWire
	}
	return i + n, nil
}

// groupLength is how long a group is, with its end tag. Groups within groups are measured again and again, so
// that it has a bound.
func (e *encoder) groupLength(b []byte, num protowire.Number) (int, error) {
	n := protowire.ConsumeFieldValue(num, protowire.StartGroupType, b)
	if n < 0 {
		return 0, errWire
	}
	if e.repeats -= n; e.repeats < 0 {
		return 0, errDepth
	}
	return n, nil
}

// payload returns what a length at i measures, and the index behind it.
func payload(b []byte, i int) ([]byte, int, error) {
	var n uint64
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		n = uint64(b[i])
		i++
	} else if n, i = longVarint(b, i); i < 0 {
		return nil, i, errWire
	}
	if n > uint64(len(b)-i) {
		return nil, i, errWire
	}
	end := i + int(n)
	return b[i:end], end, nil
}

// content returns the bytes of a message at i, which is behind the tag.
func (e *encoder) content(f *field, b []byte, i int) ([]byte, int, error) {
	if f.kind != kindGroup {
		return payload(b, i)
	}
	if _, err := e.groupLength(b[i:], f.num); err != nil {
		return nil, i, err
	}
	v, n := protowire.ConsumeGroup(f.num, b[i:])
	return v, i + n, nil
}
