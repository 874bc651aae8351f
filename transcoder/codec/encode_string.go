package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// appendString writes s as a JSON string; it fails where s is not UTF-8. It copies eight bytes at a time while it looks for what needs
// an escape, so that a string is read once.
func appendString(out, s []byte) ([]byte, bool) {
	const slack = 24 // two quotes, an escape, and what a word is written beyond its end
	out = slices.Grow(out, len(s)+slack)
	o, i := len(out), 0
	dst := out[:cap(out)]
	dst[o] = '"'
	o++
	var wide uint64
	for {
		for len(s)-i >= 8 {
			w := binary.LittleEndian.Uint64(s[i:])
			binary.LittleEndian.PutUint64(dst[o:], w)
			if x := special(w); x != 0 {
				n := bits.TrailingZeros64(x) >> 3
				wide |= w & (x&-x - 1)
				i += n
				o += n
				break
			}
			wide |= w
			i += 8
			o += 8
		}
		for i < len(s) && plainByte[s[i]] {
			wide |= uint64(s[i])
			dst[o] = s[i]
			i++
			o++
		}
		if i == len(s) {
			break
		}
		c := s[i]
		i++
		binary.LittleEndian.PutUint64(dst[o:], escapes[c].text)
		o += escapes[c].size
		if len(dst)-o < len(s)-i+slack {
			out = slices.Grow(dst[:o], len(s)-i+slack)
			dst = out[:cap(out)]
		}
	}
	if wide&highs != 0 && !utf8.Valid(s) {
		return out, false
	}
	dst[o] = '"'
	return dst[:o+1], true
}

// plainByte says which bytes a JSON string may hold as they are.
var plainByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// escape is what stands for a byte, the first character in the lowest byte.
type escape struct {
	text uint64
	size int
}

var escapes = func() (t [256]escape) {
	set := func(c byte, s string) {
		var b [8]byte
		copy(b[:], s)
		t[c] = escape{binary.LittleEndian.Uint64(b[:]), len(s)}
	}
	const hex = "0123456789abcdef"
	for c := range byte(' ') {
		set(c, "\\u00"+string([]byte{hex[c>>4], hex[c&15]}))
	}
	set('"', `\"`)
	set('\\', `\\`)
	set('\b', `\b`)
	set('\f', `\f`)
	set('\n', `\n`)
	set('\r', `\r`)
	set('\t', `\t`)
	return t
}()
