package codec

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

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
