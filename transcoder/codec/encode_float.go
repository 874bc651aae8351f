package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
)

// appendFloat writes the shortest digits that are read as the same value, in the form that protojson gives them.
func appendFloat(out []byte, v float64, size int) []byte {
	abs := math.Abs(v)
	switch {
	case (abs >= 1e-6 || size == 32 && float32(abs) >= 1e-6) && abs < 1e21:
		if size == 32 && abs < 1 && math.Float32bits(float32(abs))<<9 == 0 {
			// Of 2^-12, package strconv picks the other of two candidates that are equally near, and protojson with it.
			return strconv.AppendFloat(out, v, 'f', -1, size)
		}
		if v < 0 {
			out = append(out, '-')
		}
		return appendDecimal(out, abs, size)
	case math.IsNaN(v):
		return append(out, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(out, `"-Infinity"`...)
	case abs != 0:
		out = strconv.AppendFloat(out, v, 'e', -1, size)
		if n := len(out); n >= 4 && out[n-4] == 'e' && out[n-3] == '-' && out[n-2] == '0' {
			out[n-2] = out[n-1]
			out = out[:n-1]
		}
		return out
	case math.Signbit(v):
		out = append(out, '-')
	}
	return append(out, '0')
}

// appendDecimal writes a positive number without an exponent.
func appendDecimal(out []byte, v float64, size int) []byte {
	var d uint64
	var exp int
	ok := false
	if size == 64 {
		d, exp, ok = shortDecimal(v)
	}
	if !ok {
		d, exp = shortest(v, size)
	}
	for exp <= -4 && d%10000 == 0 {
		d /= 10000
		exp += 4
	}
	for exp < 0 && d%10 == 0 {
		d /= 10
		exp++
	}
	n := countDigits(d)
	switch {
	case exp >= 0:
		out = appendUint(out, d)
		for range exp {
			out = append(out, '0')
		}
		return out
	case n+exp <= 0:
		out = append(out, '0', '.')
		for range -(n + exp) {
			out = append(out, '0')
		}
		return appendUint(out, d)
	}
	out = room(out)
	start, whole := len(out), n+exp
	out = out[:start+n+1]
	digits := out[start:cap(out)]
	putDigits(digits[1:], d, n)
	if whole >= 8 {
		copy(digits[:whole], digits[1:])
		digits[whole] = '.'
		return out
	}
	// The digits before the point move over the free place before them.
	w, point := binary.LittleEndian.Uint64(digits[1:]), uint64(1)<<(8*whole)
	binary.LittleEndian.PutUint64(digits, w&(point-1)|'.'*point|w<<8&-(point<<8))
	return out
}

// shortDecimal tries whether v, which is positive, has at most six decimals and not more than 15 digits. Such a decimal is the only one of
// so few digits that is read as v, so that nothing shorter is.
func shortDecimal(v float64) (d uint64, exp int, ok bool) {
	if v >= 1e9 {
		return 0, 0, false
	}
	d = uint64(v*1e6 + 0.5)
	return d, -6, float64(d)/1e6 == v
}

// shortest returns the shortest d·10^exp that is read as v, which is positive and finite. It is Raffaello Giulietti's algorithm (The
// Schubfach way to render doubles, 2021): scale the number and the borders of what is rounded to it so that integers can be compared, and
// pick the shorter of the candidates within the borders.
func shortest(v float64, size int) (d uint64, exp int) {
	c, q, closer := parts(v, size)
	if -53 < q && q <= 0 && c&(1<<(-q&63)-1) == 0 {
		return c >> (-q & 63), 0 // a whole number
	}
	odd := c & 1
	left := 4*c - 2
	k := (q * 1262611) >> 22
	if closer {
		left++
		k = (q*1262611 - 524031) >> 22
	}
	h := q + (-k*1741647)>>19 + 1
	g := pow10[-k-minPow10]
	if -k < 0 || -k > 55 {
		// The power is inexact and has been rounded down; here it has to be rounded up.
		var carry uint64
		g[1], carry = bits.Add64(g[1], 1, 0)
		g[0] += carry
	}
	vl := roundToOdd(g, left<<h)
	mid := roundToOdd(g, 4*c<<h)
	vr := roundToOdd(g, (4*c+2)<<h)
	lower, upper := vl+odd, vr-odd
	// Which of the candidates it is cannot be foreseen, so that nothing here branches but for the few that are tiny.
	s := mid / 4
	t := s / 10
	shorter, overT := within(lower, upper, 40*t, 40)
	exact, overS := within(lower, upper, 4*s, 4)
	up := uint64(0)
	if mid+s&1 > 4*s+2 {
		up = 1
	}
	if exact {
		up = overS
	}
	if s < 10 {
		return s + up, k
	}
	d = s + up
	if shorter {
		d = t + overT
	}
	exp = k
	if shorter {
		exp++
	}
	return d, exp
}

// parts returns v, which is finite and not zero, as c·2^q, and whether the numbers below v are closer together than those above, as they
// are below a power of two.
func parts(v float64, size int) (c uint64, q int, closer bool) {
	var fraction, first uint64
	var biased, least int
	if size == 64 {
		b := math.Float64bits(v)
		fraction, first, biased, least = b&(1<<52-1), 1<<52, int(b>>52&0x7ff), -1074
	} else {
		b := uint64(math.Float32bits(float32(v)))
		fraction, first, biased, least = b&(1<<23-1), 1<<23, int(b>>23&0xff), -149
	}
	if biased == 0 {
		return fraction, least, false
	}
	return fraction | first, biased - 1 + least, fraction == 0 && biased > 1
}

// within reports whether one of x and x+step is from lower to upper, but not both, and as a number whether it is the second.
func within(lower, upper, x, step uint64) (one bool, second uint64) {
	var under uint64
	if lower <= x {
		under = 1
	}
	if x+step <= upper {
		second = 1
	}
	return under != second, second
}

// roundToOdd is the high half of the product of g and c, its last bit set when any of what is cut off is.
func roundToOdd(g [2]uint64, c uint64) uint64 {
	x, _ := bits.Mul64(g[1], c)
	hi, lo := bits.Mul64(g[0], c)
	lo, carry := bits.Add64(lo, x, 0)
	hi += carry
	if lo > 1 {
		hi |= 1
	}
	return hi
}
