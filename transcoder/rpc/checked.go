package rpc

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// checked is a request body as the backend gets it, of which each message must hold to the method's rules: a message is
// handed on once all of it is there and has been looked at.
type checked struct {
	io.ReadCloser
	call     *call
	encoding string // of compressed messages
	frame    []byte // the message at hand, with its prefix
	ready    []byte // what of it has not been handed on
	err      error  // what comes after it
}

func (b *checked) Read(p []byte) (int, error) {
	if len(b.ready) == 0 && b.err == nil {
		b.next()
	}
	if len(b.ready) == 0 {
		return 0, b.err
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// first reads the first message, where there can be only one: a call that it ends has not begun for the backend.
func (b *checked) first() error {
	if deadline, limited := b.call.ctx.Deadline(); limited {
		// The deadline is the context's, which ends no read.
		_ = b.call.rc.SetReadDeadline(deadline)
		defer func() { _ = b.call.rc.SetReadDeadline(time.Time{}) }()
	}
	b.next()
	_, ours := errors.AsType[*fault.Error](b.err)
	switch {
	case errors.Is(b.err, io.EOF):
		return nil
	case b.err == nil, ours, errors.Is(b.err, os.ErrDeadlineExceeded):
		return b.err
	}
	return bodyError(b.call.r, b.err)
}

var errNoEncoding = fault.New(fault.InvalidRequest, "a message is compressed, and no header says how")

// next reads a message and checks it.
func (b *checked) next() {
	if b.err = b.read(); b.err != nil {
		return
	}
	message := b.frame[PrefixSize:]
	if b.frame[0]&flagCompressed != 0 {
		if isIdentity(b.encoding) {
			b.err = errNoEncoding
		} else {
			// What cannot be decompressed cannot be checked.
			message, b.err = b.call.handler.plain(message, b.encoding)
		}
		if b.err != nil {
			b.call.fail(b.err)
			return
		}
	}
	// The backend's transport reads this body, in a goroutine of its own.
	if b.err = transcoder.Guard(func() error { return b.call.handler.options.Rules.Check(message) }); b.err != nil {
		b.call.fail(b.err)
		return
	}
	b.ready = b.frame
}

// read reads a message with its prefix into b.frame. What it claims to be long reserves nothing.
func (b *checked) read() error {
	if err := b.fill(0, PrefixSize); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(b.frame[1:])) // bounded by what is below, which knows the limit
	for have := PrefixSize; have < PrefixSize+size; {
		piece := min(PrefixSize+size-have, max(have, 64<<10))
		if err := b.fill(have, have+piece); err != nil {
			return err
		}
		have += piece
	}
	return nil
}

// fill reads b.frame[from:to]. A body may end before a message, and nowhere else.
func (b *checked) fill(from, to int) error {
	if cap(b.frame) < to {
		b.frame = append(make([]byte, 0, max(to, 2*cap(b.frame))), b.frame[:from]...)
	}
	b.frame = b.frame[:to]
	_, err := io.ReadFull(b.ReadCloser, b.frame[from:])
	if errors.Is(err, io.ErrUnexpectedEOF) || from > 0 && errors.Is(err, io.EOF) {
		b.call.fail(errCutShort)
		return errCutShort
	}
	return err
}
