package codec

import "strconv"

// mapping reads a JSON object as a map and writes its entries.
func (d *decoder) mapping(f *field, i int) int {
	in := d.in
	if i >= len(in) || in[i] != '{' {
		return d.failToken(i, "an object")
	}
	i = skipSpace(in, i+1)
	if i < len(in) && in[i] == '}' {
		return i + 1
	}
	paused := d.params.pause()
	keys := d.keys.open(16, len(in)-i)
	width := 1
	for {
		name, start := i, len(d.out)
		d.out = append(d.out, f.tagBytes...)
		at := d.open(width)
		d.out = append(d.out, f.mapK.tagBytes...)
		keyStart := len(d.out)
		if i = d.mapKey(f.mapK, i); i < 0 {
			return i
		}
		keyEnd := len(d.out)
		if i = skipSpace(in, i); i >= len(in) || in[i] != ':' {
			return d.failToken(i, "a colon")
		}
		if i = d.mapValue(f.mapV, skipSpace(in, i+1)); i < 0 {
			return i
		}
		if len(d.out) == keyEnd {
			d.out = d.out[:start]
		} else {
			before := len(d.out)
			width = d.close(at)
			moved := len(d.out) - before
			if !d.keys.add(keys, d.out, keyStart+moved, keyEnd+moved) {
				return d.fail(name, "duplicate map key "+d.token(name))
			}
		}
		if i = skipSpace(in, i); i < len(in) && in[i] == ',' {
			i = skipSpace(in, i+1)
			continue
		}
		if i >= len(in) || in[i] != '}' {
			return d.failToken(i, "a comma or the end of the object")
		}
		d.keys.close(keys)
		d.params.resume(paused)
		return i + 1
	}
}

// mapValue reads a value of a map and writes it with its tag. It writes nothing for the name of an enum that is not known
// and to be ignored.
func (d *decoder) mapValue(f *field, i int) int {
	start := len(d.out)
	d.out = append(d.out, f.tagBytes...)
	if f.kind == kindMessage {
		at := d.open(1)
		if i = d.message(f.msg, i); i >= 0 {
			d.close(at)
		}
		return i
	}
	from := len(d.out)
	i = d.scalar(f, i)
	if len(d.out) == from {
		d.out = d.out[:start]
	}
	return i
}

// mapKey reads a key and writes it without its tag.
func (d *decoder) mapKey(f *field, i int) int {
	if i >= len(d.in) || d.in[i] != '"' {
		return d.failToken(i, "a map key")
	}
	if f.kind == kindString {
		return d.appendString(i)
	}
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	size := 64
	switch f.kind {
	case kindBool:
		switch string(text) {
		case "true":
			d.out = append(d.out, 1)
			return end
		case "false":
			d.out = append(d.out, 0)
			return end
		}
	case kindInt32, kindSint32, kindSfixed32:
		size = 32
		fallthrough
	case kindInt64, kindSint64, kindSfixed64:
		if v, err := strconv.ParseInt(string(text), 10, size); err == nil {
			d.appendSigned(f.kind, v)
			return end
		}
	case kindUint32, kindFixed32:
		size = 32
		fallthrough
	case kindUint64, kindFixed64:
		if v, err := strconv.ParseUint(string(text), 10, size); err == nil {
			d.appendUnsigned(f.kind, v)
			return end
		}
	}
	return d.failToken(i, "a map key of type "+f.desc.Kind().String())
}
