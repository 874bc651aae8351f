package codec

import "encoding/binary"

// deep is the nesting below which lengths are written in deepWidth bytes, whatever they are. Else closing each of
// many nested messages would move all that is in it.
const (
	deep      = 32
	deepWidth = 5
)

// embedded reads a message and writes it as the value of a singular field.
func (d *decoder) embedded(f *field, i int) int {
	if d.params.any() {
		return d.embeddedWithParams(f, i)
	}
	d.out = append(d.out, f.tagBytes...)
	if f.kind == kindGroup {
		if i = d.message(f.msg, i); i >= 0 {
			d.out = append(d.out, f.endTag...)
		}
		return i
	}
	at := d.open(1)
	if i = d.message(f.msg, i); i >= 0 {
		d.close(at)
	}
	return i
}

// mark is a length that is still to be written.
type mark struct {
	content int // where in out what is measured begins
	width   int // how many bytes before it are reserved
}

// open reserves width bytes for a length.
func (d *decoder) open(width int) mark {
	if d.c.limits.Depth-d.depth > deep {
		width = deepWidth
	}
	for range width {
		d.out = append(d.out, 0)
	}
	return mark{len(d.out), width}
}

// close writes the length of what follows the mark, and moves that when the length has another width than was reserved.
// It returns the width.
func (d *decoder) close(m mark) int {
	n := len(d.out) - m.content
	if m.width == 1 && n < 0x80 {
		d.out[m.content-1] = byte(n)
		return 1
	}
	width := sizeVarint(uint64(n))
	start := m.content - m.width
	if m.width == deepWidth && width <= deepWidth && d.c.limits.Depth-d.depth > deep {
		for i := range deepWidth - 1 {
			d.out[start+i] = byte(n>>(7*i)) | 0x80
		}
		d.out[start+deepWidth-1] = byte(n >> (7 * (deepWidth - 1)))
		return width
	}
	if width != m.width {
		for len(d.out) < start+width+n {
			d.out = append(d.out, 0)
		}
		copy(d.out[start+width:], d.out[m.content:m.content+n])
		d.out = d.out[:start+width+n]
	}
	binary.PutUvarint(d.out[start:start+width], uint64(n))
	return width
}

// list reads a JSON array and writes its elements.
func (d *decoder) list(f *field, i int) int {
	in := d.in
	if i >= len(in) || in[i] != '[' {
		return d.failToken(i, "an array")
	}
	i = skipSpace(in, i+1)
	if i < len(in) && in[i] == ']' {
		return i + 1
	}
	if f.packed {
		return d.packedList(f, i)
	}
	paused := d.params.pause()
	width := 1
	for {
		start := len(d.out)
		d.out = append(d.out, f.tagBytes...)
		switch {
		case f.kind == kindMessage:
			at := d.open(width)
			if i = d.message(f.msg, i); i >= 0 {
				width = d.close(at)
			}
		case f.kind == kindGroup:
			i = d.message(f.msg, i)
			d.out = append(d.out, f.endTag...)
		default:
			from := len(d.out)
			if i = d.scalar(f, i); len(d.out) == from {
				d.out = d.out[:start]
			}
		}
		if i < 0 {
			return i
		}
		next, more := d.comma(i)
		if !more {
			d.params.resume(paused)
			return next
		}
		i = next
	}
}

// comma goes to the next element of an array, or behind its end.
func (d *decoder) comma(i int) (next int, more bool) {
	in := d.in
	if i < len(in) && in[i] <= ' ' {
		i = skipSpace(in, i)
	}
	if i < len(in) && in[i] == ',' {
		if i++; i < len(in) && in[i] <= ' ' {
			i = skipSpace(in, i)
		}
		return i, true
	}
	if i < len(in) && in[i] == ']' {
		return i + 1, false
	}
	return d.failToken(i, "a comma or the end of the array"), false
}

func (d *decoder) packedList(f *field, i int) int {
	start := len(d.out)
	d.out = append(d.out, f.tagBytes...)
	at := d.open(1)
	for {
		if i = d.scalar(f, i); i < 0 {
			return i
		}
		next, more := d.comma(i)
		i = next
		if !more {
			break
		}
	}
	if i >= 0 {
		if len(d.out) == at.content {
			d.out = d.out[:start] // each was an enum name that is not known
		} else {
			d.close(at)
		}
	}
	return i
}
