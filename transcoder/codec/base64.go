package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// appendBase64 reads a JSON string in either alphabet of base64, padded or not, and writes the length and the bytes.
func (d *decoder) appendBase64(i int) int {
	if i >= len(d.in) || d.in[i] != '"' {
		return d.failToken(i, "bytes")
	}
	rest := d.in[i+1:]
	if n := bytes.IndexByte(rest, '"'); n >= 0 {
		start := len(d.out)
		text := unpadded(rest[:n])
		d.out = appendVarint(d.out, uint64(len(text)/4*3+len(text)%4*3/4))
		var ok bool
		if d.out, ok = decodeBase64(d.out, text); ok {
			return i + n + 2
		}
		d.out = d.out[:start]
	}
	return d.looseBase64(i)
}

// unpadded cuts the padding off where there may be one.
func unpadded(text []byte) []byte {
	if n := len(text); n > 1 && n%4 == 0 && text[n-1] == '=' {
		if text[n-2] == '=' {
			return text[:n-2]
		}
		return text[:n-1]
	}
	return text
}

// looseBase64 is for what is wrong, has escapes, or has line ends in it, which encoding/base64 passes over.
func (d *decoder) looseBase64(i int) int {
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	enc := base64.StdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	v := make([]byte, enc.DecodedLen(len(text)))
	n, err := enc.Decode(v, text)
	if err != nil {
		return d.failToken(i, "bytes in base64")
	}
	d.out = appendVarint(d.out, uint64(n))
	d.out = append(d.out, v[:n]...)
	return end
}

const (
	alphabet    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	alphabetURL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// What a character stands for, shifted to its place among four. A bit of badBase64 is set for no character of base64;
// one of onlyStd and onlyURL for the characters that the alphabets do not share.
const (
	badBase64 = 1 << 31
	onlyStd   = 1 << 30
	onlyURL   = 1 << 29
)

var base64Values = func() (t [4][256]uint32) {
	for place := range t {
		for c := range t[place] {
			t[place][c] = badBase64
		}
		for v := range 64 {
			t[place][alphabet[v]] = uint32(v) << (18 - 6*place)
			t[place][alphabetURL[v]] = uint32(v) << (18 - 6*place)
		}
		t[place]['+'] |= onlyStd
		t[place]['/'] |= onlyStd
		t[place]['-'] |= onlyURL
		t[place]['_'] |= onlyURL
	}
	return t
}()

// decodeBase64 appends what text without padding stands for.
func decodeBase64(out, text []byte) ([]byte, bool) {
	const slack = 8 // so that whole words can be written
	n := len(out)
	out = slices.Grow(out, len(text)/4*3+slack)
	dst := out[n:cap(out)]
	t := &base64Values
	var seen uint32
	n = 0
	for len(text) >= 8 {
		x := t[0][text[0]] | t[1][text[1]] | t[2][text[2]] | t[3][text[3]]
		y := t[0][text[4]] | t[1][text[5]] | t[2][text[6]] | t[3][text[7]]
		seen |= x | y
		binary.BigEndian.PutUint64(dst[n:], uint64(x)<<40|uint64(y&0xffffff)<<16)
		n += 6
		text = text[8:]
	}
	out = out[:len(out)+n]
	if len(text) >= 4 {
		x := t[0][text[0]] | t[1][text[1]] | t[2][text[2]] | t[3][text[3]]
		seen |= x
		out = append(out, byte(x>>16), byte(x>>8), byte(x))
		text = text[4:]
	}
	switch len(text) {
	case 3:
		x := t[0][text[0]] | t[1][text[1]] | t[2][text[2]]
		seen |= x
		out = append(out, byte(x>>16), byte(x>>8))
	case 2:
		x := t[0][text[0]] | t[1][text[1]]
		seen |= x
		out = append(out, byte(x>>16))
	case 1:
		return out, false
	}
	return out, seen&badBase64 == 0 && seen&(onlyStd|onlyURL) != onlyStd|onlyURL
}

// base64Pairs is what each 12 bits are written as, as a little-endian word.
var base64Pairs = func() (t [1 << 12]uint16) {
	for i := range t {
		t[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return t
}()

// encodeBase64 appends b in the standard alphabet, padded.
func encodeBase64(out, b []byte) []byte {
	n := len(out)
	out = slices.Grow(out, (len(b)+2)/3*4)
	dst := out[n:cap(out)]
	t := &base64Pairs
	n = 0
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		w := uint64(t[v>>52]) | uint64(t[v>>40&0xfff])<<16 | uint64(t[v>>28&0xfff])<<32 | uint64(t[v>>16&0xfff])<<48
		binary.LittleEndian.PutUint64(dst[n:], w)
		n += 8
		b = b[6:]
	}
	out = out[:len(out)+n]
	for len(b) >= 3 {
		v := uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
		out = appendPair(appendPair(out, t[v>>12]), t[v&0xfff])
		b = b[3:]
	}
	switch len(b) {
	case 2:
		v := uint32(b[0])<<16 | uint32(b[1])<<8
		out = append(appendPair(out, t[v>>12]), alphabet[v>>6&63], '=')
	case 1:
		out = append(appendPair(out, t[uint32(b[0])<<4]), '=', '=')
	}
	return out
}

func appendPair(out []byte, pair uint16) []byte { return append(out, byte(pair), byte(pair>>8)) }
