package codec

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// disorder returns the fields of a message in another order, some of them twice, and some messages in pieces.
func (r *filler) disorder(wire []byte, md protoreflect.MessageDescriptor) []byte {
	var fields [][]byte
	for b := wire; len(b) > 0; {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return wire
		}
		f := b[:n]
		b = b[n:]
		fd := md.Fields().ByNumber(num)
		if typ == protowire.BytesType && fd != nil && fd.Message() != nil {
			_, _, t := protowire.ConsumeTag(f)
			v, _ := protowire.ConsumeBytes(f[t:])
			f = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), r.disorder(v, fd.Message()))
		}
		fields = append(fields, f)
		if r.IntN(4) == 0 {
			fields = append(fields, f)
		}
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	return bytes.Join(fields, nil)
}

// damage changes some bytes, or puts in what is seldom on the wire.
func (r *filler) damage(b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return []byte{byte(r.IntN(256))}
		}
		switch i := r.IntN(len(b)); r.IntN(5) {
		case 0:
			b[i] = byte(r.IntN(256))
		case 1:
			b[i] ^= 1 << r.IntN(8)
		case 2:
			b = append(b[:i], b[i+1:]...)
		case 3:
			b = append(b, b[i:]...)
		case 4:
			b = slices.Insert(b, i, wirePieces[r.IntN(len(wirePieces))]...)
		}
	}
	return b
}

// damageText changes a text so that it often stays JSON.
func (r *filler) damageText(b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(2) {
		i := r.IntN(len(b) + 1)
		j := min(len(b), i+r.IntN(4))
		p := textPieces[r.IntN(len(textPieces))]
		// Half of the time a whole value is replaced.
		if k := bytes.IndexByte(b[i:], ':'); k >= 0 && r.IntN(2) == 0 {
			i += k + 1
			j = i + max(bytes.IndexAny(b[i:], ",}]"), 0)
		}
		b = append(append(append([]byte{}, b[:i]...), p...), b[j:]...)
	}
	return b
}

// wirePieces are fields and values that damaged wire bytes have where they had something else.
var wirePieces = [][]byte{
	{0}, {0x80}, {0x80, 0}, {0x80, 0x80, 0}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, {0x80, 0x80, 0x80, 0x80, 0x10},
	{8, 0}, {8, 1}, {8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {9, 1, 2, 3, 4, 5, 6, 7, 8}, {0x0a, 0}, {0x0a, 1, 0}, {0x0a, 2, 8, 1}, {0x0a, 2, 0xc3, 0x28}, {0x0b, 0x0c},
	{0x0b, 8, 1, 0x13, 0x14, 0x0c}, {0x0c}, {0x0d, 1, 2, 3, 4}, {0x0e}, {0x0f}, {0x12, 0}, {0x12, 2, 0x10, 0}, {0x10, 0}, {0x18, 5}, {0x1a, 1, 'a'}, {0xda, 1, 0}, {0xda, 1, 4, 0xda, 1, 1, 8},
	{0xfa, 1, 2, 1, 2}, {0xf8, 1, 3}, {0xc2, 3, 4, 8, 1, 16, 2}, {0xc2, 3, 2, 16, 2}, {0xc2, 3, 0}, {0xaa, 4, 1, 0}, {0xf8, 6, 7}, {0xf2, 6, 1, 'x'}, {0xf8, 0xff, 0xff, 0xff, 0x0f, 1},
	{0xf8, 0xff, 0xff, 0xff, 0x1f, 1}, {0xc3, 0xc, 0xc4, 0xc}, {0xcb, 0xc, 0xd0, 0xc, 1, 0xcc, 0xc},
}

// textPieces are what a damaged text has in places where it had something else.
var textPieces = []string{
	"null", "true", "false", "nul", "{}", "[]", "[1]", `["a"]`, `{"a":1}`, `[[]]`, `[null]`, "{", "}", "[", "]", ",", ":", `"`, `\`, " ", "\n\t\r", "\xff", "\x00", "-", ".", "e",
	"0", "1", "-1", "-0", "01", "1e2", "1E+2", "1e-2", "100e-2", "1.5", "5.0", "0.0", "-0.0", "1e", "1.", ".5", "+1", "0x1", "1_0", "NaN", "Infinity",
	"2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
	"-9223372036854775809", "18446744073709551615", "18446744073709551616", "1e19", "1e20", "123456789012345678901234567890", "0.1e1", "12.50e1", "1e400", "1e-400",
	"3.4028235e38", "3.4028236e38", "1.7976931348623157e308", "1.7976931348623159e308", "5e-324", "2.2250738585072011e-308", "9007199254740993", "0.30000000000000004",
	`""`, `"1"`, `"-1"`, `"01"`, `" 1"`, `"1 "`, `"1e2"`, `"1.0"`, `"1e"`, `"\u0031"`, `"NaN"`, `"Infinity"`, `"-Infinity"`, `"inf"`, `"true"`, `"x"`, `"\ud83d\ude00"`, `"\ud83d"`,
	`"\ude00\ud83d"`, `"\x"`, `"\u12"`, `"a\nb\"\\\/\b\f\r\t"`, "\"a\nb\"", `"é日本"`, "\"\xc3\"", "\"\xed\xa0\x80\"", `"YQ=="`, `"YQ"`, `"YWI="`, `"-_-_"`, `"+/+/"`, `"-_+/"`, `"YQ="`, `"Y"`, `"Y Q="`,
	`"YQ==\n"`, `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05.123456789+23:59"`, `"2026-02-30T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:60Z"`,
	`"2026-1-2T3:4:5Z"`, `"2026-01-02t03:04:05z"`, `"2026-01-02T03:04:05,5Z"`, `"2026-01-02T03:04:05.1234567891Z"`, `"1.5s"`, `"-0.000000001s"`, `"+1s"`, `"1.s"`, `".5s"`, `"315576000001s"`, `"1m"`, `"s"`,
	`"a,b.cD"`, `"a_b"`, `"a,"`, `"a..b"`, `" a"`, `"aB,Cd"`, `"FOO"`, `"NULL_VALUE"`, `"a":1,`, `"optionalInt32":1,`, `"optional_int32":1,`, `"oneofUint32":1,`, `"oneofString":"",`,
	`"@type":"",`, `"@type":"x/google.protobuf.Duration",`, `"@type":"google.protobuf.Empty"`, `"value":"1s",`, `"value":{}`, `"[protobuf_test_messages.proto2.extension_int32]":1,`,
}
