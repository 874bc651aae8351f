package rpc

import (
	"maps"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// serveGRPC hands a call to a backend and its answer back: messages, compression, metadata and trailers pass as they
// came. Only hop-by-hop headers stay behind, and the deadline becomes the nearer of the caller's and the route's.
func (h *Handler) serveGRPC(w http.ResponseWriter, r *http.Request) codes.Code {
	if r.ProtoMajor < 2 {
		http.Error(w, "gRPC needs HTTP/2", http.StatusHTTPVersionNotSupported)
		return codes.Internal
	}
	timeout, err := transcoder.CallTimeout(r.Header, h.options.Timeout)
	if err != nil {
		return refuseGRPC(w, fault.New(fault.InvalidRequest, err.Error()))
	}
	c := h.begin(w, r, timeout)
	defer c.end()
	header := maps.Clone(r.Header)
	dropHop(header)
	body := &passing{Reader: r.Body, Closer: r.Body, call: c, frames: frames{max: h.options.MaxMessage, known: 0xff}}
	if err := c.send(header, body); err != nil {
		return refuseGRPC(w, err)
	}
	to := w.Header()
	maps.Copy(to, c.answer.Header)
	dropHop(to)
	w.WriteHeader(c.answer.StatusCode)
	if c.trailersOnly() {
		return codeOf(c.answer.Header)
	}
	// The headers go out at once: a stream's first message may be long in coming.
	if c.rc.Flush() != nil {
		return codes.Canceled
	}
	trailer := c.trailer(c.relay(func(b []byte) error {
		_, err := w.Write(b)
		return err
	}))
	for name, values := range trailer {
		to[http.TrailerPrefix+name] = values
	}
	return codeOf(trailer)
}

func dropHop(h http.Header) {
	for name := range h {
		if isOfHop(name) {
			delete(h, name)
		}
	}
}

// refuseGRPC answers with a status alone (PROTOCOL-HTTP2.md, Trailers-Only).
func refuseGRPC(w http.ResponseWriter, err error) codes.Code {
	s := status.Convert(err)
	h := w.Header()
	h["Content-Type"] = []string{"application/grpc"}
	transcoder.SetGRPCStatus(h, "", s)
	w.WriteHeader(http.StatusOK)
	return s.Code()
}
