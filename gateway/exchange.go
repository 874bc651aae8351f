package gateway

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/proxy"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// exchange is one request on its way through the gateway. It is pooled: nothing may keep it, or what it points to,
// beyond the handler's return.
type exchange struct {
	w        recorder
	r        *http.Request
	snap     *Snapshot // nil once the exchange has left it
	stripe   uint32
	trusted  []netip.Prefix // of the listener
	start    time.Time
	id       string
	protocol rpc.Protocol
	code     codes.Code // how a call of an RPC protocol ended
	request  admission.Request
	ticket   *admission.Ticket
	user     string             // who was admitted
	binding  string             // and to what
	dryRun   string             // the limit that would have refused
	target   *target            // nil until routed
	refusal  *admission.Refusal // nil when admitted
	broken   bool               // the answer ends too early
	why      string             // why a login failed
	call     proxy.Call         // for routes of plain HTTP
	hops     []netip.Addr       // of the call
	events   bool               // it is part of a session without WebSocket
	opened   time.Duration      // and what that took to begin, where this is its stream
	decision admission.Decision
	choice   release.Choice // of the route's release; of no variant where it has none
	closed   int            // the code that a call over a WebSocket was closed with
	ask      cache.Request  // for routes with a cache
	origin   origin
	message  []byte // that it is asked by; its memory is kept
}

var nextStripe atomic.Uint32

var exchanges = sync.Pool{New: func() any {
	return &exchange{ticket: new(admission.Ticket), stripe: nextStripe.Add(1) % stripes}
}}

var errTooManyHeaders = fault.New(fault.HeaderTooLarge, "the request has more header fields than are taken")

// ServeHTTP serves one request of any protocol: it takes the newest snapshot and serves the request to its end from
// that one.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	defer exchanges.Put(x)
	x.begin(l, w, r)
	defer x.end(l.gateway)
	if len(r.Header) > l.config.MaxHeaders {
		x.fail(errTooManyHeaders)
	} else if e := malformed(r); e != nil {
		x.fail(e)
	} else {
		x.run()
	}
	l.unread(r)
	if r.Context().Err() != nil {
		l.givenUp(r)
	}
}

func (x *exchange) begin(l *listener, w http.ResponseWriter, r *http.Request) {
	x.w = recorder{ResponseWriter: w}
	x.r, x.trusted = r, l.trusted
	x.start = time.Now()
	x.snap = l.gateway.acquire(x.stripe)
	x.target, x.refusal, x.user, x.binding, x.dryRun, x.why, x.broken = nil, nil, "", "", "", "", false
	x.events, x.opened, x.closed = false, 0, 0
	x.protocol, x.code = rpc.Detect(r), codes.OK
	x.identify()
	upgrade := isUpgrade(r)
	if upgrade {
		// Routes match the name by its bytes, and it has no case (RFC 6455 section 4.2.1).
		r.Header["Upgrade"] = websocketName
	}
	l.gateway.telemetry.InFlight(1)
	x.request = admission.Request{
		Request:   routing.Request{Host: hostname(r.Host), Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header},
		Client:    clientAddr(r, l.trusted),
		Upgrade:   upgrade,
		Authority: r.Host,
		RawQuery:  r.URL.RawQuery,
		ID:        x.id,
		Protocol:  r.Proto,

		ClientCertificate: l.setTLS(r),
	}
	if !upgrade && r.Body != nil && r.Body != http.NoBody {
		x.request.Body = x
	}
	x.w.overTLS = r.TLS != nil
	x.secure(x.snap.security)
}

// secure has the answer get a route's security headers, or with none the gateway's. Clients of gRPC are no browsers.
func (x *exchange) secure(s *securityHeaders) {
	if x.w.security = s; x.protocol == rpc.GRPC {
		x.w.security = nil
	}
}

// hostname cuts the port off a Host header.
func hostname(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.IndexByte(host[colon:], ']') >= 0 {
		return strings.Trim(host, "[]")
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// identify keeps the caller's request id when it is harmless, and makes one otherwise. The backend and the client
// both see it.
func (x *exchange) identify() {
	ids := x.r.Header["X-Request-Id"]
	if len(ids) != 1 || !telemetry.ValidRequestID(ids[0]) {
		ids = []string{telemetry.NewRequestID()}
		x.r.Header["X-Request-Id"] = ids
	}
	x.id = ids[0]
	x.w.Header()["X-Request-Id"] = ids
}

var websocketName = []string{"websocket"}

func isUpgrade(r *http.Request) bool {
	u := r.Header["Upgrade"]
	return len(u) > 0 && strings.EqualFold(u[0], "websocket")
}

func (x *exchange) run() {
	if isPreflight(x.r) && x.preflight() {
		return
	}
	x.refusal = x.snap.admitter.Admit(x.r.Context(), &x.request, x.ticket)
	x.decision = x.ticket.Decision
	if x.ticket.Noted {
		x.dryRun = wouldRefuse(x.ticket.Limits)
		noteLimits(x.ticket.Route.Target.(*target).route.metrics, x.ticket.Limits)
	}
	if x.refusal != nil {
		if x.refusal.Route != nil {
			x.enter(x.refusal.Route.Target.(*target))
			x.target.route.cors.decorate(x.w.Header(), x.r, x.protocol)
		}
		x.refuse()
		return
	}
	x.enter(x.ticket.Route.Target.(*target))
	x.user, x.binding = x.ticket.Identity.User, x.ticket.Route.Binding
	if x.snap.loginCookies != nil && x.target.kind != "login" {
		for _, name := range x.snap.loginCookies {
			hideCookies(x.r.Header, name)
		}
	}
	h := x.w.Header()
	x.target.route.cors.decorate(h, x.r, x.protocol)
	setLimits(h, x.target.route.limits, x.ticket.Limits...)
	if x.target.overGRPC() {
		x.keepOrigin()
	}
	x.change(x.ticket.Changes)
	x.change(x.ticket.Forward)
	x.target.serve(x)
}

// enter notes what the request is for. Only methods at their own paths speak Connect: elsewhere what looks like it is a
// query parameter or a header of another meaning.
func (x *exchange) enter(t *target) {
	x.target = t
	x.secure(t.route.security)
	switch {
	case !t.ownPath() && x.protocol >= rpc.Connect:
		x.protocol = rpc.None
	case t.ownPath() && x.r.Method == http.MethodGet:
		x.protocol = rpc.ConnectGet
	}
	if x.protocol == rpc.None {
		x.w.compress.ask(t.route.compression, x.r)
	}
}

// preflight answers for the route that the announced method has, where that route lets other origins in. Preflights
// carry no credentials, and are not charged.
func (x *exchange) preflight() bool {
	ask := x.request.Request
	ask.Method = x.r.Header.Get("Access-Control-Request-Method")
	ask.Announced = announced(x.r)
	found, vars, outcome := x.snap.table.Match(&ask, x.ticket.Vars)
	x.ticket.Vars = vars
	if outcome != routing.Matched {
		return false
	}
	t := found.Target.(*target)
	if t.route.cors == nil {
		return false
	}
	x.target = t
	x.secure(t.route.security)
	t.route.cors.preflight(&x.w, x.r)
	return true
}

// telemetryOf is what a protocol is counted as.
func telemetryOf(p rpc.Protocol) telemetry.Protocol {
	switch p {
	case rpc.GRPC:
		return telemetry.GRPC
	case rpc.GRPCWeb, rpc.GRPCWebText:
		return telemetry.GRPCWeb
	}
	return telemetry.Connect
}

// leave ends the exchange's hold on its snapshot.
func (x *exchange) leave() {
	if x.snap != nil {
		x.snap.release(x.stripe)
		x.snap = nil
	}
}

// end counts and logs the request, and lets go of everything.
func (x *exchange) end(g *Gateway) {
	x.w.end()
	x.leave()
	x.ticket.Release()
	g.telemetry.InFlight(-1)
	status := x.w.status
	if status == 0 {
		status = http.StatusOK
	}
	protocol, metrics := telemetry.REST, g.noRoute
	if x.target != nil {
		protocol, metrics = x.target.protocol, x.target.route.metrics
	}
	if x.w.hijacked && protocol != telemetry.HTTP {
		protocol = telemetry.WebSocket
	}
	if x.protocol != rpc.None {
		protocol = telemetryOf(x.protocol)
		status = transcoder.HTTPStatus(x.code)
	}
	if x.events {
		protocol = telemetry.SSE
	}
	latency := x.opened
	if latency == 0 {
		latency = time.Since(x.start)
	}
	metrics.Observe(protocol, status, latency, x.r.ContentLength, x.w.written)
	if x.choice.Variant != nil {
		x.tellRelease(status)
	}
	if x.refusal != nil {
		metrics.Refused(refusalOf(x.refusal.Kind))
	}
	if d := x.decision; d.Rule != "" {
		metrics.Decided(d.Rule, x.verdict(), d.WouldDeny)
	}
	if g.telemetry.Access.Wants(status) {
		x.log(g, protocol, status, latency)
	}
	x.w, x.r, x.target, x.refusal = recorder{}, nil, nil, nil
	x.request = admission.Request{}
	x.decision = admission.Decision{}
	x.choice = release.Choice{}
	if cap(x.message) > keepMessage {
		x.message = nil
	}
}

// verdict is what the route's rules made of the request.
func (x *exchange) verdict() telemetry.Verdict {
	denied := x.refusal != nil && (x.refusal.Kind == admission.PermissionDenied || x.refusal.Kind == admission.IdentityUnavailable || x.refusal.Answer != nil)
	switch {
	case x.decision.Unanswered && denied:
		return telemetry.FailedClosed
	case x.decision.Unanswered:
		return telemetry.FailedOpen
	case denied:
		return telemetry.Denied
	}
	return telemetry.Allowed
}

func (x *exchange) log(g *Gateway, protocol telemetry.Protocol, status int, latency time.Duration) {
	e := telemetry.AccessEntry{
		Start: x.start, Latency: latency, RequestID: x.id, Client: x.request.Client, Protocol: protocol, Method: x.r.Method,
		Host: x.r.Host, Path: x.r.URL.Path, Status: status, BytesIn: x.r.ContentLength, BytesOut: x.w.written,
	}
	if t := x.target; t != nil {
		e.Route, e.Upstream = t.route.name, t.upstream
		if v := x.choice.Variant; v != nil {
			e.Variant, e.Upstream = v.Name, cmp.Or(v.Upstream, t.upstream)
		}
		if t.upstream != "" && t.protocol != telemetry.HTTP {
			e.GRPC = t.calls
		}
	}
	e.User, e.Binding, e.DryRun = x.user, x.binding, x.dryRun
	if d := &x.decision; d.Rule != "" {
		e.Rule, e.Decision, e.WouldDeny = d.Rule, x.verdict().String(), d.WouldDeny
	}
	if x.refusal != nil {
		e.Reason = x.refusal.Reason
		if x.refusal.Limit.Rule != nil {
			e.Limit = x.refusal.Limit.Name
		}
	}
	if x.why != "" {
		e.Reason = x.why
	}
	if x.broken {
		e.Reason = "the answer was broken off"
	}
	if trace := x.r.Header["Traceparent"]; len(trace) == 1 {
		e.TraceID = telemetry.TraceID(trace[0])
	}
	g.telemetry.Access.Write(&e)
}
