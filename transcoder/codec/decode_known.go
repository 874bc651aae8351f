package codec

import (
	"bytes"
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// known reads a message of a well-known type and writes its content.
func (d *decoder) known(p *Program, i int) int {
	if i >= len(d.in) {
		return d.failToken(i, string(p.name))
	}
	switch p.form {
	case formTimestamp:
		return d.timestamp(i)
	case formDuration:
		return d.duration(i)
	case formFieldMask:
		return d.fieldMask(i)
	case formWrapper:
		return d.wrapper(p.fields[0], i)
	case formStruct:
		return d.mapping(p.fields[0], i)
	case formListValue:
		return d.list(p.fields[0], i)
	case formValue:
		return d.anyValue(p, i)
	case formEmpty:
		return d.object(p, i, false)
	case formAny:
		return d.any(p, i)
	}
	return d.fail(i, "no support for proto1 MessageSets")
}

// wrapper reads the value of a message that has no other field.
func (d *decoder) wrapper(f *field, i int) int {
	start := len(d.out)
	d.out = append(d.out, f.tagBytes...)
	from := len(d.out)
	if i = d.scalar(f, i); i >= 0 && isZero(d.out[from:]) {
		d.out = d.out[:start]
	}
	return i
}

// anyValue reads any JSON value as a google.protobuf.Value.
func (d *decoder) anyValue(p *Program, i int) int {
	in := d.in
	switch c := in[i]; c {
	case '"':
		d.out = append(d.out, 3<<3|2)
		return d.appendString(i)
	case '{':
		return d.structValue(p, 5, i)
	case '[':
		return d.structValue(p, 6, i)
	case 'n':
		if literal(in, i, "null") {
			d.out = append(d.out, 1<<3, 0)
			return i + len("null")
		}
	case 't':
		if literal(in, i, "true") {
			d.out = append(d.out, 4<<3, 1)
			return i + len("true")
		}
	case 'f':
		if literal(in, i, "false") {
			d.out = append(d.out, 4<<3, 0)
			return i + len("false")
		}
	default:
		if v, end := parseFloatAt(in, i, 64); end >= 0 {
			d.out = append(d.out, 2<<3|1)
			d.out = binary.LittleEndian.AppendUint64(d.out, math.Float64bits(v))
			return end
		}
	}
	return d.failToken(i, "a value")
}

func (d *decoder) structValue(p *Program, num protoreflect.FieldNumber, i int) int {
	f := p.field(num)
	d.out = append(d.out, f.tagBytes...)
	at := d.open(1)
	if num == 5 {
		i = d.mapping(f.msg.fields[0], i)
	} else {
		i = d.list(f.msg.fields[0], i)
	}
	if i >= 0 {
		d.close(at)
	}
	return i
}

func (d *decoder) fieldMask(i int) int {
	if d.in[i] != '"' {
		return d.failToken(i, "a google.protobuf.FieldMask")
	}
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	text = bytes.TrimSpace(text)
	for more := len(text) > 0; more; {
		var path []byte
		path, text, more = bytes.Cut(text, []byte{','})
		d.out = append(d.out, 1<<3|2)
		at := d.open(1)
		for _, c := range path {
			if c == '_' {
				return d.failToken(i, "a google.protobuf.FieldMask")
			}
			if 'A' <= c && c <= 'Z' {
				d.out = append(d.out, '_')
				c += 'a' - 'A'
			}
			d.out = append(d.out, c)
		}
		if !isFullName(d.out[at.content:]) {
			return d.failToken(i, "a google.protobuf.FieldMask")
		}
		d.close(at)
	}
	return end
}

// isFullName reports whether b is identifiers separated by dots.
func isFullName(b []byte) bool {
	start := true
	for _, c := range b {
		switch {
		case c == '.':
			if start {
				return false
			}
			start = true
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c) && !start:
			start = false
		default:
			return false
		}
	}
	return !start
}
