package codec

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// string reads a JSON string. The result is part of the text, or, when there were escapes, of d.text, and then good until the next
// string is read.
func (d *decoder) string(i int) ([]byte, int) {
	if i >= len(d.in) || d.in[i] != '"' {
		return nil, d.failToken(i, "a string")
	}
	start := i + 1
	end, wide := scanPlain(d.in, start)
	if wide&highs != 0 && !utf8.Valid(d.in[start:end]) {
		return nil, d.fail(i, "invalid UTF-8 in a string")
	}
	if end >= len(d.in) {
		return nil, d.fail(end, "the JSON ends too early")
	}
	if d.in[end] == '\\' {
		var ok bool
		d.text, end, ok = d.unescape(append(d.text[:0], d.in[start:end]...), start, end)
		if !ok {
			return nil, -1
		}
		return d.text, end
	}
	if d.in[end] != '"' {
		return nil, d.fail(end, "control character in a string")
	}
	return d.in[start:end], end + 1
}

// appendString reads a JSON string and writes its length and bytes.
func (d *decoder) appendString(i int) int {
	in := d.in
	if i >= len(in) || in[i] != '"' {
		return d.failToken(i, "string")
	}
	start := i + 1
	if end := d.appendShort(start); end > 0 {
		return end
	}
	end, wide := scanPlain(in, start)
	if wide&highs != 0 && !utf8.Valid(in[start:end]) {
		return d.fail(i, "invalid UTF-8 in a string")
	}
	if end < len(in) && in[end] == '"' {
		d.out = appendVarint(d.out, uint64(end-start))
		d.out = append(d.out, in[start:end]...)
		return end + 1
	}
	if end >= len(in) || in[end] != '\\' {
		_, i := d.string(i)
		return i
	}
	// The escapes only make it shorter: the length has as many bytes as it can need, most often.
	at := d.open(sizeVarint(uint64(d.longest(start))))
	out, end, ok := d.unescape(append(d.out, in[start:end]...), start, end)
	d.out = out
	if !ok {
		return -1
	}
	d.close(at)
	return end
}

// short is how long a string may be that appendShort reads, so that its length is one byte.
const short = 64

// appendShort is appendString for a short string of ASCII without escapes, which begins at start; it is 0 for any other. It copies
// eight bytes at a time while it looks for the end.
func (d *decoder) appendShort(start int) int {
	in := d.in
	if len(in)-start < short+8 || cap(d.out)-len(d.out) < short+9 {
		return 0
	}
	begin := len(d.out)
	src, dst := in[start:start+short+8], d.out[begin:begin+short+9]
	for n := 0; n < short; n += 8 {
		w := binary.LittleEndian.Uint64(src[n:])
		binary.LittleEndian.PutUint64(dst[n+1:], w)
		s := special(w)
		if s == 0 {
			if w&highs != 0 {
				return 0
			}
			continue
		}
		size := n + bits.TrailingZeros64(s)>>3
		if src[size] != '"' || w&(s&-s-1)&highs != 0 {
			return 0
		}
		dst[0] = byte(size)
		d.out = d.out[:begin+1+size]
		return start + size + 1
	}
	return 0
}

// longest is how long the string at start may be: up to the next quote, which is seldom an escaped one.
func (d *decoder) longest(start int) int { return max(bytes.IndexByte(d.in[start:], '"'), 0) }

// unescape appends the rest of the string that began at start, from the escape at i on.
func (d *decoder) unescape(out []byte, start, i int) ([]byte, int, bool) {
	in := d.in
	for {
		if i+1 >= len(in) {
			d.fail(len(in), "the JSON ends too early")
			return out, -1, false
		}
		switch c := in[i+1]; c {
		case '"', '\\', '/':
			out = append(out, c)
			i += 2
		case 'b':
			out = append(out, '\b')
			i += 2
		case 'f':
			out = append(out, '\f')
			i += 2
		case 'n':
			out = append(out, '\n')
			i += 2
		case 'r':
			out = append(out, '\r')
			i += 2
		case 't':
			out = append(out, '\t')
			i += 2
		case 'u':
			r := hex4(in, i)
			n := 6
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, hex4(in, i+6))
				n = 12
				if r == utf8.RuneError {
					r = -1
				}
			}
			if r < 0 {
				d.fail(i, "invalid escape in a string")
				return out, -1, false
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			d.fail(i, "invalid escape in a string")
			return out, -1, false
		}
		begin := i
		var wide uint64
		out, i, wide = appendPlain(out, in, i)
		if wide&highs != 0 && !utf8.Valid(in[begin:i]) {
			d.fail(start-1, "invalid UTF-8 in a string")
			return out, -1, false
		}
		switch {
		case i >= len(in):
			d.fail(i, "the JSON ends too early")
			return out, -1, false
		case in[i] == '"':
			return out, i + 1, true
		case in[i] != '\\':
			d.fail(i, "control character in a string")
			return out, -1, false
		}
	}
}

// appendPlain appends what scanPlain passes over. It copies while it looks, as long as there is room.
func appendPlain(out, in []byte, i int) ([]byte, int, uint64) {
	var wide uint64
	o := len(out)
	dst := out[:cap(out)]
	for i+8 <= len(in) && o+8 <= len(dst) {
		w := binary.LittleEndian.Uint64(in[i:])
		binary.LittleEndian.PutUint64(dst[o:], w)
		if s := special(w); s != 0 {
			n := bits.TrailingZeros64(s) >> 3
			return dst[:o+n], i + n, wide | w&(s&-s-1)
		}
		wide |= w
		i += 8
		o += 8
	}
	end, rest := scanPlain(in, i)
	return append(dst[:o], in[i:end]...), end, wide | rest
}

// hex4 returns the number that \uXXXX at i stands for, -1 when there is none.
func hex4(in []byte, i int) rune {
	if i+6 > len(in) || in[i] != '\\' || in[i+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range in[i+2 : i+6] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
