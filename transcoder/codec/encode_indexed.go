package codec

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// record is one field of a message whose fields are not in order, or one piece of a message that came in several.
type record struct {
	f     *field
	group int // fields of which one can have a value share it
	tag   uint64
	data  []byte // of a message its content, of others what follows the tag
}

// oneSegment is message for input that is not in order.
func (e *encoder) oneSegment(out []byte, p *Program, b []byte) ([]byte, error) {
	at := len(e.records)
	e.records = append(e.records, record{data: b})
	out, err := e.segments(out, p, at, at+1)
	e.records = e.records[:at]
	return out, err
}

// segments writes the message of which records[lo:hi] are the pieces. The fields of all pieces are collected and
// sorted, then written: that is what merging the pieces comes to.
func (e *encoder) segments(out []byte, p *Program, lo, hi int) ([]byte, error) {
	if e.depth--; e.depth < 0 {
		return out, errDepth
	}
	var err error
	if p.form == formObject || p.form == formEmpty {
		start := len(out)
		if out, err = e.sorted(out, p, lo, hi); err == nil {
			out = closeWith(out, start, '{', '}')
		}
	} else {
		var b []byte
		joint := len(e.joint)
		if b, err = e.joined(p, lo, hi); err == nil {
			out, err = e.known(out, p, b)
		}
		e.joint = e.joint[:joint]
	}
	e.depth++
	if len(out) > e.limit {
		return out, errLarge
	}
	return out, err
}

// joined returns the content of the pieces of a message as one. Each must be well-formed for itself.
func (e *encoder) joined(p *Program, lo, hi int) ([]byte, error) {
	if hi-lo == 1 {
		return e.records[lo].data, nil
	}
	start := len(e.joint)
	for _, r := range e.records[lo:hi] {
		if e.repeats -= len(r.data); e.repeats < 0 {
			return nil, errDepth
		}
		if err := e.checkMessage(p, r.data); err != nil {
			return nil, err
		}
		e.joint = append(e.joint, r.data...)
	}
	return e.joint[start:], nil
}

func (e *encoder) sorted(out []byte, p *Program, lo, hi int) ([]byte, error) {
	base := len(e.records)
	for i := lo; i < hi; i++ {
		if err := e.collect(p, e.records[i].data); err != nil {
			return out, err
		}
	}
	end := len(e.records)
	slices.SortStableFunc(e.records[base:], func(x, y record) int { return cmp.Compare(x.group, y.group) })
	next, have := 0, 0
	var err error
	for i := base; i < end; {
		j := i + 1
		for j < end && e.records[j].group == e.records[i].group {
			j++
		}
		// Of a oneof, the last member stands, with what came since another was set.
		f := e.records[j-1].f
		k := j - 1
		for k > i && e.records[k-1].f == f {
			k--
		}
		if err := e.checkAll(i, k); err != nil {
			return out, err
		}
		before := len(out)
		group := e.records[i].group
		if p.unset != nil && f.index >= 0 {
			out = append(out, p.unset[p.unsetAt[next]:p.unsetAt[group]]...)
		}
		empty := len(out)
		if out, err = e.occurrences(out, f, k, j); err != nil {
			return out, err
		}
		switch {
		case len(out) == empty:
			out = out[:before]
		case f.index >= 0 && f.oneof < 0:
			next = group + 1
		case f.index >= 0:
			next = group
		}
		if f.setSlot >= 0 {
			have++
		}
		i = j
	}
	if p.unset != nil {
		out = append(out, p.unset[p.unsetAt[next]:]...)
	}
	clear(e.records[base:end])
	e.records = e.records[:base]
	if have < len(p.required) && e.inAny == 0 && !e.partial {
		return out, errRequired
	}
	return out, nil
}

// collect appends a record of each field of a piece of a message.
func (e *encoder) collect(p *Program, b []byte) error {
	for i := 0; i < len(b); {
		tag, next := varint(b, i)
		if next < 0 {
			return errWire
		}
		f, err := e.lookup(p, tag)
		if err != nil {
			return err
		}
		if f == nil {
			if i, err = e.skip(b, next, tag); err != nil {
				return err
			}
			continue
		}
		r := record{f: f, group: f.group, tag: tag}
		if f.index < 0 {
			r.group = len(p.fields) + int(f.num)
		}
		if f.msg != nil {
			r.data, i, err = e.content(f, b, next)
		} else if i, err = e.skip(b, next, tag); err == nil {
			r.data = b[next:i]
		}
		if err != nil {
			return err
		}
		e.records = append(e.records, r)
	}
	return nil
}

// lookup finds the field of a tag; it is nil when the message has none, or one of another wire type.
func (e *encoder) lookup(p *Program, tag uint64) (*field, error) {
	num := tag >> 3
	if num == 0 || num > uint64(protowire.MaxValidNumber) {
		return nil, errWire
	}
	f := p.field(protowire.Number(num))
	if f == nil {
		var err error
		if f, err = e.c.extensionByNumber(p, protowire.Number(num)); err != nil || f == nil {
			return nil, err
		}
	}
	if tag == f.tag || tag == f.packedTag {
		return f, nil
	}
	return nil, nil
}

// occurrences writes the field of which records[lo:hi] are the occurrences, with its name.
func (e *encoder) occurrences(out []byte, f *field, lo, hi int) ([]byte, error) {
	start := len(out)
	out = append(out, f.prefix...)
	open := len(out)
	var err error
	switch {
	case f.card == mapping:
		keys := e.keys.open(1, hi-lo)
		for i := hi - 1; i >= lo && err == nil; i-- {
			var s []byte
			if s, _, err = payload(e.records[i].data, 0); err == nil {
				out, err = e.entry(out, f, s, keys)
			}
		}
		e.keys.close(keys)
		return closeWith(out, open, '{', '}'), err
	case f.card == list:
		for i := lo; i < hi && err == nil; i++ {
			r := e.records[i]
			switch {
			case f.msg != nil:
				out = append(out, ',')
				out, err = e.message(out, f.msg, r.data)
			case r.tag != f.tag:
				out, _, err = e.packedList(out, f, r.data, 0)
			default:
				out = append(out, ',')
				out, _, err = e.value(out, f, r.data, 0)
			}
		}
		if len(out) == open {
			return out[:start], err
		}
		return closeWith(out, open, '[', ']'), err
	case f.msg != nil && hi-lo == 1:
		return e.message(out, f.msg, e.records[lo].data)
	case f.msg != nil && !e.indexed:
		return out, errOrder
	case f.msg != nil:
		return e.segments(out, f.msg, lo, hi)
	}
	if err := e.checkAll(lo, hi-1); err != nil {
		return out, err
	}
	if out, _, err = e.value(out, f, e.records[hi-1].data, 0); len(out) == open {
		out = out[:start]
	}
	return out, err
}

// splitValue writes the value of an entry of which the message came in several pieces.
func (e *encoder) splitValue(out []byte, f *field, s []byte) ([]byte, error) {
	base := len(e.records)
	for i := 0; i < len(s); {
		tag, next := varint(s, i)
		var err error
		if i, err = e.skip(s, next, tag); err != nil {
			return out, err
		}
		if tag == f.tag {
			data, _, err := payload(s, next)
			if err != nil {
				return out, err
			}
			e.records = append(e.records, record{data: data})
		}
	}
	out, err := e.segments(out, f.msg, base, len(e.records))
	e.records = e.records[:base]
	return out, err
}

// checkAll checks records that others replace: they are not written, but may not be malformed either.
func (e *encoder) checkAll(lo, hi int) error {
	for i := lo; i < hi; i++ {
		if err := e.checkRecord(e.records[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) checkScalar(f *field, data []byte) error {
	if f.kind != kindString || !f.utf8 {
		return nil
	}
	s, _, err := payload(data, 0)
	if err == nil && !utf8.Valid(s) {
		return errUTF8
	}
	return err
}

// check checks an entry of a map.
func (e *encoder) check(f *field, s []byte) error {
	for i := 0; i < len(s); {
		tag, next := varint(s, i)
		var err error
		if i, err = e.skip(s, next, tag); err != nil {
			return err
		}
		switch {
		case tag == f.mapK.tag:
			err = e.checkScalar(f.mapK, s[next:i])
		case tag == f.mapV.tag && f.mapV.msg == nil:
			err = e.checkScalar(f.mapV, s[next:i])
		case tag == f.mapV.tag:
			var b []byte
			if b, _, err = payload(s, next); err == nil {
				err = e.checkMessage(f.mapV.msg, b)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkMessage reports whether the protobuf module would refuse the wire bytes of a message.
func (e *encoder) checkMessage(p *Program, b []byte) error {
	if e.depth--; e.depth < 0 {
		return errDepth
	}
	base := len(e.records)
	if err := e.collect(p, b); err != nil {
		return err
	}
	for i := base; i < len(e.records); i++ {
		if err := e.checkRecord(e.records[i]); err != nil {
			return err
		}
	}
	e.records = e.records[:base]
	e.depth++
	return nil
}

// checkRecord is checkMessage for one field.
func (e *encoder) checkRecord(r record) error {
	switch {
	case r.f.card == mapping:
		s, _, err := payload(r.data, 0)
		if err != nil {
			return err
		}
		return e.check(r.f, s)
	case r.f.msg != nil:
		return e.checkMessage(r.f.msg, r.data)
	case r.f.card == list && r.tag != r.f.tag:
		_, _, err := e.packedList(nil, r.f, r.data, 0)
		return err
	}
	return e.checkScalar(r.f, r.data)
}
