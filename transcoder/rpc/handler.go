package rpc

import (
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
)

// Backend passes an HTTP/2 request of gRPC through to where it is served, and its answer back, both untouched.
// *upstream.Pool is one.
type Backend interface {
	RoundTrip(*http.Request) (*http.Response, error)
}

// Options are a route's choices.
type Options struct {
	Backend Backend
	// MaxMessage bounds each message of a client, in bytes.
	MaxMessage int64
	// Timeout bounds a call, and a stream as a whole; 0 for none.
	Timeout time.Duration
}

// Handler serves the calls of one method, or of several whose descriptors are not known. It is immutable and safe for
// concurrent use.
type Handler struct {
	options Options
}

// New returns a handler.
func New(o Options) *Handler { return &Handler{options: o} }

// Serve answers a call in its protocol, which is not None. It returns how the call ended.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, p Protocol) codes.Code {
	switch p {
	case GRPC:
		return h.serveGRPC(w, r)
	case GRPCWeb, GRPCWebText:
		return h.serveGRPCWeb(w, r)
	}
	return Refuse(w, r, p, fault.New(fault.WrongProtocol, "not served"))
}

// Refuse answers a call, before its body was read, with an error that no backend gave: a *fault.Error or another gRPC
// status. It returns the status' code.
func Refuse(w http.ResponseWriter, r *http.Request, p Protocol, err error) codes.Code {
	switch p {
	case GRPCWeb, GRPCWebText:
		return newWebAnswer(w, r).refuse(err)
	}
	return refuseGRPC(w, err)
}
