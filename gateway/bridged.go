package gateway

import (
	"net/http"
	"strings"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/wsbridge"
)

// bridged is a route whose clients have sessions of the bridge.
type bridged struct {
	node      *wsbridge.Node
	route     *wsbridge.Route
	telemetry *telemetry.Telemetry
	sockets   socketMetrics
	streams   *socketMetrics // nil where clients without WebSocket are not served
	maxBody   int64
}

// bridge adds the rule of a route of the bridge.
func (c *compiler) bridge(cfg *config.Route, policy *admission.Policy, r *route) {
	b := &bridged{
		node: c.node, route: wsbridge.CompileRoute(cfg.Name, cfg.WebSocket), telemetry: c.telemetry,
		sockets: socketMetricsOf(r, telemetry.OverWebSocket), maxBody: int64(cfg.MaxBodySize),
	}
	methods := []string{http.MethodGet}
	if cfg.WebSocket.HasEvents() {
		streams := socketMetricsOf(r, telemetry.OverSSE)
		b.streams = &streams
		methods = append(methods, http.MethodPost)
		if r.cors == nil {
			r.cors = corsOfOrigins(cfg.WebSocket.Origins)
		}
	}
	c.bridged = append(c.bridged, b.route)
	c.own(cfg, policy, &target{route: r, kind: "websocket", protocol: telemetry.WebSocket, calls: "websocket:" + cfg.WebSocket.Service, serve: b.serve}, methods)
}

func (b *bridged) serve(x *exchange) {
	switch {
	case x.request.Upgrade:
		// The session outlives the exchange and its snapshot, so the ticket goes with it and the count ends here.
		ticket := x.ticket
		x.ticket = new(admission.Ticket)
		x.leave()
		if e := b.node.Serve(&x.w, x.r, ticket, b.route, b.sockets); e != nil {
			ticket.Release()
			x.fail(e)
		}
	case b.streams != nil && x.r.Method == http.MethodPost:
		x.events = true
		x.r.Body = http.MaxBytesReader(&x.w, x.r.Body, b.maxBody)
		if e := b.node.Post(&x.w, x.r, x.ticket, b.route); e != nil {
			x.fail(e)
		}
	case b.streams != nil && x.r.Method == http.MethodGet && acceptsEvents(x.r):
		x.events = true
		b.stream(x)
	default:
		x.w.Header().Set("Upgrade", "websocket")
		x.fail(fault.New(fault.UpgradeRequired, "this path speaks WebSocket"))
	}
}

// stream serves a session by this request. It is no request in flight as others are, since it takes as long as the client likes,
// and holds no snapshot.
func (b *bridged) stream(x *exchange) {
	x.leave()
	b.telemetry.InFlight(-1)
	defer b.telemetry.InFlight(1)
	ticket := x.ticket
	x.ticket = new(admission.Ticket) // what is left of the session at the end may have the other still
	if e := b.node.ServeEvents(&x.w, x.r, ticket, b.route, streamMetrics{*b.streams, x}); e != nil {
		ticket.Release()
		x.fail(e)
	}
}

// acceptsEvents reports whether the client asks for an event stream.
func acceptsEvents(r *http.Request) bool {
	for name, weight := range transcoder.Weighted(r.Header["Accept"]) {
		if weight > 0 && strings.EqualFold(name, "text/event-stream") {
			return true
		}
	}
	return false
}

// socketMetrics counts sessions on a route's series.
type socketMetrics struct {
	*telemetry.RouteMetrics
	sessions *telemetry.SessionMetrics
}

func socketMetricsOf(r *route, over telemetry.Transport) socketMetrics {
	return socketMetrics{r.metrics, r.metrics.Sessions(over)}
}

func (m socketMetrics) Opened()     { m.sessions.Open.Inc() }
func (m socketMetrics) MessageIn()  { m.sessions.In.Inc() }
func (m socketMetrics) MessageOut() { m.sessions.Out.Inc() }

func (m socketMetrics) Limited(limit string) { m.WebSocketLimited(limit) }

func (m socketMetrics) Noted(charges []admission.Charge) { noteLimits(m.RouteMetrics, charges) }

func (m socketMetrics) Closed(code int) {
	m.sessions.Open.Dec()
	m.WebSocketClosed(code)
}

func (m socketMetrics) Refused(f *admission.Refusal) { m.RouteMetrics.Refused(refusalOf(f.Kind)) }

// streamMetrics note when the session of an exchange was opened: its latency is the time to that.
type streamMetrics struct {
	socketMetrics
	exchange *exchange
}

// Opened is called in the exchange's goroutine.
func (m streamMetrics) Opened() {
	m.exchange.opened = time.Since(m.exchange.start)
	m.socketMetrics.Opened()
}
