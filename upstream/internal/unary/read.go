package unary

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/http"

	"golang.org/x/net/http2/hpack"

	"github.com/crossgate/crossgate/fault"
)

// breach is the peer's breach of the protocol, which ends the connection.
func breach(format string, args ...any) error {
	return fmt.Errorf("the backend broke HTTP/2: "+format, args...)
}

// readFrame reads one frame and does what it says.
func (c *Conn) readFrame(in *bufio.Reader) error {
	header, err := in.Peek(frameHeaderSize)
	if err != nil {
		return err
	}
	length := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
	if length > defaultMaxFrame {
		return breach("a frame of %d bytes", length)
	}
	frame, err := in.Peek(frameHeaderSize + length)
	if err != nil {
		return err
	}
	if err := c.frame(frame[3], frame[4], uint32At(frame[5:]), frame[frameHeaderSize:]); err != nil {
		return err
	}
	if _, err = in.Discard(frameHeaderSize + length); err == nil && in.Buffered() == 0 {
		c.flushFromReader()
	}
	return err
}

func (c *Conn) frame(kind, flags byte, id uint32, payload []byte) error {
	if !c.greeted && (kind != frameSettings || flags&flagAck != 0) {
		return breach("it does not begin with its settings")
	}
	if c.partial != 0 && (kind != frameContinuation || id != c.partial) {
		return breach("another frame inside a header block")
	}
	c.mu.Lock()
	var err error
	switch kind {
	case frameData:
		err = c.onData(flags, id, payload)
	case frameHeaders:
		err = c.onHeaders(flags, id, payload)
	case frameContinuation:
		err = c.onContinuation(flags, payload)
	case frameReset:
		err = c.onReset(id, payload)
	case frameSettings:
		err = c.onSettings(flags, id, payload)
	case framePush:
		err = breach("a push, which was switched off")
	case framePing:
		if len(payload) != 8 || id != 0 {
			err = breach("a PING frame of %d bytes", len(payload))
		} else if flags&flagAck == 0 {
			c.ackPing(payload)
		}
	case frameGoAway:
		err = c.onGoAway(id, payload)
	case frameWindowUpdate:
		err = c.onWindowUpdate(id, payload)
	}
	if err == nil && len(c.out) > maxWaiting {
		// A peer that asks for answers without reading them.
		err = breach("it does not read what it is sent")
	}
	c.mu.Unlock()
	return err
}

// finish ends a stream that the backend has ended. c.mu is held.
func (c *Conn) finish(s *stream, err error) {
	if s.sent < prefixSize+len(s.request) {
		// The backend answered before it had the whole request: it needs no more of it.
		c.out = appendReset(c.out, s.id, codeCancel)
	}
	c.forget(s)
	s.ended <- err
}

// fail ends a stream for a reason of this side's.
func (c *Conn) fail(s *stream, err error) {
	c.out = appendReset(c.out, s.id, codeCancel)
	c.forget(s)
	s.ended <- err
}

func (c *Conn) onData(flags byte, id uint32, payload []byte) error {
	if err := c.checkStream(id); err != nil {
		return err
	}
	size := len(payload)
	if c.taken += size; c.taken >= connWindow/2 {
		c.out = appendWindowUpdate(c.out, 0, c.taken)
		c.taken = 0
	}
	payload, ok := unpad(payload, flags)
	if !ok {
		return breach("padding larger than its frame")
	}
	s := c.streams[id]
	if s == nil {
		return nil // given up before
	}
	if s.answer.http == 0 {
		c.fail(s, fault.New(fault.UpstreamAnswerInvalid, "the backend sent data before headers"))
		return nil
	}
	if s.answer.http == http.StatusOK && !s.answer.notGRPC {
		if ok, why := s.data(payload, c.options.MaxMessageSize); !ok {
			c.fail(s, why)
			return nil
		}
	}
	if flags&flagEndStream != 0 {
		c.finish(s, s.result())
		return nil
	}
	if s.taken += size; s.taken >= streamWindow/2 {
		c.out = appendWindowUpdate(c.out, id, s.taken)
		s.taken = 0
	}
	return nil
}

// checkStream reports streams that cannot be.
func (c *Conn) checkStream(id uint32) error {
	if id%2 == 0 || id >= c.next {
		return breach("a frame of stream %d, which was never opened", id)
	}
	return nil
}

func (c *Conn) onHeaders(flags byte, id uint32, payload []byte) error {
	if err := c.checkStream(id); err != nil {
		return err
	}
	payload, ok := unpad(payload, flags)
	if flags&flagPriority != 0 {
		ok = ok && len(payload) >= 5
		if ok {
			payload = payload[5:]
		}
	}
	if !ok {
		return breach("padding larger than its frame")
	}
	if flags&flagEndHeaders == 0 {
		c.partial, c.partEnds = id, flags&flagEndStream != 0
		c.fragment = append(c.fragment[:0], payload...)
		return nil
	}
	return c.headers(id, flags&flagEndStream != 0, payload)
}

func (c *Conn) onContinuation(flags byte, payload []byte) error {
	if c.partial == 0 {
		return breach("a CONTINUATION frame that continues nothing")
	}
	if len(c.fragment)+len(payload) > maxBlock || len(payload) == 0 && flags&flagEndHeaders == 0 {
		return breach("a header block that does not end")
	}
	c.fragment = append(c.fragment, payload...)
	if flags&flagEndHeaders == 0 {
		return nil
	}
	id := c.partial
	c.partial = 0
	return c.headers(id, c.partEnds, c.fragment)
}

// headers takes a whole header block: headers, or with the end of the stream trailers.
func (c *Conn) headers(id uint32, end bool, block []byte) error {
	s := c.streams[id]
	c.current, c.trailers = s, end
	again := false
	if s != nil {
		again = !end && s.answer.http >= 200
		s.answer.size = 0
	}
	_, err := c.decoder.Write(block)
	if err == nil {
		err = c.decoder.Close()
	}
	c.current = nil
	if err != nil {
		return breach("%v", err)
	}
	if s == nil {
		return nil
	}
	switch a := &s.answer; {
	case again:
		c.fail(s, fault.New(fault.UpstreamAnswerInvalid, "the backend sent headers twice"))
	case end:
		c.finish(s, s.result())
	case a.size > MaxHeaderList:
		c.fail(s, s.result())
	case a.http < 200:
		// An interim answer: the headers come yet.
		*a = response{}
		s.reply.Header = nil
	}
	return nil
}

// emit takes one field from the decoder, also of streams that are given up: the peer's table has to be followed.
func (c *Conn) emit(f hpack.HeaderField) {
	s := c.current
	switch {
	case s == nil:
	case c.trailers:
		s.field(f, &s.reply.Trailer)
	default:
		s.field(f, &s.reply.Header)
	}
}

func (c *Conn) onReset(id uint32, payload []byte) error {
	if err := c.checkStream(id); err != nil {
		return err
	}
	if len(payload) != 4 {
		return breach("a RST_STREAM frame of %d bytes", len(payload))
	}
	if s := c.streams[id]; s != nil {
		c.forget(s)
		s.ended <- resetError(binary.BigEndian.Uint32(payload))
	}
	return nil
}

func (c *Conn) onGoAway(id uint32, payload []byte) error {
	if id != 0 || len(payload) < 8 {
		return breach("a GOAWAY frame of %d bytes", len(payload))
	}
	last := uint32At(payload)
	c.refuseNew()
	for id, s := range c.streams {
		if id > last {
			c.forget(s)
			s.ended <- errNotSent
		}
	}
	c.closeIdle()
	return nil
}

func (c *Conn) onWindowUpdate(id uint32, payload []byte) error {
	if len(payload) != 4 {
		return breach("a WINDOW_UPDATE frame of %d bytes", len(payload))
	}
	n := int64(uint32At(payload))
	if id == 0 {
		if c.window += n; n == 0 || c.window > maxWindow {
			return breach("a window of %d bytes", c.window)
		}
		c.unblock()
		return nil
	}
	if err := c.checkStream(id); err != nil {
		return err
	}
	s := c.streams[id]
	if s == nil {
		return nil
	}
	if s.window += n; n == 0 || s.window > maxWindow {
		c.fail(s, fault.New(fault.UpstreamAnswerInvalid, "the backend broke flow control"))
		return nil
	}
	c.unblock()
	return nil
}

func (c *Conn) onSettings(flags byte, id uint32, payload []byte) error {
	switch {
	case id != 0 || len(payload)%6 != 0 || flags&flagAck != 0 && len(payload) > 0:
		return breach("a SETTINGS frame of %d bytes", len(payload))
	case flags&flagAck != 0:
		return nil
	}
	for p := payload; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.ackSettings()
	if !c.greeted {
		c.greeted = true
		close(c.ready)
	}
	c.unblock()
	for range c.waiting {
		c.letIn()
	}
	return nil
}

func (c *Conn) setting(id uint16, value uint32) error {
	switch id {
	case settingHeaderTable:
		if size := min(value, defaultTable); size != c.table {
			c.table, c.tableChanged = size, true
		}
	case settingMaxStreams:
		c.maxStreams = int(min(value, 1<<30))
	case settingInitialWindow:
		if value > maxWindow {
			return breach("an initial window of %d bytes", value)
		}
		// It changes the windows of streams that are open, too, which may become negative (RFC 9113 section 6.9.2).
		change := int64(value) - c.initialWindow
		c.initialWindow = int64(value)
		for _, s := range c.streams {
			if s.window += change; s.window > maxWindow {
				return breach("a window of %d bytes", s.window)
			}
		}
	case settingMaxFrame:
		if value < defaultMaxFrame || value > 1<<24-1 {
			return breach("frames of %d bytes", value)
		}
		c.maxFrame = int(value)
	case settingMaxHeaderList:
		c.maxHeaderList = int(min(value, 1<<30))
	}
	return nil
}
