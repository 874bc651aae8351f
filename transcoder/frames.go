package transcoder

import (
	"net/http"
	"strings"
)

// frames is how the messages of a stream stand in a body: server-sent events, or a line for each message (NDJSON).
type frames struct{ events bool }

// framing chooses events where the client asks for them.
func framing(r *http.Request) frames {
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "text/event-stream") {
			return frames{events: true}
		}
	}
	return frames{}
}

var (
	linesType  = []string{"application/x-ndjson"}
	eventsType = []string{"text/event-stream"}
	noCache    = []string{"no-cache"}
	noBuffer   = []string{"no"}
)

func (f frames) header(h http.Header) {
	h["Content-Type"] = linesType
	if f.events {
		h["Content-Type"] = eventsType
		h["Cache-Control"] = noCache
	}
	// Proxies on the way should pass each message on at once.
	h["X-Accel-Buffering"] = noBuffer
}

// open and close stand around the JSON of a message, which has no line breaks.
func (f frames) open(dst []byte) []byte {
	if f.events {
		return append(dst, "data: "...)
	}
	return dst
}

func (f frames) close(dst []byte) []byte {
	if f.events {
		return append(dst, "\n\n"...)
	}
	return append(dst, '\n')
}

// failure is the last frame of a stream that failed after its first byte.
func (f frames) failure(statusJSON []byte) []byte {
	if f.events {
		return append(append([]byte("event: error\ndata: "), statusJSON...), "\n\n"...)
	}
	return append(append([]byte(`{"error":`), statusJSON...), "}\n"...)
}
