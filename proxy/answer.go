package proxy

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// answer passes the backend's answer on.
func (x *exchange) answer(ctx context.Context, answer *http.Response) *fault.Error {
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return x.switchProtocols(answer)
	}
	if answer.StatusCode < http.StatusOK || answer.StatusCode > 999 {
		return fault.Errorf(fault.UpstreamResponseInvalid, "the backend's answer has the status %d", answer.StatusCode)
	}
	x.merge(answer)
	h := x.w.Header()
	announced := x.announced(answer)
	if announced != nil {
		h["Trailer"] = []string{strings.Join(announced, ", ")}
		if x.r.Method != http.MethodHead {
			delete(h, "Content-Length") // in HTTP/1.1 trailers need chunks
		}
	}
	x.w.WriteHeader(answer.StatusCode)
	if answer.ContentLength != 0 || answer.Trailer != nil {
		x.copy(ctx, answer)
	}
	x.trailers(answer, announced)
	return nil
}

// announced returns the names of the trailers that the backend has said will come.
func (x *exchange) announced(answer *http.Response) []string {
	var names []string
	for name := range answer.Trailer {
		if x.handler.passes(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// trailers passes on what came after the body.
func (x *exchange) trailers(answer *http.Response, announced []string) {
	flushed, h := false, x.w.Header()
	for name, values := range answer.Trailer {
		if !x.handler.passes(name) {
			continue
		}
		if !slices.Contains(announced, name) {
			if !flushed { // or net/http would give a short body its length, and so no place for trailers
				_ = http.NewResponseController(x.w).Flush()
				flushed = true
			}
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// passes reports whether a trailer of an answer is passed on: not what is of the connection, frames the body, or is the gateway's to
// say (RFC 9110 section 6.5.1).
func (h *Handler) passes(name string) bool {
	return !isConnectionHeader(name) && !slices.Contains(config.ConnectionHeaders, name) && name != "X-Request-Id" && !h.response.owns(name)
}

// merge puts the backend's headers to those that the gateway has set already, which stay: the backend knows nothing of
// limits and origins here.
func (x *exchange) merge(answer *http.Response) {
	from, h := answer.Header, x.w.Header()
	stripConnection(from)
	if via := x.handler.via; via != "" {
		from["Via"] = appendVia(from["Via"], answer.ProtoMajor, answer.ProtoMinor, via)
	}
	x.handler.response.apply(from, x.call)
	for name, values := range from {
		if x.handler.options.OwnCORS && strings.HasPrefix(name, "Access-Control-") {
			continue
		}
		if mine, ok := h[name]; ok {
			if name != "Vary" && name != "Set-Cookie" {
				continue
			}
			values = slices.Concat(mine, values)
		}
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
}

// copy passes the body on. What comes piece by piece goes out piece by piece.
func (x *exchange) copy(ctx context.Context, answer *http.Response) {
	piece := transcoder.NewPiece()
	buf, large := piece[:], (*largePiece)(nil)
	if answer.ContentLength > int64(len(piece)) {
		large = largePieces.Get().(*largePiece)
		buf = large[:]
	}
	defer func() {
		if x.lost { // HTTP/2's server may still be reading what it could not write
			return
		}
		piece.Release()
		if large != nil {
			largePieces.Put(large)
		}
	}()
	live := answer.ContentLength < 0
	var rc *http.ResponseController
	if live || answer.ContentLength > int64(len(piece)) {
		rc = http.NewResponseController(x.w)
		defer transcoder.LimitWrites(ctx, rc)()
	}
	if live {
		wait := flushSoon(rc, answer.Header)
		n, err := answer.Body.Read(buf)
		wait()
		if done := x.pass(rc, buf[:n], err, live); done {
			return
		}
	}
	for {
		n, err := answer.Body.Read(buf)
		if done := x.pass(rc, buf[:n], err, live); done {
			return
		}
	}
}

// largePiece is what is read at once of a body that is known to be long: half the system calls. What may come slowly and for
// long, as it has no length, makes do with less.
type largePiece [128 << 10]byte

var largePieces = sync.Pool{New: func() any { return new(largePiece) }}

// pass writes one piece and reports whether it was the last.
func (x *exchange) pass(rc *http.ResponseController, piece []byte, err error, live bool) bool {
	if len(piece) > 0 {
		if _, err := x.w.Write(piece); err != nil {
			x.lost = true
			return true // the client is gone
		}
	}
	switch {
	case err == nil && live:
		return rc.Flush() != nil
	case err == nil:
		return false
	case err == io.EOF:
		return true
	}
	// The client must not take for whole what is not.
	panic(http.ErrAbortHandler)
}

// headerDelay is how long a header waits for the first bytes of its body, to go out with them.
const headerDelay = 2 * time.Millisecond

// flushSoon sends the header on while the first bytes of the body are waited for, at once for a stream of events. wait ends
// that; then the writer is the caller's again.
func flushSoon(rc *http.ResponseController, h http.Header) (wait func()) {
	if kind := h["Content-Type"]; len(kind) == 1 && strings.HasPrefix(kind[0], "text/event-stream") {
		_ = rc.Flush()
		return func() {}
	}
	flushed := make(chan struct{})
	timer := time.AfterFunc(headerDelay, func() {
		_ = rc.Flush()
		close(flushed)
	})
	return func() {
		if !timer.Stop() {
			<-flushed
		}
	}
}
