package rpc

import (
	"bytes"
	"testing"
	"testing/iotest"

	"github.com/crossgate/crossgate/fault"
)

func message(flags byte, n int) []byte {
	return append(appendPrefix(nil, flags, n), make([]byte, n)...)
}

func TestMessagesAreFollowedInPiecesOfAnySize(t *testing.T) {
	for _, c := range []struct {
		name  string
		body  []byte
		bad   *fault.Error
		whole bool
		count int
	}{
		{"nothing", nil, nil, true, 0},
		{"as large as may be", bytes.Repeat(message(0, 10), 3), nil, true, 3},
		{"empty ones", bytes.Repeat(message(0, 0), 3), nil, true, 3},
		{"a compressed one", message(flagCompressed, 3), nil, true, 1},
		{"one byte too many", message(0, 11), errMessageTooLarge, false, 1},
		{"the second too large", append(message(0, 3), message(0, 11)...), errMessageTooLarge, false, 2},
		{"a length that is a lie", []byte{0, 0xff, 0xff, 0xff, 0xff}, errMessageTooLarge, false, 1},
		{"a flag of another protocol", message(flagTrailers, 1), errUnknownFlags, false, 1},
		{"cut short within a message", message(0, 5)[:7], nil, false, 1},
		{"cut short within a prefix", message(0, 5)[:3], nil, false, 0},
	} {
		for _, piece := range []int{1, 3, 1 << 20} {
			f := frames{max: 10, known: flagCompressed}
			var bad *fault.Error
			for rest := c.body; len(rest) > 0 && bad == nil; rest = rest[min(piece, len(rest)):] {
				bad = f.scan(rest[:min(piece, len(rest))])
			}
			if bad != c.bad {
				t.Errorf("%s, %d bytes a piece: %v, want %v", c.name, piece, bad, c.bad)
			}
			if bad == nil && (f.whole() != c.whole || f.count != c.count) {
				t.Errorf("%s, %d bytes a piece: whole %v of %d, want %v of %d", c.name, piece, f.whole(), f.count, c.whole, c.count)
			}
		}
	}
}

func TestABodyInBase64MayHavePaddingAnywhere(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		bad              bool
	}{
		{name: "nothing"},
		{name: "one piece", text: "aGVsbG8=", want: "hello"},
		{name: "two pieces with padding", text: "aGVsbG8=IHdvcmxk", want: "hello world"},
		{name: "three short ones", text: "YQ==Yg==Yw==", want: "abc"},
		{name: "no padding where it belongs", text: "aGVsbG8", bad: true},
		{name: "other characters", text: "aGV*", bad: true},
		{name: "base64url", text: "-_-_", bad: true},
		{name: "padding where it does not belong", text: "a=Vs", bad: true},
	} {
		for _, oneByte := range []bool{false, true} {
			var given error
			body := newBase64Body(bytes.NewReader([]byte(c.text)), func(s error) { given = s })
			if oneByte {
				body = newBase64Body(iotest.OneByteReader(bytes.NewReader([]byte(c.text))), func(s error) { given = s })
			}
			var got bytes.Buffer
			_, err := got.ReadFrom(body)
			if c.bad != (err != nil) || c.bad != (given != nil) || !c.bad && got.String() != c.want {
				t.Errorf("%s: %q, %v, told %v", c.name, got.String(), err, given)
			}
		}
	}
}
