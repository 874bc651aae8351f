package transcoder

import (
	"io"
	"net/http"
	"sync"
)

// HeldBody is a message in memory as a backend's transport reads it. HTTP/2's may do so when the call is over already: an answer
// need not wait for the end of its request.
type HeldBody struct {
	mu       sync.Mutex
	left     []byte
	released bool
}

// Hold has the body be b, until Release.
func (h *HeldBody) Hold(b []byte) { h.left = b }

// Read implements io.Reader.
func (h *HeldBody) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.released:
		return 0, http.ErrBodyReadAfterClose
	case len(h.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, h.left)
	h.left = h.left[n:]
	return n, nil
}

// Close implements io.Closer. The message is not the transport's to let go of, which may have to send it elsewhere.
func (h *HeldBody) Close() error { return nil }

// Release ends reading: the message's bytes are used again.
func (h *HeldBody) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left, h.released = nil, true
}
