package telemetry

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Protocol is how a request came.
type Protocol uint8

// The protocols.
const (
	REST Protocol = iota
	GRPC
	GRPCWeb
	Connect
	WebSocket
	HTTP
	SSE // what a session of the bridge without WebSocket consists of
	protocols
)

func (p Protocol) String() string {
	return [...]string{"rest", "grpc", "grpc_web", "connect", "websocket", "http", "sse"}[p]
}

// RouteMetrics are the series of one route. A series is made by the first request that counts in it: most routes use few of
// them, and there may be many routes. Observe and Refused take no lock, but for that first request.
type RouteMetrics struct {
	t     *Telemetry
	route string

	answers  [protocols]atomic.Pointer[answers]
	refusals [refusalReasons]series
	limits   sync.Map                                        // limitEvent to prometheus.Counter
	decided  atomic.Pointer[map[decision]prometheus.Counter] // replaced as a whole
	bytesIn  series
	bytesOut series

	made map[madeSeries]struct{} // what goes with the route; under the mutex of t
}

// series is a counter once something has been counted.
type series struct {
	counter atomic.Pointer[prometheus.Counter]
}

// answers are the series of one protocol's requests, by hundreds of their statuses and then by statuses.
type answers struct {
	duration prometheus.Observer
	classes  [5]atomic.Pointer[[100]series]
}

// madeSeries is a series of a route, and where it is.
type madeSeries struct {
	from   deleter
	labels [2]string // besides the route's name
	count  int       // of those labels
}

type deleter interface{ DeleteLabelValues(...string) bool }

// NoRoute is the name under which requests are counted that no route matched.
const NoRoute = "(none)"

// Route returns the series of a route, the same for the same name. Names come from configuration, never from clients.
func (t *Telemetry) Route(name string) *RouteMetrics {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.routes[name]; r != nil {
		return r
	}
	r := &RouteMetrics{t: t, route: name}
	t.routes[name] = r
	return r
}

// Retain drops the series of every route that is not among names, so that routes which are gone leave nothing behind.
func (t *Telemetry) Retain(names map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, r := range t.routes {
		if names[name] || name == NoRoute {
			continue
		}
		delete(t.routes, name)
		for m := range r.made {
			m.from.DeleteLabelValues(append([]string{name}, m.labels[:m.count]...)...)
		}
		r.made = nil
	}
}

// Observe counts one answered request. status is the HTTP status; one outside 100 to 599 counts as 500. in and out
// are the bytes of the bodies; a negative in, a body of unknown length, is not counted.
func (r *RouteMetrics) Observe(p Protocol, status int, d time.Duration, in, out int64) {
	if status < 100 || status > 599 {
		status = 500
	}
	of := r.answers[p].Load()
	if of == nil {
		of = r.serves(p)
	}
	class := of.classes[status/100-1].Load()
	if class == nil {
		of.classes[status/100-1].CompareAndSwap(nil, new([100]series))
		class = of.classes[status/100-1].Load()
	}
	counter := class[status%100].counter.Load()
	if counter == nil {
		counter = class[status%100].set(r.create(r.t.requests, p.String(), strconv.Itoa(status)))
	}
	(*counter).Inc()
	of.duration.Observe(d.Seconds())
	if in > 0 {
		r.bytes(&r.bytesIn, r.t.bytesIn).Add(float64(in))
	}
	if out > 0 {
		r.bytes(&r.bytesOut, r.t.bytesOut).Add(float64(out))
	}
}

// serves makes what the first request of a protocol needs.
func (r *RouteMetrics) serves(p Protocol) *answers {
	of := &answers{duration: seriesOf(r, r.t.duration, prometheus.Observer(nowhereTime), p.String())}
	r.answers[p].CompareAndSwap(nil, of)
	return r.answers[p].Load()
}

func (r *RouteMetrics) bytes(s *series, from *prometheus.CounterVec) prometheus.Counter {
	counter := s.counter.Load()
	if counter == nil {
		counter = s.set(r.create(from))
	}
	return *counter
}

func (s *series) set(counter prometheus.Counter) *prometheus.Counter {
	s.counter.Store(&counter)
	return &counter
}

// These count for routes that are gone.
var (
	nowhere     = prometheus.NewCounter(prometheus.CounterOpts{Name: "nowhere"})
	nowhereOpen = prometheus.NewGauge(prometheus.GaugeOpts{Name: "nowhere_open"})
	nowhereTime = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "nowhere_seconds", Buckets: []float64{1}})
)

// create returns the counter with the route's name and labels.
func (r *RouteMetrics) create(from *prometheus.CounterVec, labels ...string) prometheus.Counter {
	return seriesOf(r, from, prometheus.Counter(nowhere), labels...)
}

// seriesOf returns the series of from with the route's name and labels. For a route that [Telemetry.Retain] has dropped,
// which old sessions and requests may go on using, it creates none, as nothing would drop that one, and returns gone.
func seriesOf[M any](r *RouteMetrics, from vector[M], gone M, labels ...string) M {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if r.t.routes[r.route] != r {
		return gone
	}
	m := madeSeries{from: from}
	m.count = copy(m.labels[:], labels)
	if r.made == nil {
		r.made = map[madeSeries]struct{}{}
	}
	r.made[m] = struct{}{}
	return from.WithLabelValues(append([]string{r.route}, labels...)...)
}

type vector[M any] interface {
	deleter
	WithLabelValues(labels ...string) M
}

// Refusal is why a request or a message was not admitted.
type Refusal uint8

// The refusals.
const (
	RefusedNoRoute Refusal = iota
	RefusedMethod
	RefusedUnauthenticated
	RefusedPermission
	RefusedLimit
	RefusedUnavailable
	RefusedBadRequest
	RefusedOverloaded
	RefusedCrossOrigin
	refusalReasons
)

func (f Refusal) String() string {
	return [...]string{"no_route", "method_not_allowed", "unauthenticated", "permission_denied", "limit_exceeded", "unavailable", "bad_request", "overloaded", "cross_origin"}[f]
}

// Refused counts one refusal.
func (r *RouteMetrics) Refused(why Refusal) {
	if why >= refusalReasons {
		return
	}
	counter := r.refusals[why].counter.Load()
	if counter == nil {
		counter = r.refusals[why].set(r.create(r.t.refusals, why.String()))
	}
	(*counter).Inc()
}

// Transport is how the client of a session is connected.
type Transport uint8

// The transports.
const (
	OverWebSocket Transport = iota
	OverSSE
)

func (t Transport) String() string { return [...]string{"websocket", "sse"}[t] }

// SessionMetrics are the series of the sessions of one route over one transport.
type SessionMetrics struct {
	Open prometheus.Gauge
	// In and Out count messages.
	In  prometheus.Counter
	Out prometheus.Counter
}

// Sessions returns the series of the route's sessions over a transport.
func (r *RouteMetrics) Sessions(over Transport) *SessionMetrics {
	return &SessionMetrics{
		Open: seriesOf(r, r.t.wsOpen, nowhereOpen, over.String()),
		In:   r.create(r.t.wsFrames, over.String(), "in"),
		Out:  r.create(r.t.wsFrames, over.String(), "out"),
	}
}

// WebSocketClosed counts a closed session. A client may close with any code of 3000 to 4999: the codes that neither
// RFC 6455 nor Crossgate gives a meaning to count as "other", so that clients cannot make series.
func (r *RouteMetrics) WebSocketClosed(code int) {
	label := "other"
	switch code {
	case 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4001, 4003, 4004, 4005, 4008, 4009, 4010:
		label = strconv.Itoa(code)
	default:
		if code > 4100 && code <= 4116 { // a gRPC code
			label = strconv.Itoa(code)
		}
	}
	r.create(r.t.wsCloses, label).Inc()
}

// WebSocketLimited counts what one of the limits of WebSocket sessions has refused. Their names come from the bridge.
func (r *RouteMetrics) WebSocketLimited(limit string) { r.create(r.t.wsLimits, limit).Inc() }

// LimitResult is what a limit came to that did not simply let a request pass.
type LimitResult uint8

// The results.
const (
	LimitRefused   LimitResult = iota
	LimitDryRun                // it would have refused
	LimitUncounted             // its store is gone
)

func (r LimitResult) String() string { return [...]string{"refused", "dry_run", "uncounted"}[r] }

type limitEvent struct {
	limit  string
	result LimitResult
}

// Limit counts what one of the route's limits came to. Its name comes from configuration.
func (r *RouteMetrics) Limit(name string, result LimitResult) {
	event := limitEvent{name, result}
	counter, ok := r.limits.Load(event)
	if !ok {
		counter, _ = r.limits.LoadOrStore(event, r.create(r.t.limits, name, result.String()))
	}
	counter.(prometheus.Counter).Inc()
}

// InFlight adds n, 1 or -1, to the requests being served.
func (t *Telemetry) InFlight(n int64) { t.serving.Add(n) }

// RequestsInFlight returns how many requests are being served.
func (t *Telemetry) RequestsInFlight() int64 { return t.serving.Load() }

// Mirrored returns the counter of copies of the route's requests with which it came to result.
func (r *RouteMetrics) Mirrored(result string) prometheus.Counter {
	return r.create(r.t.mirrored, result)
}
