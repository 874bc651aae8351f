package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clients are connections of as little as will do: the load should cost less than the server. They speak either protocol.
type clients struct {
	subject  bool // Crossgate's protocol, else Centrifugo's
	address  string
	received atomic.Int64

	mu        sync.Mutex
	conns     []net.Conn
	latencies []time.Duration
}

// mark comes before the time of publishing in each payload: a batch of messages in one frame counts for what it holds.
var mark = []byte(`"at":`)

// open connects n clients and subscribes each to the channel that name gives, and returns when all are subscribed.
func (c *clients) open(b *testing.B, n int, name func(i int) string) {
	b.Helper()
	slots := make(chan struct{}, 100)
	var opening sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range n {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			if err := c.connect(name(i)); err != nil {
				failed.Store(&err)
			}
		})
	}
	opening.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

func (c *clients) connect(channel string) error {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return err
	}
	c.mu.Lock()
	sampled := len(c.conns)%50 == 0
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", c.address)
	in := bufio.NewReaderSize(conn, 4<<10)
	status, err := in.ReadString('\n')
	if err != nil || !strings.Contains(status, " 101 ") {
		return fmt.Errorf("upgrade: %q, %v", status, err)
	}
	for line := ""; line != "\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			return err
		}
	}
	confirmed := []byte(`"subscribe"`)
	if c.subject {
		confirmed = []byte(`"ok"`)
		err = write(conn, `{"id":1,"type":"subscribe","channel":"`+channel+`"}`)
	} else if err = write(conn, `{"id":1,"connect":{}}`); err == nil {
		err = write(conn, `{"id":2,"subscribe":{"channel":"`+channel+`"}}`)
	}
	if err != nil {
		return err
	}
	for {
		payload, _, err := read(in)
		if err != nil {
			return err
		}
		if bytes.Contains(payload, confirmed) {
			break
		}
	}
	go c.count(conn, in, sampled) // ends with the connection
	return nil
}

// count counts what comes until the connection ends.
func (c *clients) count(conn net.Conn, in *bufio.Reader, sampled bool) {
	for {
		payload, opcode, err := read(in)
		if err != nil {
			return
		}
		switch {
		case opcode == 9: // a ping
			_, _ = conn.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
		case !c.subject && string(payload) == "{}": // Centrifugo's ping
			_ = write(conn, "{}")
		default:
			n := bytes.Count(payload, mark)
			c.received.Add(int64(n))
			if n > 0 && sampled {
				c.sample(payload)
			}
		}
	}
}

func (c *clients) sample(payload []byte) {
	_, rest, _ := bytes.Cut(payload, mark)
	digits, _, _ := bytes.Cut(rest, []byte(","))
	at, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return
	}
	late := time.Duration(time.Now().UnixNano() - at)
	c.mu.Lock()
	c.latencies = append(c.latencies, late)
	c.mu.Unlock()
}

func (c *clients) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// write sends a text frame, with a mask that changes nothing.
func write(w io.Writer, text string) error {
	if len(text) > 125 {
		return errors.New("too long for a short frame")
	}
	_, err := w.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...))
	return err
}

// read returns the payload of the next frame, valid until the next read, and its opcode.
func read(in *bufio.Reader) ([]byte, byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, 0, err
	}
	opcode, size, skip := head[0]&15, int(head[1]&127), 2
	switch size {
	case 126:
		if head, err = in.Peek(4); err != nil {
			return nil, 0, err
		}
		size, skip = int(binary.BigEndian.Uint16(head[2:])), 4
	case 127:
		if head, err = in.Peek(10); err != nil {
			return nil, 0, err
		}
		size, skip = int(binary.BigEndian.Uint64(head[2:])), 10
	}
	if _, err := in.Discard(skip); err != nil {
		return nil, 0, err
	}
	if size <= in.Size() {
		payload, err := in.Peek(size)
		if err != nil {
			return nil, 0, err
		}
		_, err = in.Discard(size)
		return payload, opcode, err
	}
	payload := make([]byte, size)
	_, err = io.ReadFull(in, payload)
	return payload, opcode, err
}
