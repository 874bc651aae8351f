package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// conn is a connection of the Redis protocol (RESP2) on which channels are subscribed to. go-redis has the pool, the
// commands and the topology; its PubSub is not used, since on a Redis Cluster it cannot hold channels of several slots,
// and it writes each command by itself. One goroutine may read and another one write.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
	// channels are the names that pushes come with, so that each is one string.
	channels map[string]string
	payload  []byte // of the push that was read last, where it does not fit into the buffer
}

const (
	readBuffer = 64 << 10
	// maxLine bounds a line of the protocol: a length, a number, or an error.
	maxLine = 16 << 10
	// keptPayload is the largest payload whose memory is kept for the next.
	keptPayload = 256 << 10
)

// push is what Redis sends on a conn.
type push struct {
	kind    string // as the protocol has it: message, subscribe, pong and so on; "error"
	channel string
	payload []byte // of a message or an error, until the next push is read
}

// dial connects to the server that a client has, as it would.
func dial(ctx context.Context, client *redis.Client) (*conn, error) {
	o := client.Options()
	raw, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, channels: map[string]string{}}
	c.in = bufio.NewReaderSize(deadlined{raw}, readBuffer)
	if err := c.authenticate(ctx, o); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// deadlined is a connection that is taken for dead when it is silent.
type deadlined struct{ net.Conn }

func (d deadlined) Read(p []byte) (int, error) {
	_ = d.SetReadDeadline(time.Now().Add(quiet))
	return d.Conn.Read(p)
}

func (c *conn) authenticate(ctx context.Context, o *redis.Options) error {
	user, password := o.Username, o.Password
	var err error
	switch {
	case o.CredentialsProviderContext != nil:
		user, password, err = o.CredentialsProviderContext(ctx)
	case o.CredentialsProvider != nil:
		user, password = o.CredentialsProvider()
	}
	switch {
	case err != nil:
		return err
	case password == "":
		return nil
	case user == "":
		c.command("AUTH", password)
	default:
		c.command("AUTH", user, password)
	}
	if err := c.flush(); err != nil {
		return err
	}
	kind, line, err := c.line()
	if err != nil {
		return err
	}
	if kind != '+' {
		return fmt.Errorf("bus: redis refuses the credentials: %s", line)
	}
	return nil
}

// command appends a command to what the next flush writes.
func (c *conn) command(name string, args ...string) {
	c.out = append(strconv.AppendInt(append(c.out, '*'), int64(1+len(args)), 10), '\r', '\n')
	c.word(name)
	for _, a := range args {
		c.word(a)
	}
}

func (c *conn) word(w string) {
	c.out = append(strconv.AppendInt(append(c.out, '$'), int64(len(w)), 10), '\r', '\n')
	c.out = append(append(c.out, w...), '\r', '\n')
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(commandTimeout))
	_, err := c.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > keptPayload {
		c.out = nil
	}
	return err
}

// await waits for the next push to begin, and reports false when nothing has come for a while.
func (c *conn) await() (bool, error) {
	_, err := c.in.Peek(1)
	var silence net.Error
	if errors.As(err, &silence) && silence.Timeout() {
		return false, nil
	}
	return err == nil, err
}

// read reads the next push.
func (c *conn) read() (p push, err error) {
	kind, line, err := c.line()
	if err != nil {
		return p, err
	}
	switch kind {
	case '-':
		return push{kind: "error", payload: line}, nil
	case '+':
		return push{kind: "status"}, nil
	case '*', '>':
	default:
		return p, fmt.Errorf("bus: redis sent a reply of type %q", kind)
	}
	n, err := strconv.Atoi(string(line))
	if err != nil || n < 1 || n > 4 {
		return p, fmt.Errorf("bus: redis sent a push of %q elements", line)
	}
	for i := range n {
		b, err := c.element()
		if err != nil {
			return p, err
		}
		switch i {
		case 0:
			p.kind = kindOf(b)
		case 1:
			p.channel = c.channels[string(b)]
			if p.channel == "" {
				p.channel = string(b)
			}
		default:
			p.payload = b
		}
	}
	return p, nil
}

// kindOf saves a string for each push.
func kindOf(b []byte) string {
	for _, kind := range [...]string{"message", "smessage", "subscribe", "ssubscribe", "unsubscribe", "sunsubscribe", "pong"} {
		if string(b) == kind {
			return kind
		}
	}
	return string(b)
}

// element reads a string or a number. A string is valid until the next element is read.
func (c *conn) element() ([]byte, error) {
	kind, line, err := c.line()
	if err != nil {
		return nil, err
	}
	switch kind {
	case ':':
		return line, nil
	case '$':
	default:
		return nil, fmt.Errorf("bus: redis sent an element of type %q", kind)
	}
	n, err := strconv.Atoi(string(line))
	if err != nil || n < -1 {
		return nil, fmt.Errorf("bus: redis sent a string of length %q", line)
	}
	if n < 0 {
		return nil, nil
	}
	return c.string(n)
}

func (c *conn) string(n int) ([]byte, error) {
	if n+2 <= readBuffer {
		b, err := c.in.Peek(n + 2)
		if err != nil {
			return nil, err
		}
		_, _ = c.in.Discard(n + 2)
		return b[:n:n], nil
	}
	// A payload beyond what may be is not kept, only told from those that may.
	kept := min(n, MaxPayload+1)
	if cap(c.payload) < kept || cap(c.payload) > keptPayload {
		c.payload = make([]byte, kept)
	}
	b := c.payload[:kept]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	_, err := c.in.Discard(n - kept + 2)
	return b, err
}

// line reads a line: its first byte and the rest, which is valid until the next read.
func (c *conn) line() (kind byte, rest []byte, err error) {
	b, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	b = bytes.TrimSuffix(b[:len(b)-1], []byte{'\r'})
	if len(b) == 0 || len(b) > maxLine {
		return 0, nil, errors.New("bus: redis sent a line that is none")
	}
	return b[0], b[1:], nil
}
