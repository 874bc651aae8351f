package strict

import (
	"io"
	"net"
)

// Conn is a server's side of a connection of HTTP/1.1, or of HTTP/2 by prior knowledge, which passes unwatched.
type Conn struct {
	net.Conn
	scanner scanner
	raw     bool
	refused bool
	rest    []byte // what is read yet of a refusal
}

// New watches what is read from c.
func New(c net.Conn) *Conn { return &Conn{Conn: c} }

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
	if good == n {
		return n, err
	}
	c.refused = true
	n = copy(p[good:], refusal)
	c.rest = []byte(refusal[n:])
	return good + n, nil
}

// Raw returns the connection below, for what is no HTTP any more. Nothing is watched from then on.
func (c *Conn) Raw() net.Conn {
	c.raw = true
	c.scanner = scanner{}
	return c.Conn
}
