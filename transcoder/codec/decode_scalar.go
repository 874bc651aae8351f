package codec

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// scalar reads a JSON value of a scalar kind and writes its wire bytes, without a tag. It writes nothing for the name of an enum
// that is not known and to be ignored.
func (d *decoder) scalar(f *field, i int) int {
	switch f.kind {
	case kindString:
		return d.appendString(i)
	case kindBool:
		switch {
		case literal(d.in, i, "true"):
			d.out = append(d.out, 1)
			return i + len("true")
		case literal(d.in, i, "false"):
			d.out = append(d.out, 0)
			return i + len("false")
		}
		return d.failToken(i, "bool")
	case kindInt32, kindSint32, kindSfixed32:
		v, end := d.signed(i, 32)
		d.appendSigned(f.kind, v)
		return end
	case kindInt64, kindSint64, kindSfixed64:
		v, end := d.signed(i, 64)
		d.appendSigned(f.kind, v)
		return end
	case kindUint32, kindFixed32:
		v, end := d.unsigned(i, 32)
		d.appendUnsigned(f.kind, v)
		return end
	case kindUint64, kindFixed64:
		v, end := d.unsigned(i, 64)
		d.appendUnsigned(f.kind, v)
		return end
	case kindDouble:
		v, end := d.float(i, 64)
		d.out = binary.LittleEndian.AppendUint64(d.out, math.Float64bits(v))
		return end
	case kindFloat:
		v, end := d.float(i, 32)
		d.out = binary.LittleEndian.AppendUint32(d.out, math.Float32bits(float32(v)))
		return end
	case kindBytes:
		return d.appendBase64(i)
	default:
		return d.enum(f, i)
	}
}

func (d *decoder) appendSigned(k kind, v int64) {
	switch k {
	case kindInt32, kindInt64:
		d.out = appendVarint(d.out, uint64(v))
	case kindSint32, kindSint64:
		d.out = appendVarint(d.out, protowire.EncodeZigZag(v))
	case kindSfixed32:
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(v))
	case kindSfixed64:
		d.out = binary.LittleEndian.AppendUint64(d.out, uint64(v))
	}
}

func (d *decoder) appendUnsigned(k kind, v uint64) {
	switch k {
	case kindUint32, kindUint64:
		d.out = appendVarint(d.out, v)
	case kindFixed32:
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(v))
	case kindFixed64:
		d.out = binary.LittleEndian.AppendUint64(d.out, v)
	}
}

// enum reads the name or the number of an enum.
func (d *decoder) enum(f *field, i int) int {
	in := d.in
	switch {
	case i >= len(in):
		return d.failToken(i, "enum")
	case in[i] == '"':
		name, end := d.string(i)
		if end < 0 {
			return end
		}
		if n := f.enum.byName.find(name); n >= 0 {
			d.out = appendVarint(d.out, uint64(f.enum.numbers[n]))
			return end
		}
		if d.c.options.DiscardUnknown {
			return end
		}
		return d.failToken(i, "a value of the enum "+string(f.desc.Enum().FullName()))
	case f.kind == kindNull && literal(in, i, "null"):
		d.out = append(d.out, 0)
		return i + len("null")
	}
	if end := scanNumber(in, i); end > 0 {
		if v, ok := parseSigned(in[i:end], 32); ok {
			d.out = appendVarint(d.out, uint64(v))
			return end
		}
	}
	return d.failToken(i, "a value of the enum "+string(f.desc.Enum().FullName()))
}

// signed reads a whole number of that many bits, as a number or as a string.
func (d *decoder) signed(i, size int) (int64, int) {
	v, neg, end := d.shortInteger(i)
	if end >= 0 {
		n := int64(v)
		if neg {
			n = -n
		}
		if size == 64 || n == int64(int32(n)) {
			return n, end
		}
	} else if text, end := d.number(i); end >= 0 {
		if n, ok := parseSigned(text, size); ok {
			return n, end
		}
	}
	if size == 32 {
		return 0, d.failToken(i, "int32")
	}
	return 0, d.failToken(i, "int64")
}

// unsigned is signed for kinds without a sign.
func (d *decoder) unsigned(i, size int) (uint64, int) {
	v, neg, end := d.shortInteger(i)
	if end >= 0 && (!neg || v == 0) {
		if size == 64 || v <= math.MaxUint32 {
			return v, end
		}
	} else if text, end := d.number(i); end >= 0 {
		if n, ok := parseUnsigned(text, size); ok {
			return n, end
		}
	}
	if size == 32 {
		return 0, d.failToken(i, "uint32")
	}
	return 0, d.failToken(i, "uint64")
}

// shortInteger reads up to 18 digits, perhaps with a sign and between quotes, and is -1 for anything else, wrong or right.
func (d *decoder) shortInteger(i int) (v uint64, neg bool, end int) {
	in := d.in
	quoted := i < len(in) && in[i] == '"'
	if quoted {
		i++
	}
	if i < len(in) && in[i] == '-' {
		neg = true
		i++
	}
	start := i
	for i < len(in) && in[i]-'0' <= 9 {
		v = v*10 + uint64(in[i]-'0')
		i++
	}
	n := i - start
	if n == 0 || n > 18 || n > 1 && in[start] == '0' || i >= len(in) {
		return 0, false, -1
	}
	if quoted {
		if in[i] != '"' {
			return 0, false, -1
		}
		return v, neg, i + 1
	}
	if inWord[in[i]] {
		return 0, false, -1
	}
	return v, neg, i
}

// number reads a number, or a string that is one, and returns its text. It is -1 without an error for anything else.
func (d *decoder) number(i int) ([]byte, int) {
	if i < len(d.in) && d.in[i] == '"' {
		text, end := d.string(i)
		if end >= 0 && scanNumber(text, 0) != len(text) {
			end = -1
		}
		return text, end
	}
	end := scanNumber(d.in, i)
	if end < 0 {
		return nil, -1
	}
	return d.in[i:end], end
}

// float reads a number of 32 or 64 bits, correctly rounded.
func (d *decoder) float(i, size int) (float64, int) {
	if i < len(d.in) && d.in[i] != '"' {
		if v, end := parseFloatAt(d.in, i, size); end >= 0 {
			return v, end
		}
	} else if text, end := d.string(i); end >= 0 {
		switch string(text) {
		case "NaN":
			return math.NaN(), end
		case "Infinity":
			return math.Inf(1), end
		case "-Infinity":
			return math.Inf(-1), end
		}
		if v, n := parseFloatAt(text, 0, size); n == len(text) && n > 0 {
			return v, end
		}
	}
	if size == 32 {
		return 0, d.failToken(i, "float")
	}
	return 0, d.failToken(i, "double")
}
