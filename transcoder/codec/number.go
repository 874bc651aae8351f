package codec

import (
	"math"
	"strconv"
)

// parseSigned is the whole number that a JSON number is, if it is one and fits: "1e2" and "5.0" are whole.
func parseSigned(text []byte, size int) (int64, bool) {
	v, neg, ok := wholeNumber(text)
	limit := uint64(1) << (size - 1)
	switch {
	case !ok:
		return 0, false
	case neg:
		return -int64(v), v <= limit
	}
	return int64(v), v < limit
}

// parseUnsigned is parseSigned for kinds without a sign. Minus zero is zero.
func parseUnsigned(text []byte, size int) (uint64, bool) {
	v, neg, ok := wholeNumber(text)
	if !ok || neg && v != 0 {
		return 0, false
	}
	return v, size == 64 || v <= math.MaxUint32
}

// maxDigits is how many digits the largest uint64 has.
const maxDigits = 20

// wholeNumber returns the magnitude and the sign of a JSON number that scanNumber has found.
func wholeNumber(text []byte) (v uint64, neg, ok bool) {
	if text[0] == '-' {
		neg = true
		text = text[1:]
	}
	whole := text[:scanDigits(text, 0)]
	text = text[len(whole):]
	if len(whole) == 1 && whole[0] == '0' {
		whole = nil
	}
	var fraction []byte
	if len(text) > 0 && text[0] == '.' {
		fraction = text[1:scanDigits(text, 1)]
		text = text[1+len(fraction):]
		for len(fraction) > 0 && fraction[len(fraction)-1] == '0' {
			fraction = fraction[:len(fraction)-1]
		}
	}
	if len(whole)+len(fraction) == 0 {
		return 0, neg, true
	}
	exp := 0
	if len(text) > 1 { // more than the letter e
		n, err := strconv.ParseInt(string(text[1:]), 10, 32)
		if err != nil {
			return 0, neg, false
		}
		exp = int(n)
	}
	switch {
	case exp >= 0 && (len(fraction) > exp || len(whole)+exp > maxDigits):
		return 0, neg, false
	case exp < 0:
		keep := len(whole) + exp
		if len(fraction) > 0 || keep <= 0 {
			return 0, neg, false
		}
		for _, c := range whole[keep:] {
			if c != '0' {
				return 0, neg, false
			}
		}
		whole = whole[:keep]
	}
	v, ok = addDigits(0, whole)
	if ok {
		v, ok = addDigits(v, fraction)
	}
	for n := exp - len(fraction); n > 0 && ok; n-- {
		v, ok = addDigit(v, 0)
	}
	return v, neg, ok
}

func addDigits(v uint64, digits []byte) (uint64, bool) {
	ok := true
	for _, c := range digits {
		if v, ok = addDigit(v, uint64(c-'0')); !ok {
			break
		}
	}
	return v, ok
}

func addDigit(v, digit uint64) (uint64, bool) {
	if v > (math.MaxUint64-digit)/10 {
		return 0, false
	}
	return v*10 + digit, true
}
