package unary

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"time"

	"github.com/crossgate/crossgate/fault"
)

// place waits until the stream may be opened: the peer bounds how many are at a time. It returns nil with c.mu held.
func (c *Conn) place(ctx context.Context, s *stream, timeout <-chan time.Time) error {
	for {
		c.mu.Lock()
		if c.err != nil || c.last || len(c.out) > maxWaiting {
			c.mu.Unlock()
			return errNotSent
		}
		if len(c.streams) < c.maxStreams {
			return nil
		}
		c.waiting = append(c.waiting, s)
		c.mu.Unlock()
		var why error
		select {
		case <-s.turn:
			continue
		case <-ctx.Done():
			why = contextError(ctx.Err())
		case <-timeout:
			why = fault.ErrDeadline
		}
		c.mu.Lock()
		if i := slices.Index(c.waiting, s); i >= 0 {
			c.waiting = slices.Delete(c.waiting, i, i+1)
		} else {
			<-s.turn
			c.letIn()
		}
		c.mu.Unlock()
		return why
	}
}

// letIn wakes the first that waits for a place, if there is one. c.mu is held.
func (c *Conn) letIn() {
	if len(c.waiting) > 0 && len(c.streams) < c.maxStreams {
		c.waiting[0].turn <- struct{}{}
		c.waiting = slices.Delete(c.waiting, 0, 1)
	}
}

// forget takes a stream out of the connection's, which makes a place for another. c.mu is held.
func (c *Conn) forget(s *stream) {
	delete(c.streams, s.id)
	if s.sent < prefixSize+len(s.request) {
		if i := slices.Index(c.blocked, s); i >= 0 {
			c.blocked = slices.Delete(c.blocked, i, i+1)
		}
	}
	c.letIn()
	c.closeIdle()
}

// send opens a stream and writes what may be written of the request. c.mu is held, and let go.
func (c *Conn) send(s *stream, call *Call, now time.Time) error {
	c.block = c.appendRequest(c.block[:0], call, now)
	if c.maxHeaderList > 0 && headerListSize(len(c.block), call) > c.maxHeaderList {
		// The block is not sent, so that what it would have put into the peer's table is not there either.
		c.inserted, c.tableChanged = false, true
		c.letIn()
		c.mu.Unlock()
		return fault.New(fault.MessageTooLarge, "the request has more metadata than the backend takes")
	}
	s.id = c.next
	c.next += 2
	if c.next >= 1<<31 {
		c.refuseNew()
	}
	c.streams[s.id] = s
	s.window = c.initialWindow
	c.appendBlock(s.id)
	c.appendData(s)
	c.flush()
	return nil
}

// appendBlock appends c.block as a HEADERS frame, with CONTINUATION frames where it is too large for one.
func (c *Conn) appendBlock(id uint32) {
	block, kind := c.block, byte(frameHeaders)
	for {
		part, flags := block, byte(flagEndHeaders)
		if len(part) > c.maxFrame {
			part, flags = part[:c.maxFrame], 0
		}
		c.out = appendFrame(c.out, len(part), kind, flags, id)
		c.out = append(c.out, part...)
		if block = block[len(part):]; len(block) == 0 {
			break
		}
		kind = frameContinuation
	}
	if cap(c.block) > 64<<10 {
		c.block = nil
	}
}

// appendData appends as much of a request as the windows allow. What is left waits for the peer to open them.
func (c *Conn) appendData(s *stream) {
	total := prefixSize + len(s.request)
	for s.sent < total {
		n := int(min(int64(total-s.sent), int64(c.maxFrame), s.window, c.window))
		if n <= 0 {
			if !slices.Contains(c.blocked, s) {
				c.blocked = append(c.blocked, s)
			}
			return
		}
		flags := byte(0)
		if s.sent+n == total {
			flags = flagEndStream
		}
		c.out = appendFrame(c.out, n, frameData, flags, s.id)
		from, to := s.sent, s.sent+n
		if from < prefixSize {
			c.out = append(c.out, s.prefix[from:min(to, prefixSize)]...)
			from = prefixSize
		}
		if to > from {
			c.out = append(c.out, s.request[from-prefixSize:to-prefixSize]...)
		}
		s.sent = to
		s.window -= int64(n)
		c.window -= int64(n)
	}
}

// unblock goes on with requests that waited for a window. c.mu is held.
func (c *Conn) unblock() {
	again := c.blocked
	c.blocked = nil
	for i, s := range again {
		if c.window <= 0 || len(c.out) > maxWaiting {
			c.blocked = append(c.blocked, again[i:]...)
			return
		}
		c.appendData(s)
	}
}

// flush writes the frames that wait, unless another goroutine is writing, which then writes them too. c.mu is held, and
// let go.
func (c *Conn) flush() {
	if c.writing || len(c.out) == 0 {
		c.mu.Unlock()
		return
	}
	c.writing = true
	c.mu.Unlock()
	// Callers that are ready to run add their frames first: one write for all of them.
	runtime.Gosched()
	c.mu.Lock()
	c.write()
	if len(c.out) > 0 && c.err == nil {
		// A caller has an answer of its own to wait for: it writes once, not for ever for others.
		c.writeOn()
	} else {
		c.writing = false
	}
	c.mu.Unlock()
}

// writeOn has a goroutine write what waits, until nothing does. c.mu is held.
func (c *Conn) writeOn() {
	c.running.Add(1)
	go func() { // ends with its writes, at the latest with the socket
		defer c.running.Done()
		c.mu.Lock()
		for len(c.out) > 0 && c.err == nil {
			c.write()
		}
		c.writing = false
		c.mu.Unlock()
	}()
}

// write writes what waits. c.mu is held, but not meanwhile.
func (c *Conn) write() {
	b := c.out
	c.out, c.spare = c.spare[:0], nil
	err := c.allowWrite()
	c.mu.Unlock()
	if err == nil {
		_, err = c.net.Write(b)
	}
	if err != nil {
		c.end(err)
	}
	c.mu.Lock()
	if cap(b) <= keepable {
		c.spare = b[:0]
	}
	if c.err == nil && len(c.out) == 0 && len(c.blocked) > 0 {
		c.unblock() // there is room again among the frames to write
	}
}

// allowWrite moves the socket's write deadline, not more often than is needed to leave each write its time.
func (c *Conn) allowWrite() error {
	now := time.Now()
	if c.allowed.Sub(now) > writeTimeout {
		return nil
	}
	c.allowed = now.Add(2 * writeTimeout)
	return c.net.SetWriteDeadline(c.allowed)
}

// flushFromReader writes the frames that wait without holding up the reader, which a peer that waits to be read from
// could otherwise stop.
func (c *Conn) flushFromReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.writing && len(c.out) > 0 && c.err == nil {
		c.writing = true
		c.writeOn()
	}
}

func (c *Conn) ackPing(payload []byte) {
	c.out = appendFrame(c.out, 8, framePing, flagAck, 0)
	c.out = append(c.out, payload...)
}

func (c *Conn) ackSettings() { c.out = appendFrame(c.out, 0, frameSettings, flagAck, 0) }

func uint32At(b []byte) uint32 { return binary.BigEndian.Uint32(b) & (1<<31 - 1) }
