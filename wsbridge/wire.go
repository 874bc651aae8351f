package wsbridge

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readAhead is how much is read at a time, where reading ahead needs no buffer of the connection's own.
	readAhead = 4 << 10
	// readBuffer holds the header of a frame and a small payload; a larger payload is read past it.
	readBuffer = 512
	// controlBuffer holds any control frame of a server's whole (RFC 6455 section 5.5), so that it reaches the wire in
	// one Write.
	controlBuffer = 128
	// batchSize is how much is written at a time when many frames wait.
	batchSize = 16 << 10
	// keptFrames is how many places an idle session's queue keeps.
	keptFrames = 8
	// lastWrites is how long a closing connection may take to write what was begun.
	lastWrites = time.Second
)

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchSize); return &b }}

// wire is a session's connection, below the WebSocket library: the library reads from it and writes its control frames
// to it, and everything else queues whole frames, whose bytes sessions share. One goroutine at a time writes, so that
// frames never mix; it runs only while something waits, so that an idle session has none.
type wire struct {
	net.Conn
	limit   int           // of the bytes that wait
	timeout time.Duration // of a write
	// spawn starts a goroutine that the node waits for; overflow is what is started when too much waits.
	spawn    func(func())
	overflow func()

	socket *socket // nil where there is none

	reading sync.Mutex // the session awaits what the library, while it closes, may read
	early   []byte     // what the client sent along with the handshake, or what was read ahead

	heard  atomic.Int64 // when the client last sent anything, as uptime
	broken atomic.Bool  // reading has failed: the client is gone, or this side has closed
	failed atomic.Bool  // writing has

	mu      sync.Mutex
	frames  [][]byte // from head on
	head    int
	begun   bool // the first frame that waits has been written in part, and must be written to its end
	bytes   int  // of what waits and of what is being written
	writing bool
	stopped bool          // takes no more frames, except the library's
	closed  bool          // takes nothing more
	idle    chan struct{} // closed when the writing goroutine ends; nil when nobody waits for that
	armed   time.Time     // when the write deadline was last set
}

// upgrade has the WebSocket library take a wire for the connection, with buffers no larger than it needs.
type upgrade struct {
	http.ResponseWriter
	wire *wire
}

// extensionsHeader says what was agreed on.
const extensionsHeader = "Sec-Websocket-Extensions"

// WriteHeader tells the client that it need not keep a window, whatever it may keep itself: each message to it is compressed
// by itself (RFC 7692 section 7.1.1.1).
func (u *upgrade) WriteHeader(status int) {
	if agreed := u.Header()[extensionsHeader]; len(agreed) == 1 && !strings.Contains(agreed[0], "server_no_context_takeover") {
		agreed[0] += "; server_no_context_takeover"
	}
	u.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w := u.wire
	w.Conn, w.socket = conn, newSocket(conn)
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		w.early = slices.Clone(early)
	}
	w.heard.Store(int64(uptime()))
	return w, bufio.NewReadWriter(bufio.NewReaderSize(w, w.readBuffer()), bufio.NewWriterSize(w, controlBuffer)), nil
}

// smallBuffer is the least that a bufio.Reader has.
const smallBuffer = 16

// readBuffer is the size of the library's buffer, which has no use where the wire reads ahead.
func (w *wire) readBuffer() int {
	if w.socket != nil {
		return smallBuffer
	}
	return readBuffer
}

// await waits until there is something to read, where that takes less memory than to wait in Read.
func (w *wire) await() {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.fill()
}

// fill waits until something has been read ahead, where that can be. The caller holds reading.
func (w *wire) fill() {
	if w.socket == nil || len(w.early) > 0 {
		return
	}
	if w.early = w.socket.await(); len(w.early) > 0 {
		w.heard.Store(int64(uptime()))
	}
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	if w.socket != nil && len(p) <= smallBuffer {
		// For the library's buffer: nothing is to be left in it when a message has been read, as await does not see it.
		p = p[:min(len(p), 1)]
	}
	if len(p) < readAhead {
		w.fill()
	}
	if len(w.early) > 0 {
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
			if w.socket != nil {
				w.socket.release()
			}
		}
		return n, nil
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(int64(uptime()))
	}
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}

// send queues a frame, and reports whether it did. One too many ends the session: the queue is dropped and takes no more.
// It never waits for the client.
//
// What it starts it starts under the lock: a session that is not stopped is one that the node still waits for.
func (w *wire) send(frame []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue(frame)
}

// sendNow is send for a frame of few sessions: what the socket takes at once the caller writes, when nobody else is
// writing, which costs less than to start a goroutine. For a frame of many it would cost the other sessions time.
func (w *wire) sendNow(frame []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.socket != nil && !w.writing && !w.stopped {
		w.arm()
		n := w.socket.tryWrite(frame)
		if frame = frame[n:]; len(frame) == 0 {
			return true
		}
		w.begun = n > 0
	}
	return w.queue(frame)
}

// queue is send, under the lock.
func (w *wire) queue(frame []byte) bool {
	if w.stopped {
		return false
	}
	if w.bytes > 0 && w.bytes+len(frame) > w.limit {
		w.stop()
		w.spawn(w.overflow)
		return false
	}
	w.push(frame)
	if !w.writing {
		w.writing = true
		w.spawn(w.drain)
	}
	return true
}

// Write implements net.Conn for the library, which writes one control frame at a time. It waits only when nobody else
// is writing.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.closed || w.bytes > 0 && w.bytes+len(p) > w.limit+controlBuffer {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	if w.writing {
		w.push(slices.Clone(p)) // the library uses its buffer again
		w.mu.Unlock()
		return len(p), nil
	}
	w.writing = true
	w.arm()
	w.mu.Unlock()
	n, err := w.Conn.Write(p)
	if err != nil {
		w.fail()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head < len(w.frames) {
		w.spawn(w.drain)
	} else {
		w.settle()
	}
	return n, err
}

// push appends a frame. The caller holds the lock.
func (w *wire) push(frame []byte) {
	if len(w.frames) == cap(w.frames) && w.head > len(w.frames)/2 {
		n := copy(w.frames, w.frames[w.head:])
		clear(w.frames[n:])
		w.frames, w.head = w.frames[:n], 0
	}
	w.frames = append(w.frames, frame)
	w.bytes += len(frame)
}

// drain writes what waits, and ends when nothing does. The caller has set writing.
func (w *wire) drain() {
	w.mu.Lock()
	if w.head == len(w.frames) {
		w.settle()
		w.mu.Unlock()
		return
	}
	pooled := batches.Get().(*[]byte)
	for w.head < len(w.frames) {
		batch := w.next((*pooled)[:0])
		w.arm()
		w.mu.Unlock()
		_, err := w.Conn.Write(batch)
		if err != nil {
			w.fail()
		}
		w.mu.Lock()
		w.bytes -= len(batch)
	}
	w.settle()
	w.mu.Unlock()
	batches.Put(pooled)
}

// next takes the frames of one write off the queue: the first one as it is when it goes alone, else copied together.
// The caller holds the lock.
func (w *wire) next(buffer []byte) []byte {
	waiting := w.frames[w.head:]
	batch, n := waiting[0], 1
	if len(waiting) > 1 && len(batch)+len(waiting[1]) <= cap(buffer) {
		batch = append(buffer, batch...)
		for ; n < len(waiting) && len(batch)+len(waiting[n]) <= cap(batch); n++ {
			batch = append(batch, waiting[n]...)
		}
	}
	clear(waiting[:n])
	w.head += n
	w.begun = false
	return batch
}

// arm sees to it that a write which begins now has a deadline, at least timeout away: to set one for each write would
// cost as much as a small write. The caller holds the lock.
func (w *wire) arm() {
	if now := time.Now(); !w.closed && now.Sub(w.armed) > w.timeout/2 {
		w.armed = now
		_ = w.Conn.SetWriteDeadline(now.Add(w.timeout + w.timeout/2))
	}
}

// settle ends writing. The caller holds the lock.
func (w *wire) settle() {
	w.writing = false
	if w.head, w.frames = 0, w.frames[:0]; cap(w.frames) > keptFrames {
		w.frames = nil
	}
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// fail closes the connection after an error of writing. The reading goroutine finds it closed, and ends the session.
func (w *wire) fail() {
	w.failed.Store(true)
	w.mu.Lock()
	w.stop()
	w.closed = true
	w.mu.Unlock()
	_ = w.Conn.Close()
}

// stop drops what waits and takes no more frames, except the library's: but for a frame that has begun, whose rest they would
// be taken for. The caller holds the lock.
func (w *wire) stop() {
	waiting := w.frames[w.head:]
	w.stopped, w.frames, w.head = true, nil, 0
	if w.begun {
		w.frames, waiting = [][]byte{waiting[0]}, waiting[1:]
	}
	for _, frame := range waiting {
		w.bytes -= len(frame)
	}
}

// hush is stop for a session that ends for another reason than its queue.
func (w *wire) hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
}

// Close implements net.Conn. What is being written, such as the answer to a close frame, has a moment to go out.
func (w *wire) Close() error {
	w.mu.Lock()
	w.stopped, w.closed = true, true
	var idle chan struct{}
	if w.writing {
		if w.idle == nil {
			w.idle = make(chan struct{})
		}
		idle = w.idle
		_ = w.Conn.SetWriteDeadline(time.Now().Add(lastWrites))
	}
	w.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return w.Conn.Close()
}

// flushed returns a channel that is closed once nothing waits.
func (w *wire) flushed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle := w.idle
	if idle == nil {
		idle = make(chan struct{})
		if w.writing {
			w.idle = idle
		} else {
			close(idle)
		}
	}
	return idle
}

// waiting returns how many bytes wait.
func (w *wire) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// ended reports whether the wire takes no more frames.
func (w *wire) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// abort closes the connection at once, without the goodbye of TLS, which can wait.
func (w *wire) abort() {
	if secured, ok := w.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close()
		return
	}
	_ = w.Conn.Close()
}
