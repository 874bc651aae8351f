package codec

import (
	"bytes"
	"encoding/base64"
)

// appendBase64 reads a JSON string in either alphabet of base64, padded or not, and writes the length and the bytes.
func (d *decoder) appendBase64(i int) int {
	if i >= len(d.in) || d.in[i] != '"' {
		return d.failToken(i, "bytes")
	}
	text, end := d.string(i)
	if end < 0 {
		return end
	}
	body := text
	if n := len(body); n > 1 && n%4 == 0 && body[n-1] == '=' {
		body = body[:n-1]
		if body[n-2] == '=' {
			body = body[:n-2]
		}
	}
	if n := len(body); n%4 != 1 {
		start := len(d.out)
		size := n/4*3 + n%4*3/4
		d.out = appendVarint(d.out, uint64(size))
		var ok bool
		if d.out, ok = decodeBase64(d.out, body); ok {
			return end
		}
		d.out = d.out[:start]
	}
	// What is left is wrong, or has line ends in it, which encoding/base64 passes over.
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
	t := &base64Values
	var seen uint32
	for len(text) >= 4 {
		v := t[0][text[0]] | t[1][text[1]] | t[2][text[2]] | t[3][text[3]]
		seen |= v
		out = append(out, byte(v>>16), byte(v>>8), byte(v))
		text = text[4:]
	}
	switch len(text) {
	case 3:
		v := t[0][text[0]] | t[1][text[1]] | t[2][text[2]]
		seen |= v
		out = append(out, byte(v>>16), byte(v>>8))
	case 2:
		v := t[0][text[0]] | t[1][text[1]]
		seen |= v
		out = append(out, byte(v>>16))
	}
	return out, seen&badBase64 == 0 && seen&(onlyStd|onlyURL) != onlyStd|onlyURL
}

// base64Pairs is what each 12 bits are written as.
var base64Pairs = func() (t [1 << 12][2]byte) {
	for i := range t {
		t[i] = [2]byte{alphabet[i>>6], alphabet[i&63]}
	}
	return t
}()

// encodeBase64 appends b in the standard alphabet, padded.
func encodeBase64(out, b []byte) []byte {
	t := &base64Pairs
	for len(b) >= 3 {
		v := uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
		x, y := t[v>>12], t[v&0xfff]
		out = append(out, x[0], x[1], y[0], y[1])
		b = b[3:]
	}
	switch len(b) {
	case 2:
		v := uint32(b[0])<<16 | uint32(b[1])<<8
		x := t[v>>12]
		out = append(out, x[0], x[1], alphabet[v>>6&63], '=')
	case 1:
		x := t[uint32(b[0])<<4]
		out = append(out, x[0], x[1], '=', '=')
	}
	return out
}
