package strict

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a server's side of a connection of HTTP/1.1, or of HTTP/2 by prior knowledge, which passes unwatched. A client that
// takes nothing of what is written to it for some time is disconnected.
type Conn struct {
	net.Conn
	stall time.Duration // 0 for none

	writing sync.Mutex
	given   bool         // a deadline for writes was given
	until   atomic.Int64 // the deadline that Write has set, in nanoseconds of Unix time

	scanner scanner
	inBody  atomic.Bool
	raw     bool
	refused bool
	rest    []byte // what is read yet of a refusal
}

// New watches what is read from c, and gives up writing to it when nothing is taken for about stall, 0 for never.
func New(c net.Conn, stall time.Duration) *Conn { return &Conn{Conn: c, stall: stall} }

// refusal spoils any line: no line of a request may have a NUL. The header ends with it, so that net/http need not wait.
const refusal = "\x00\r\n\r\n"

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.refused {
		n := copy(p, c.rest)
		if c.rest = c.rest[n:]; n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if c.raw || n == 0 {
		return n, err
	}
	good := c.scanner.scan(p[:n])
	c.raw = c.scanner.state == elsewhere
	if in := c.scanner.inBody(); in != c.inBody.Load() {
		c.inBody.Store(in)
	}
	if good == n {
		return n, err
	}
	c.refused = true
	n = copy(p[good:], refusal)
	c.rest = []byte(refusal[n:])
	return good + n, nil
}

// InBody reports whether some of a request's body has yet to be read. It may be called at any time.
func (c *Conn) InBody() bool { return c.inBody.Load() }

// piece is how much of a write must be taken at a time.
const piece = 64 << 10

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	if c.stall <= 0 {
		return c.Conn.Write(b)
	}
	for done := 0; ; {
		next := b[done:min(len(b), done+piece)]
		if err := c.extend(); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(next)
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}

// extend moves the deadline of writes on, when less than stall is left of it. Between one and two times stall is given, so
// that most writes need not set it.
func (c *Conn) extend() error {
	now := time.Now()
	if c.until.Load()-now.UnixNano() >= int64(c.stall) {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.given {
		return nil
	}
	until := now.Add(2 * c.stall)
	c.until.Store(until.UnixNano())
	return c.Conn.SetWriteDeadline(until)
}

// SetWriteDeadline implements net.Conn: a deadline that is given holds in place of stall.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.given = !t.IsZero()
	c.until.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetReadDeadline(t)
}

// Raw returns the connection below, for what is no HTTP any more. Nothing is watched from then on, and it has no deadline.
func (c *Conn) Raw() net.Conn {
	c.raw = true
	_ = c.Conn.SetWriteDeadline(time.Time{}) // a connection that is closed says so to whoever writes
	c.scanner = scanner{}
	return c.Conn
}
