package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func grpcFrame(n int) []byte {
	b := make([]byte, 5+n)
	binary.BigEndian.PutUint32(b[1:], uint32(n))
	return b
}

func TestFrameLimiter(t *testing.T) {
	for _, c := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"empty", nil, true},
		{"as large as may be", bytes.Repeat(grpcFrame(10), 3), true},
		{"empty messages", bytes.Repeat(grpcFrame(0), 3), true},
		{"one byte too many", grpcFrame(11), false},
		{"the second too large", append(grpcFrame(3), grpcFrame(11)...), false},
		{"a length that is a lie", []byte{0, 0xff, 0xff, 0xff, 0xff}, false},
		{"cut short", grpcFrame(5)[:7], true},
	} {
		for pieces, reader := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			t.Run(c.name+", "+pieces, func(t *testing.T) {
				told := false
				f := &frameLimiter{body: io.NopCloser(reader(bytes.NewReader(c.body))), max: 10, over: func() { told = true }}
				got, err := io.ReadAll(f)
				if c.ok && (err != nil || !bytes.Equal(got, c.body)) {
					t.Errorf("%v, %v", got, err)
				}
				if !c.ok && (!errors.Is(err, errMessageTooLarge) || !told || !f.tooLarge()) {
					t.Errorf("error %v, told %v", err, told)
				}
			})
		}
	}
}
