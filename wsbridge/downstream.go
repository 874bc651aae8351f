package wsbridge

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// downstream is the connection below the wire of a session without WebSocket: what the wire writes, whole frames that
// sessions share, it writes as events. So such a session has the queue, the bound and the coalesced writes of any other.
type downstream struct {
	net.Conn // nil: the wire asks for no more than what follows

	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // of a write

	late   atomic.Bool // a write was not taken within the timeout
	once   sync.Once
	closed chan struct{}
}

func newDownstream(w http.ResponseWriter, timeout time.Duration) *downstream {
	return &downstream{w: w, control: http.NewResponseController(w), timeout: timeout, closed: make(chan struct{})}
}

// begin writes the header and the event that tells the client its session's name.
func (d *downstream) begin(http1 bool, session string) error {
	h := d.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	if http1 {
		h.Set("Connection", "close") // the deadline of the last write stays on the connection
	}
	return d.flush(append(bus.AppendString([]byte("event: open\ndata: {\"type\":\"open\",\"session\":"), session), "}\n\n"...))
}

// Write implements net.Conn for the wire, which writes whole frames.
func (d *downstream) Write(frames []byte) (int, error) {
	pooled := batches.Get().(*[]byte)
	text := (*pooled)[:0]
	for rest := frames; len(rest) > 0; {
		var first byte
		var payload []byte
		first, payload, rest = cutFrame(rest)
		text = appendEvent(text, first, payload)
	}
	if err := d.flush(text); err != nil {
		return 0, err // with the batch: HTTP/2's server may still be reading it
	}
	batches.Put(pooled)
	return len(frames), nil
}

// flush writes to the client, and waits for it no longer than the timeout.
func (d *downstream) flush(text []byte) error {
	begun := time.Now()
	_ = d.control.SetWriteDeadline(begun.Add(d.timeout))
	_, err := d.w.Write(text)
	if err == nil {
		err = d.control.Flush()
	}
	if err != nil {
		d.late.Store(time.Since(begun) >= d.timeout)
		return err
	}
	// A deadline of an HTTP/2 stream ends the stream, whether anything is being written or not.
	return d.control.SetWriteDeadline(time.Time{})
}

// SetWriteDeadline implements net.Conn.
func (d *downstream) SetWriteDeadline(t time.Time) error { return d.control.SetWriteDeadline(t) }

// Close implements net.Conn: the request's goroutine ends the stream.
func (d *downstream) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// cutFrame takes apart what newFrame and seal have made.
func cutFrame(b []byte) (first byte, payload, rest []byte) {
	head, size := 2, int(b[1])
	switch size {
	case 126:
		head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		head, size = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	return b[0], b[head : head+size], b[head+size:]
}

// appendEvent appends a frame as an event: a message by default, a comment for a ping.
func appendEvent(b []byte, first byte, payload []byte) []byte {
	switch first {
	case finPing:
		return append(b, ": ping\n\n"...)
	case finClose:
		b = append(b, "event: close\ndata: {\"code\":"...)
		b = strconv.AppendUint(b, uint64(binary.BigEndian.Uint16(payload)), 10)
		b = bus.AppendString(append(b, `,"reason":`...), string(payload[2:]))
		return append(b, "}\n\n"...)
	}
	b = append(b, "data: "...)
	// A line's end would end the data. In JSON it stands between tokens, where a space does as well.
	for {
		i := bytes.IndexAny(payload, "\r\n")
		if i < 0 {
			break
		}
		b = append(append(b, payload[:i]...), ' ')
		payload = payload[i+1:]
	}
	return append(append(b, payload...), "\n\n"...)
}
