package rpc

import (
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/transcoder/validation"
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
	// MaxAnswer bounds each message of a backend where it is held: those of Connect's unary calls and its JSON.
	MaxAnswer int64
	// Timeout bounds a call, and a stream as a whole; 0 for none.
	Timeout time.Duration
	// Rules are what each message of a client must hold to; nil for none.
	Rules *validation.Rules
	// Codec translates Connect's JSON.
	Codec codec.Codec
	JSON  codec.Options
}

// Handler serves the calls of one method, or of several whose descriptors are not known. It is immutable and safe for
// concurrent use.
type Handler struct {
	options  Options
	method   *descriptors.Method // nil where it is not known
	request  codec.Request
	response codec.Response
}

// NewUndescribed returns a handler of any method, which cannot translate JSON.
func NewUndescribed(o Options) *Handler { return &Handler{options: o} }

// New returns a handler of one method.
func New(m *descriptors.Method, o Options) (*Handler, error) {
	h := &Handler{options: o, method: m}
	if o.JSON.Resolver == nil {
		o.JSON.Resolver = m.Service.Resolver()
	}
	var err error
	if h.request, err = o.Codec.CompileRequest(m.Descriptor.Input(), "*", o.JSON); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Descriptor.FullName(), err)
	}
	if h.response, err = o.Codec.CompileResponse(m.Descriptor.Output(), "", o.JSON); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Descriptor.FullName(), err)
	}
	return h, nil
}

// WithBackend returns the handler as another backend serves it, whose messages are maxAnswer long at most where they are held.
// They share what is compiled.
func (h *Handler) WithBackend(b Backend, maxAnswer int64) *Handler {
	other := *h
	other.options.Backend, other.options.MaxAnswer = b, maxAnswer
	return &other
}

// Serve answers a call in its protocol, which is not None. It returns how the call ended.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, p Protocol) codes.Code {
	switch p {
	case GRPC:
		return h.serveGRPC(w, r)
	case GRPCWeb, GRPCWebText:
		return h.serveGRPCWeb(w, r)
	case ConnectStream:
		return h.serveConnectStream(w, r)
	default:
		return h.serveConnect(w, r, p)
	}
}

// Refuse answers a call, before its body was read, with an error that no backend gave: a *fault.Error or another gRPC
// status. It returns the status' code.
func Refuse(w http.ResponseWriter, r *http.Request, p Protocol, err error) codes.Code {
	switch p {
	case GRPC:
		return refuseGRPC(w, err)
	case GRPCWeb, GRPCWebText:
		return newWebAnswer(w, r).refuse(err)
	case ConnectStream:
		return refuseConnectStream(w, r, err)
	default:
		return refuseConnect(w, r, err)
	}
}
