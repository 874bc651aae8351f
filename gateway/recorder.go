package gateway

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/crossgate/crossgate/gateway/internal/strict"
)

// recorder notes what was answered, for metrics and the access log, and compresses it where that was asked for.
type recorder struct {
	http.ResponseWriter
	status   int   // 0 until the header is written
	written  int64 // bytes of the body, as the client gets them
	hijacked bool
	timed    bool      // answered is to be noted
	answered time.Time // when the header was written
	compress compressor
	security *securityHeaders // nil for none
	overTLS  bool
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
		if w.timed {
			w.answered = time.Now()
		}
	}
	if w.security != nil && status >= 200 {
		w.security.apply(w.Header(), w.overTLS)
	}
	if w.compress.consider(w.Header(), status); !w.compress.held {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.compress.held {
		w.decide(len(b))
	}
	if w.compress.writer != nil {
		return w.compress.writer.Write(b)
	}
	return plain{w}.Write(b)
}

// decide writes a header that was held back until size bytes of the body were there.
func (w *recorder) decide(size int) {
	w.compress.begin(w.Header(), size, w)
	w.ResponseWriter.WriteHeader(w.status)
}

// plain is what a recorder's encoder writes to.
type plain struct{ *recorder }

func (w plain) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.written += int64(n)
	return n, err
}

// Flush makes a recorder an http.Flusher.
func (w *recorder) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *recorder) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.compress.held {
		w.decide(unknownSize)
	}
	if w.compress.writer != nil {
		if err := w.compress.writer.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// end writes what is left of a compressed answer.
func (w *recorder) end() {
	if w.compress.held {
		w.decide(0)
	}
	w.compress.end()
}

// Hijack makes a recorder an http.Hijacker.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = err == nil
	if watched, ok := c.(*strict.Conn); ok {
		c = watched.Raw()
	}
	return c, rw, err
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
