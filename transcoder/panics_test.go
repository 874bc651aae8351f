package transcoder

import (
	"bytes"
	"io"
	"log"
	"sync"
	"testing"
)

// noPanics fails the test when net/http recovers one, which it only logs.
func noPanics(t testing.TB) *log.Logger {
	w := new(panicWriter)
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.seen != nil {
			t.Errorf("%s", w.seen)
		}
	})
	return log.New(w, "", 0)
}

type panicWriter struct {
	mu   sync.Mutex
	seen []byte
}

func (w *panicWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = bytes.Clone(p)
	}
	return io.Discard.Write(p)
}
