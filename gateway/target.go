package gateway

import (
	"net/http"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
	"github.com/crossgate/crossgate/upstream"
)

// target serves requests that were admitted to one binding of a route.
type target struct {
	route *route
	serve func(x *exchange)

	// For listings, logs and metrics.
	kind     string // rest, rpc, grpc, websocket, login or respond
	protocol telemetry.Protocol
	calls    string // the full gRPC method, or the service on the bus
	upstream string
	streams  bool // the time until its answer begins tells nothing of the backend
}

// ownPath reports whether the target is a method at its own path, or all of a service at theirs.
func (t *target) ownPath() bool { return t.kind == "rpc" || t.kind == "grpc" }

// overGRPC reports whether headers of the request may reach a backend as metadata.
func (t *target) overGRPC() bool { return t.kind == "rest" || t.kind == "websocket" || t.ownPath() }

// route is what one configured route means to the gateway, besides its policy.
type route struct {
	name        string
	cors        *cors
	compression *compression
	security    *securityHeaders
	limits      []string // the RateLimit-Policy field
	metrics     *telemetry.RouteMetrics
	login       *auth.Login      // how browsers get a session; nil for not at all
	release     *release.Release // nil for none
	sides       []*upstream.Pool // of the release's variants; nil for the route's own
}

// transcode answers with a transcoded call.
func (x *exchange) transcode(m *transcoder.Method, vars routing.Vars) {
	r, release := decompress(x.r)
	defer release()
	m.Serve(&x.w, r, vars)
}

// serveREST answers with a transcoded call.
func serveREST(m *transcoder.Method) func(*exchange) {
	return func(x *exchange) {
		switch x.protocol {
		case rpc.GRPC, rpc.GRPCWeb, rpc.GRPCWebText:
			x.fail(fault.New(fault.WrongProtocol, "this path is a REST binding; call the method by its own path"))
			return
		}
		x.transcode(m, x.ticket.Vars)
	}
}

// serveRPC answers at a method's own path: RPC protocols by h, which is nil where they must not pass undescribed, other
// JSON by m, which is nil where the method's descriptors are not known (yet).
func serveRPC(h *rpc.Handler, m *transcoder.Method) func(*exchange) {
	return func(x *exchange) {
		switch {
		case x.protocol != rpc.None && h != nil:
			x.code = h.Serve(&x.w, x.r, x.protocol)
		case m != nil:
			x.transcode(m, nil)
		default:
			x.fail(fault.New(fault.DescriptorsMissing, "no descriptors of this service have been loaded yet"))
		}
	}
}

// respond is a fixed answer.
type respond struct {
	status int
	header http.Header
	body   []byte
}

func (a *respond) serve(x *exchange) {
	h := x.w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	x.w.WriteHeader(a.status)
	if x.r.Method != http.MethodHead && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		_, _ = x.w.Write(a.body)
	}
}
