package rpc

import (
	"encoding/base64"
	"errors"
	"io"

	"github.com/crossgate/crossgate/fault"
)

// base64Body decodes a body in base64 that may have padding wherever a client had to flush.
type base64Body struct {
	body io.Reader
	fail func(error) // told when the body is no base64
	in   []byte      // read and not decoded: less than four characters
	out  []byte      // decoded and not handed on
	room [4 << 10]byte
	text [4 << 10]byte
	err  error
}

func newBase64Body(body io.Reader, fail func(error)) *base64Body {
	return &base64Body{body: body, fail: fail}
}

func (b *base64Body) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

func (b *base64Body) fill() {
	n := copy(b.text[:], b.in)
	m, err := b.body.Read(b.text[n:])
	text := b.text[:n+m]
	whole := len(text) &^ 3
	b.in = text[whole:]
	b.err = err
	if b.out, err = appendDecoded(b.room[:0], text[:whole]); err == nil && (!errors.Is(b.err, io.EOF) || len(b.in) == 0) {
		return
	}
	bad := fault.New(fault.InvalidRequest, "the body is not in base64")
	b.fail(bad)
	b.out, b.err = nil, bad
}

// appendDecoded decodes groups of four characters, of which any may end with padding.
func appendDecoded(dst, text []byte) ([]byte, error) {
	for len(text) > 0 {
		end := len(text)
		for i := 3; i < len(text); i += 4 {
			if text[i] == '=' {
				end = i + 1
				break
			}
		}
		var err error
		if dst, err = base64.StdEncoding.AppendDecode(dst, text[:end]); err != nil {
			return nil, err
		}
		text = text[end:]
	}
	return dst, nil
}
