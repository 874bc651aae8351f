package codec

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// value writes one value, of which the tag has been read. It writes nothing for a default that has no presence.
func (e *encoder) value(out []byte, f *field, b []byte, i int) ([]byte, int, error) {
	switch f.kind {
	case kindString:
		s, i, err := payload(b, i)
		if err != nil || len(s) == 0 && !f.presence {
			return out, i, err
		}
		out, ok := appendString(out, s)
		if !ok {
			return out, i, errUTF8
		}
		return out, i, nil
	case kindBytes:
		s, i, err := payload(b, i)
		if err != nil || len(s) == 0 && !f.presence {
			return out, i, err
		}
		out = append(out, '"')
		out = encodeBase64(out, s)
		return append(out, '"'), i, nil
	case kindMessage, kindGroup:
		s, i, err := e.content(f, b, i)
		if err != nil {
			return out, i, err
		}
		out, err := e.message(out, f.msg, s)
		return out, i, err
	case kindFixed32, kindSfixed32, kindFloat:
		if len(b)-i < 4 {
			return out, i, errWire
		}
		v := binary.LittleEndian.Uint32(b[i:])
		if v != 0 || f.presence {
			out = appendFixed32(out, f.kind, v)
		}
		return out, i + 4, nil
	case kindFixed64, kindSfixed64, kindDouble:
		if len(b)-i < 8 {
			return out, i, errWire
		}
		v := binary.LittleEndian.Uint64(b[i:])
		if v != 0 || f.presence {
			out = appendFixed64(out, f, v)
		}
		return out, i + 8, nil
	}
	var v uint64
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		v = uint64(b[i])
		i++
	} else if v, i = longVarint(b, i); i < 0 {
		return out, i, errWire
	}
	return appendVarintValue(out, f, v), i, nil
}

// appendVarintValue writes a value that stands on the wire as a varint.
func appendVarintValue(out []byte, f *field, v uint64) []byte {
	switch f.kind {
	case kindInt64:
		return appendInt64(out, f, int64(v))
	case kindUint64:
		return appendUint64(out, f, v)
	case kindSint64:
		return appendInt64(out, f, protowire.DecodeZigZag(v))
	case kindBool:
		switch {
		case v != 0:
			return append(out, "true"...)
		case f.presence:
			return append(out, "false"...)
		}
		return out
	}
	if v = uint64(uint32(v)); v == 0 && !f.presence {
		return out
	}
	switch f.kind {
	case kindInt32:
		return appendInt(out, int64(int32(v)))
	case kindSint32:
		return appendInt(out, int64(int32(protowire.DecodeZigZag(v))))
	case kindUint32:
		return appendUint(out, v)
	}
	return f.enum.append(out, int32(v))
}

// appendInt64 writes a value of 64 bits, which most options make a string.
func appendInt64(out []byte, f *field, v int64) []byte {
	if v == 0 && !f.presence {
		return out
	}
	if !f.quoted {
		return appendInt(out, v)
	}
	negative, magnitude := 0, uint64(v)
	if v < 0 {
		negative, magnitude = 1, -uint64(v)
	}
	return appendQuoted(out, magnitude, negative)
}

func appendUint64(out []byte, f *field, v uint64) []byte {
	if v == 0 && !f.presence {
		return out
	}
	if !f.quoted {
		return appendUint(out, v)
	}
	return appendQuoted(out, v, 0)
}

func appendFixed32(out []byte, k kind, v uint32) []byte {
	switch k {
	case kindFloat:
		return appendFloat(out, float64(math.Float32frombits(v)), 32)
	case kindSfixed32:
		return appendInt(out, int64(int32(v)))
	}
	return appendUint(out, uint64(v))
}

func appendFixed64(out []byte, f *field, v uint64) []byte {
	switch f.kind {
	case kindDouble:
		return appendFloat(out, math.Float64frombits(v), 64)
	case kindSfixed64:
		return appendInt64(out, f, int64(v))
	}
	return appendUint64(out, f, v)
}

// list writes a repeated field, as long as its elements follow each other.
func (e *encoder) list(out []byte, f *field, b []byte, i int, tag uint64) ([]byte, int, error) {
	start := len(out)
	out = append(out, f.prefix...)
	open := len(out)
	var err error
	for {
		if tag == f.packedTag && tag != f.tag {
			out, i, err = e.packedList(out, f, b, i)
		} else {
			out = append(out, ',')
			out, i, err = e.value(out, f, b, i)
		}
		if err != nil {
			return out, i, err
		}
		next, after := varint(b, i)
		if i >= len(b) || after < 0 || next != f.tag && (next != f.packedTag || next == 0) {
			break
		}
		tag, i = next, after
	}
	if len(out) == open {
		return out[:start], i, nil
	}
	return closeWith(out, open, '[', ']'), i, nil
}

func (e *encoder) packedList(out []byte, f *field, b []byte, i int) ([]byte, int, error) {
	s, end, err := payload(b, i)
	if f.kind == kindDouble && len(s)%8 == 0 {
		for ; len(s) > 0; s = s[8:] {
			out = appendFloat(append(out, ','), math.Float64frombits(binary.LittleEndian.Uint64(s)), 64)
		}
	}
	for n := 0; err == nil && n < len(s); {
		out = append(out, ',')
		out, n, err = e.value(out, f, s, n)
	}
	return out, end, err
}
