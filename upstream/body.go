package upstream

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// sentBody is a request body while one endpoint is tried. The transport closes the body of a request that it could not
// send, and the next endpoint needs it: a body that nothing was read of stays open for that one. Once it is being read,
// closing it is how the transport ends a read that waits for the caller when the backend's connection breaks.
type sentBody struct {
	body io.ReadCloser

	mu             sync.Mutex
	reading, ended bool
	broken         bool      // reading failed
	whole          time.Time // when all of it had been read
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.body.Read(p)
	if err != nil {
		b.mu.Lock()
		if !errors.Is(err, io.EOF) {
			b.broken = true
		} else if b.whole.IsZero() {
			b.whole = time.Now()
		}
		b.mu.Unlock()
	}
	return n, err
}

// since returns when the backend had all of a request that was begun at start; false while the caller is still sending it.
func (b *sentBody) since(start time.Time) (time.Time, bool) {
	if b == nil {
		return start, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole, !b.whole.IsZero()
}

// isBroken reports whether the caller's side of the body has failed, which is no fault of the endpoint.
func (b *sentBody) isBroken() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

func (b *sentBody) Close() error {
	b.mu.Lock()
	b.ended = true
	reading := b.reading
	b.mu.Unlock()
	if !reading {
		return nil
	}
	return b.body.Close()
}
