package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

var powers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// countDigits is how many decimal digits v has; that of zero is one.
func countDigits(v uint64) int {
	n := bits.Len64(v|1) * 1233 >> 12
	if v >= powers[n] {
		n++
	}
	return max(n, 1)
}

// eightDigits returns v, which is less than 1e8, as eight decimal digits, the first in the lowest byte. It divides in parallel: two
// numbers of four digits, then four of two, then eight of one.
func eightDigits(v uint32) uint64 {
	const (
		hundredths = 0x0000007f_0000007f
		tenths     = 0x000f000f_000f000f
	)
	x := uint64(v/10000) | uint64(v%10000)<<32
	q := x * 10486 >> 20 & hundredths
	x = q | (x-100*q)<<16
	q = x * 103 >> 10 & tenths
	return q | (x-10*q)<<8 | ones*'0'
}

// room makes place for the digits of any number and what whole words need beyond them.
func room(out []byte) []byte {
	if cap(out)-len(out) < 32 {
		return slices.Grow(out, 32)
	}
	return out
}

// putDigits writes the n digits of v to dst, which has 8 bytes more than that.
func putDigits(dst []byte, v uint64, n int) {
	if v < 1e8 {
		binary.LittleEndian.PutUint64(dst, eightDigits(uint32(v))>>(8*(8-n)&63))
		return
	}
	high, low := v/1e8, uint32(v%1e8)
	n -= 8
	if high < 1e8 {
		binary.LittleEndian.PutUint64(dst, eightDigits(uint32(high))>>(8*(8-n)&63))
	} else {
		top, middle := high/1e8, uint32(high%1e8)
		n -= 8
		if top < 10 {
			dst[0] = byte('0' + top)
		} else {
			binary.LittleEndian.PutUint64(dst, eightDigits(uint32(top))>>(8*(8-n)&63))
		}
		binary.LittleEndian.PutUint64(dst[n:], eightDigits(middle))
		n += 8
	}
	binary.LittleEndian.PutUint64(dst[n:], eightDigits(low))
}

// appendUint writes v in decimal.
func appendUint(out []byte, v uint64) []byte {
	if v < 10 {
		return append(out, byte('0'+v))
	}
	n := countDigits(v)
	out = room(out)
	start := len(out)
	putDigits(out[start:cap(out)], v, n)
	return out[:start+n]
}

func appendInt(out []byte, v int64) []byte {
	if v < 0 {
		return appendUint(append(out, '-'), -uint64(v))
	}
	return appendUint(out, uint64(v))
}

// appendQuoted writes v between quotes, with a sign when negative is 1 and without one when it is 0: the sign of what comes cannot be foreseen.
func appendQuoted(out []byte, v uint64, negative int) []byte {
	out = room(out)
	start, n := len(out), countDigits(v)
	dst := out[start:cap(out)]
	dst[0], dst[1] = '"', '-'
	end := 1 + negative + n
	putDigits(dst[1+negative:], v, n)
	dst[end] = '"'
	return out[:start+end+1]
}
