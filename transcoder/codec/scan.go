package codec

import (
	"encoding/binary"
	"math/bits"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has a bit in each byte of w that a JSON string cannot hold as it is: a quote, a backslash, a control character.
// Bits above the lowest one may be wrong. To turn one bit over makes a quote a byte below 0x21, and of the other bytes only control characters are.
func special(w uint64) uint64 {
	return (((w ^ ones*2) - ones*0x21) | ((w ^ ones*'\\') - ones)) &^ w & highs
}

// scanPlain returns the index of the first byte of b at or after i that a JSON string cannot hold as it is, or len(b), and a
// word that has a bit of highs when there is something other than ASCII before it.
func scanPlain(b []byte, i int) (end int, wide uint64) {
	for i+32 <= len(b) {
		w0, w1 := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		w2, w3 := binary.LittleEndian.Uint64(b[i+16:]), binary.LittleEndian.Uint64(b[i+24:])
		if special(w0)|special(w1)|special(w2)|special(w3) != 0 {
			break
		}
		wide |= w0 | w1 | w2 | w3
		i += 32
	}
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		if s := special(w); s != 0 {
			low := s & -s
			return i + bits.TrailingZeros64(s)>>3, wide | w&(low-1)
		}
		wide |= w
		i += 8
	}
	for i < len(b) {
		c := b[i]
		if c < ' ' || c == '"' || c == '\\' {
			break
		}
		wide |= uint64(c)
		i++
	}
	return i, wide
}

// skipSpace returns the index of the first byte of b at or after i that is no JSON whitespace.
func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// isDelimiter reports whether c ends a literal or a number.
func isDelimiter(c byte) bool { return !inWord[c] }

var inWord = func() (t [256]bool) {
	for _, c := range []byte("-+._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// literal reports whether the word s stands in b at i.
func literal(b []byte, i int, s string) bool {
	end := i + len(s)
	return end <= len(b) && string(b[i:end]) == s && (end == len(b) || isDelimiter(b[end]))
}

// scanNumber returns where the JSON number at i ends, -1 when there is none. Like protojson it takes an exponent without
// digits, which only whole numbers may then have.
func scanNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return -1
	case b[i] == '0':
		i++
	case '1' <= b[i] && b[i] <= '9':
		i = scanDigits(b, i+1)
	default:
		return -1
	}
	if i+1 < len(b) && b[i] == '.' && isDigit(b[i+1]) {
		i = scanDigits(b, i+2)
	}
	if i+1 < len(b) && b[i]|0x20 == 'e' {
		i++
		if b[i] == '+' || b[i] == '-' {
			i++
			if i == len(b) {
				return -1
			}
		}
		i = scanDigits(b, i)
	}
	if i < len(b) && !isDelimiter(b[i]) {
		return -1
	}
	return i
}

func scanDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }
