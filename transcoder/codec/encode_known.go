package codec

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// known writes a message of a well-known type with a JSON form of its own.
func (e *encoder) known(out []byte, p *Program, b []byte) ([]byte, error) {
	switch p.form {
	case formTimestamp:
		return e.timestamp(out, b)
	case formDuration:
		return e.duration(out, b)
	case formFieldMask:
		return e.fieldMask(out, p.fields[0], b)
	case formWrapper:
		return e.wrapper(out, p.fields[0], b)
	case formStruct:
		return e.structFields(out, p.fields[0], b)
	case formListValue:
		return e.listValue(out, p.fields[0], b)
	case formValue:
		return e.anyValue(out, p, b)
	case formEmpty:
		return e.message(out, p, b)
	case formAny:
		return e.any(out, b)
	}
	return out, errors.New("no support for proto1 MessageSets")
}

// wrapper writes the value of a message that has no other field.
func (e *encoder) wrapper(out []byte, f *field, b []byte) ([]byte, error) {
	data, at := zeros[:], 0
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		var err error
		if i, err = e.skip(b, next, tag); err != nil {
			return out, err
		}
		if tag == f.tag {
			data, at = b, next
			if err := e.checkScalar(f, b[next:i]); err != nil {
				return out, err
			}
		}
	}
	start := len(out)
	out, _, err := e.value(out, f, data, at)
	if err == nil && len(out) == start {
		out = append(out, unsetText(f)...)
	}
	return out, err
}

func (e *encoder) fieldMask(out []byte, f *field, b []byte) ([]byte, error) {
	out = append(out, '"')
	first := true
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		var err error
		if i, err = e.skip(b, next, tag); err != nil {
			return out, err
		}
		if tag != f.tag {
			continue
		}
		path, _, err := payload(b, next)
		if err != nil {
			return out, err
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		var ok bool
		if out, ok = appendCamel(out, path); !ok {
			return out, fmt.Errorf("google.protobuf.FieldMask has the path %q, which has no JSON form", shorten(string(path)))
		}
	}
	return append(out, '"'), nil
}

// appendCamel writes a path in lowerCamelCase; it fails for one that could not be read back.
func appendCamel(out, path []byte) ([]byte, bool) {
	if !isFullName(path) {
		return out, false
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case 'A' <= c && c <= 'Z':
			return out, false
		case c == '_':
			if i++; i == len(path) || path[i] < 'a' || path[i] > 'z' {
				return out, false
			}
			c = path[i] - 'a' + 'A'
		}
		out = append(out, c)
	}
	return out, true
}

// structFields writes the map of a google.protobuf.Struct.
func (e *encoder) structFields(out []byte, f *field, b []byte) ([]byte, error) {
	open, base := len(out), len(e.records)
	keys := e.keys.open(16, len(b))
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		var err error
		if tag != f.tag {
			if i, err = e.skip(b, next, tag); err != nil {
				return out, err
			}
			continue
		}
		var s []byte
		if s, i, err = payload(b, next); err != nil {
			return out, err
		}
		if e.indexed {
			e.records = append(e.records, record{data: s})
		} else if out, err = e.entry(out, f, s, keys); err != nil {
			return out, err
		}
	}
	for i := len(e.records) - 1; i >= base; i-- {
		var err error
		if out, err = e.entry(out, f, e.records[i].data, keys); err != nil {
			return out, err
		}
	}
	e.records = e.records[:base]
	e.keys.close(keys)
	return closeWith(out, open, '{', '}'), nil
}

// listValue writes the array of a google.protobuf.ListValue.
func (e *encoder) listValue(out []byte, f *field, b []byte) ([]byte, error) {
	open := len(out)
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		var err error
		if tag != f.tag {
			if i, err = e.skip(b, next, tag); err != nil {
				return out, err
			}
			continue
		}
		out = append(out, ',')
		if out, i, err = e.value(out, f, b, next); err != nil {
			return out, err
		}
	}
	return closeWith(out, open, '[', ']'), nil
}

// anyValue writes a google.protobuf.Value: the last of its kinds, which may have come in pieces.
func (e *encoder) anyValue(out []byte, p *Program, b []byte) ([]byte, error) {
	var last *field
	from, pieces := 0, 0
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		at := i
		f, err := e.lookup(p, tag)
		if err == nil {
			i, err = e.skip(b, next, tag)
		}
		if err != nil {
			return out, err
		}
		if f == nil {
			continue
		}
		if f != last || f.msg == nil {
			if last != nil && !e.indexed {
				return out, errOrder
			}
			if last != nil {
				if err := e.checkPieces(last, b[from:at]); err != nil {
					return out, err
				}
			}
			last, from, pieces = f, at, 0
		}
		pieces++
	}
	switch {
	case last == nil:
		return out, errors.New("google.protobuf.Value has none of its kinds")
	case pieces == 1:
		_, i := varint(b, from)
		if last.kind == kindDouble {
			if v, n := protowire.ConsumeFixed64(b[i:]); n > 0 && v&^(1<<63) >= math.Float64bits(math.Inf(1)) {
				return out, errors.New("google.protobuf.Value has a number that is not finite")
			}
		}
		out, _, err := e.value(out, last, b, i)
		return out, err
	case !e.indexed:
		return out, errOrder
	}
	base := len(e.records)
	if err := e.pieces(last, b[from:]); err != nil {
		return out, err
	}
	out, err := e.segments(out, last.msg, base, len(e.records))
	e.records = e.records[:base]
	return out, err
}

// pieces appends a record of each piece of the message field f in b.
func (e *encoder) pieces(f *field, b []byte) error {
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		var err error
		if i, err = e.skip(b, next, tag); err != nil {
			return err
		}
		if tag == f.tag {
			data, _, err := payload(b, next)
			if err != nil {
				return err
			}
			e.records = append(e.records, record{f: f, data: data})
		}
	}
	return nil
}

// checkPieces checks what another kind of a google.protobuf.Value replaces.
func (e *encoder) checkPieces(f *field, b []byte) error {
	if f.msg == nil {
		_, i := varint(b, 0)
		return e.checkScalar(f, b[i:])
	}
	base := len(e.records)
	err := e.pieces(f, b)
	if err == nil {
		err = e.checkAll(base, len(e.records))
	}
	e.records = e.records[:base]
	return err
}
