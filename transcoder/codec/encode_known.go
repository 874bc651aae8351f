package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

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

// seconds reads the fields of a Timestamp or a Duration.
func (e *encoder) seconds(b []byte) (seconds int64, nanos int32, err error) {
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return 0, 0, errWire
		}
		switch tag {
		case 1 << 3:
			var v uint64
			if v, i = varint(b, next); i < 0 {
				return 0, 0, errWire
			}
			seconds = int64(v)
		case 2 << 3:
			var v uint64
			if v, i = varint(b, next); i < 0 {
				return 0, 0, errWire
			}
			nanos = int32(v)
		default:
			if i, err = e.skip(b, next, tag); err != nil {
				return 0, 0, err
			}
		}
	}
	return seconds, nanos, nil
}

func (e *encoder) timestamp(out, b []byte) ([]byte, error) {
	seconds, nanos, err := e.seconds(b)
	if err != nil {
		return out, err
	}
	if seconds < minTimestamp || seconds > maxTimestamp || nanos < 0 || nanos > 999999999 {
		return out, fmt.Errorf("google.protobuf.Timestamp of %d seconds and %d nanoseconds is out of range", seconds, nanos)
	}
	days := uint32(seconds/86400 + 719528) // since the first of January of the year 0
	second := int32(seconds % 86400)
	if second < 0 {
		days--
		second += 86400
	}
	minute := uint32(second) / 60
	d := eightDigits(date(days))
	t := eightDigits(minute/60*10000 + minute%60*100 + uint32(second)%60)
	out = room(out)
	start := len(out)
	out = out[:start+len(`"2006-01-02T15:04:05`)]
	dst := out[start:]
	copy(dst, `"0000-00-00T00:00:00`)
	binary.LittleEndian.PutUint32(dst[1:], uint32(d))
	binary.LittleEndian.PutUint16(dst[6:], uint16(d>>32))
	binary.LittleEndian.PutUint16(dst[9:], uint16(d>>48))
	binary.LittleEndian.PutUint16(dst[12:], uint16(t>>16))
	binary.LittleEndian.PutUint16(dst[15:], uint16(t>>32))
	binary.LittleEndian.PutUint16(dst[18:], uint16(t>>48))
	out = appendNanos(out, nanos)
	return append(out, 'Z', '"'), nil
}

// date is the date in the Gregorian calendar so many days after the first of January of the year 0, from its March on, as the decimal number
// YYYYMMDD. It counts by years that begin in March.
func date(days uint32) uint32 {
	days -= 60 // since the first of March of the year 0
	century := (4*days + 3) / 146097
	days -= century * 146097 / 4
	y := (4*days + 3) / 1461
	days -= y * 1461 / 4
	m := (5*days + 2) / 153
	day := days - (153*m+2)/5 + 1
	year := century*100 + y
	month := m + 3
	if month > 12 {
		month -= 12
		year++
	}
	return year*10000 + month*100 + day
}

// appendNanos writes the decimals of a second: none, three, six or nine.
func appendNanos(out []byte, nanos int32) []byte {
	if nanos == 0 {
		return out
	}
	n := uint32(nanos)
	out = room(out)
	start := len(out)
	dst := out[start : start+18]
	dst[0], dst[1] = '.', byte('0'+n/1e8)
	binary.LittleEndian.PutUint64(dst[2:], eightDigits(n%1e8))
	switch {
	case n%1e6 == 0:
		return out[:start+4]
	case n%1e3 == 0:
		return out[:start+7]
	}
	return out[:start+10]
}

func (e *encoder) duration(out, b []byte) ([]byte, error) {
	seconds, nanos, err := e.seconds(b)
	if err != nil {
		return out, err
	}
	if seconds < -maxDuration || seconds > maxDuration || nanos < -999999999 || nanos > 999999999 ||
		seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0 {
		return out, fmt.Errorf("google.protobuf.Duration of %d seconds and %d nanoseconds is out of range", seconds, nanos)
	}
	out = append(out, '"')
	if seconds < 0 || nanos < 0 {
		out = append(out, '-')
		seconds, nanos = -seconds, -nanos
	}
	out = appendUint(out, uint64(seconds))
	out = appendNanos(out, nanos)
	return append(out, 's', '"'), nil
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

// any writes a google.protobuf.Any: the fields of the message in it beside the URL of its type, or, for types with a JSON form of their own, that
// form as "value".
func (e *encoder) any(out []byte, b []byte) ([]byte, error) {
	var url, value []byte
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return out, errWire
		}
		var err error
		switch tag {
		case 1<<3 | 2:
			if !utf8.Valid(url) {
				return out, errUTF8
			}
			url, i, err = payload(b, next)
		case 2<<3 | 2:
			value, i, err = payload(b, next)
		default:
			i, err = e.skip(b, next, tag)
		}
		if err != nil {
			return out, err
		}
	}
	if len(url) == 0 {
		if len(value) > 0 {
			return out, errors.New("google.protobuf.Any has a value and no type_url")
		}
		return append(out, '{', '}'), nil
	}
	p, err := e.c.messageByURL(url)
	if err != nil {
		return out, err
	}
	out = append(out, `{"@type":`...)
	var ok bool
	if out, ok = appendString(out, url); !ok {
		return out, errUTF8
	}
	e.inAny++
	if p.form.custom() && p.form != formEmpty {
		out = append(out, `,"value":`...)
		out, err = e.message(out, p, value)
	} else {
		out, err = e.anyFields(out, p, value)
	}
	e.inAny--
	if err == errWire || err == errDepth {
		// The bytes around it are well-formed: another value may replace this one.
		err = fmt.Errorf("google.protobuf.Any of type %q: %w", shorten(string(url)), err)
	}
	return append(out, '}'), err
}

// anyFields writes the members of the message in a google.protobuf.Any, each with a comma before it.
func (e *encoder) anyFields(out []byte, p *Program, b []byte) ([]byte, error) {
	if e.depth--; e.depth < 0 {
		return out, errDepth
	}
	var err error
	switch {
	case p.form == formMessageSet:
		return out, errors.New("no support for proto1 MessageSets")
	case e.indexed:
		at := len(e.records)
		e.records = append(e.records, record{data: b})
		out, err = e.sorted(out, p, at, at+1)
		e.records = e.records[:at]
	default:
		out, err = e.fields(out, p, b)
	}
	e.depth++
	return out, err
}
