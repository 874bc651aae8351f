package codec

import (
	"encoding/binary"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// varint reads a varint at i; the index is negative when there is none.
func varint(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) {
		if c := b[i]; c < 0x80 {
			return uint64(c), i + 1
		}
	}
	return longVarint(b, i)
}

// longVarint reads a varint of more than one byte. Up to eight bytes are read at once, and their sevens of bits moved together.
func longVarint(b []byte, i int) (uint64, int) {
	if i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		if last := ^w & highs; last != 0 {
			n := bits.TrailingZeros64(last)>>3 + 1
			w &= last ^ (last - 1)
			w = w&0x007f007f007f007f | w&0x7f007f007f007f00>>1
			w = w&0x00003fff00003fff | w&0x3fff00003fff0000>>2
			w = w&0x000000000fffffff | w&0x0fffffff00000000>>4
			return w, i + n
		}
	}
	v, n := protowire.ConsumeVarint(b[min(i, len(b)):])
	if n < 0 {
		return 0, -1
	}
	return v, i + n
}
