package transcoder

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// DuplexBody is a request's body that is read while the answer is written, by a goroutine that may be cut off: Close ends
// a read that waits for the client. Over HTTP/2 any body is like that. The one of HTTP/1.1 is not: net/http would wait for the
// client to close it, and would take what a client still sends for the next request.
type DuplexBody struct {
	body io.ReadCloser
	rc   *http.ResponseController

	mu     sync.Mutex
	change sync.Cond
	data   []byte // read and not handed on
	err    error  // the body ended with
	closed bool
	lazy   bool // nobody reads the body until it is asked for

	pumped chan struct{} // closed when nobody reads the body; nil for HTTP/2
}

// NewDuplexBody returns the body of r, and the writer to answer it with. End must be called before the handler returns.
func NewDuplexBody(w http.ResponseWriter, r *http.Request) (*DuplexBody, http.ResponseWriter) {
	b := &DuplexBody{body: r.Body}
	if r.ProtoMajor > 1 || r.Body == http.NoBody {
		return b, w
	}
	b.change.L = &b.mu
	b.rc = http.NewResponseController(w)
	_ = b.rc.EnableFullDuplex()
	b.pumped = make(chan struct{})
	if r.Header["Expect"] != nil {
		b.lazy = true // reading is what tells the client to go on (RFC 9110 section 10.1.1)
	} else {
		go b.pump() // ends with the body, or by the read deadline that End sets
	}
	return b, &closingWriter{ResponseWriter: w, body: b}
}

const (
	// drainTime and drainSize bound what is read of a request after its answer: closing the connection at once would take
	// the answer from a client that is still sending. (For net/http, which does this only where nothing was read, see
	// rstAvoidanceDelay.)
	drainTime = 500 * time.Millisecond
	drainSize = 1 << 20
)

// pump reads the body, and hands it on until Close.
func (b *DuplexBody) pump() {
	defer close(b.pumped)
	buf := NewPiece()
	defer buf.Release()
	for drained := 0; drained < drainSize; {
		n, err := b.body.Read(buf[:])
		b.mu.Lock()
		if b.closed {
			drained += n
		} else {
			b.data = buf[:n]
		}
		b.err = err
		b.change.Broadcast()
		for len(b.data) > 0 && !b.closed {
			b.change.Wait()
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (b *DuplexBody) Read(p []byte) (int, error) {
	if b.pumped == nil {
		return b.body.Read(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lazy && !b.closed {
		b.lazy = false
		go b.pump()
	}
	for len(b.data) == 0 && b.err == nil && !b.closed {
		b.change.Wait()
	}
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(b.data) == 0:
		return 0, b.err
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	if len(b.data) == 0 {
		b.change.Broadcast()
	}
	return n, nil
}

// Close ends reading. What the client still sends is for nobody.
func (b *DuplexBody) Close() error {
	if b.pumped == nil {
		return b.body.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.change.Broadcast()
	return nil
}

// End returns once nobody reads the body any more, nor will.
func (b *DuplexBody) End() {
	_ = b.Close()
	if b.pumped == nil {
		return
	}
	b.mu.Lock()
	unasked := b.lazy
	b.mu.Unlock()
	if unasked {
		// net/http closes the body when the answer has gone out, and waits then for a client that may have nothing more to say.
		_ = b.rc.SetReadDeadline(time.Now().Add(drainTime))
		return
	}
	select {
	case <-b.pumped:
	default:
		_ = b.rc.SetReadDeadline(time.Now().Add(drainTime))
		<-b.pumped
	}
	_ = b.body.Close()
}

// ended reports whether the client has sent all of its request.
func (b *DuplexBody) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(b.err, io.EOF)
}

// closingWriter closes the connection after an answer that came before the request's end.
type closingWriter struct {
	http.ResponseWriter
	body    *DuplexBody
	started bool
}

func (w *closingWriter) WriteHeader(status int) {
	w.start()
	w.ResponseWriter.WriteHeader(status)
}

func (w *closingWriter) Write(b []byte) (int, error) {
	w.start()
	return w.ResponseWriter.Write(b)
}

func (w *closingWriter) start() {
	if !w.started && !w.body.ended() {
		w.Header()["Connection"] = []string{"close"}
	}
	w.started = true
}

// FlushError sends what was written, for http.ResponseController.
func (w *closingWriter) FlushError() error {
	w.start()
	return w.body.rc.Flush()
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *closingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
