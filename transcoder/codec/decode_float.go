package codec

import (
	"math"
	"math/bits"
	"strconv"
)

//go:generate sh -c "go run ./internal/pow10 > pow10_table.go"

// parseFloatAt reads the JSON number at i; the end is -1 when there is none or it is out of range.
func parseFloatAt(b []byte, i, size int) (float64, int) {
	m, exp, neg, end := decimal(b, i)
	if end >= 0 {
		v, ok := nearest(m, exp)
		if ok && size == 32 {
			v, ok = single(v)
		}
		if ok {
			if neg {
				v = -v
			}
			return v, end
		}
	}
	if end < 0 {
		if end = scanNumber(b, i); end < 0 {
			return 0, -1
		}
	}
	v, err := strconv.ParseFloat(string(b[i:end]), size)
	if err != nil {
		return 0, -1
	}
	return v, end
}

// decimal reads a JSON number of up to 19 digits as m·10^exp. The end is -1 for any other, wrong or right.
func decimal(b []byte, i int) (m uint64, exp int, neg bool, end int) {
	if i < len(b) && b[i] == '-' {
		neg = true
		i++
	}
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - start
	if digits == 0 || digits > 1 && b[start] == '0' {
		return 0, 0, false, -1
	}
	if i < len(b) && b[i] == '.' {
		i++
		start = i
		for i < len(b) && b[i]-'0' <= 9 {
			m = m*10 + uint64(b[i]-'0')
			i++
		}
		if exp = start - i; exp == 0 {
			return 0, 0, false, -1
		}
		digits -= exp
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		minus := false
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			minus = b[i] == '-'
			i++
		}
		start = i
		n := 0
		for i < len(b) && b[i]-'0' <= 9 {
			n = n*10 + int(b[i]-'0')
			i++
		}
		if i == start || i-start > 4 {
			return 0, 0, false, -1
		}
		if minus {
			n = -n
		}
		exp += n
	}
	if digits > 19 || i < len(b) && inWord[b[i]] {
		return 0, 0, false, -1
	}
	return m, exp, neg, i
}

var tens = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// single returns v, the float64 nearest to a number, as the float32 nearest to that number, which it is unless v is half way between two.
// It fails there and for what is subnormal or out of range.
func single(v float64) (float64, bool) {
	const half = 1 << 28 // of the bits that a float32 lacks
	w := float64(float32(v))
	return w, v == 0 || math.Float64bits(v)&(2*half-1) != half && w >= 0x1p-126 && w <= math.MaxFloat32
}

// nearest returns the float64 nearest to m·10^exp, and fails where it takes more than 128 bits to tell which that is.
func nearest(m uint64, exp int) (float64, bool) {
	switch {
	case m == 0:
		return 0, true
	case m <= 1<<53 && 0 <= exp && exp < len(tens):
		return float64(m) * tens[exp], true // exact factors: the product is rounded once
	case m <= 1<<53 && -len(tens) < exp && exp < 0:
		return float64(m) / tens[-exp], true
	case exp < minPow10 || exp > maxPow10:
		return 0, false
	}
	// The algorithm of Eisel and Lemire: the product with the first 64, or else 128, bits of the power of ten decides,
	// unless what was cut off could carry into the bits that are kept.
	shift := bits.LeadingZeros64(m)
	m <<= shift
	p := &pow10[exp-minPow10]
	hi, lo := bits.Mul64(m, p[0])
	const below = 1<<9 - 1 // what is not kept of the high half
	if hi&below == below && lo+m < m {
		hi2, lo2 := bits.Mul64(m, p[1])
		var carry uint64
		lo, carry = bits.Add64(lo, hi2, 0)
		hi += carry
		if hi&below == below && lo+1 == 0 && lo2+m < m {
			return 0, false
		}
	}
	top := hi >> 63
	mantissa := hi >> (top + 9)
	if lo == 0 && hi&below == 0 && mantissa&3 == 1 {
		return 0, false // half way, as far as can be seen
	}
	mantissa = (mantissa + mantissa&1) >> 1
	exp2 := (217706*exp)>>16 + 1023 + 63 - shift + int(top)
	if mantissa>>53 != 0 {
		mantissa >>= 1
		exp2++
	}
	if exp2 < 1 || exp2 >= 0x7ff {
		return 0, false // subnormal or out of range
	}
	return math.Float64frombits(uint64(exp2)<<52 | mantissa&(1<<52-1)), true
}
