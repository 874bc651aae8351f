package telemetry

import (
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/crossgate/crossgate/config"
)

// Telemetry is the registry and the logs of one process. Its methods are safe for concurrent use.
type Telemetry struct {
	// Logger is the process log.
	Logger *slog.Logger
	// Access is the access log.
	Access *AccessLog

	registry  *prometheus.Registry
	level     slog.LevelVar
	serving   atomic.Int64
	cacheSize atomic.Pointer[func() (entries int, bytes uint64)]
	metrics

	mu        sync.Mutex
	routes    map[string]*RouteMetrics
	upstreams map[string]int // how many have the series

	sourceHolders map[sourceKey]int // and of a source
	loginHolders  map[string]int    // and of a login provider
}

// New returns a Telemetry that logs to w, which must allow concurrent writes as os.Stderr does. Close flushes it.
func New(cfg config.Log, w io.Writer) *Telemetry {
	t := &Telemetry{registry: prometheus.NewRegistry(), routes: map[string]*RouteMetrics{}, upstreams: map[string]int{}, sourceHolders: map[sourceKey]int{}, loginHolders: map[string]int{}}
	t.level.Set(levelOf(cfg.Level))
	options := &slog.HandlerOptions{Level: &t.level}
	if cfg.Format == "text" {
		t.Logger = slog.New(slog.NewTextHandler(w, options))
	} else {
		t.Logger = slog.New(slog.NewJSONHandler(w, options))
	}
	t.Access = newAccessLog(cfg, w)
	t.metrics = newMetrics()
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.registry.MustRegister(t.metrics.all()...)
	t.registry.MustRegister(t.cacheGauges()...)
	t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "crossgate_requests_in_flight", Help: "Requests being served, gRPC calls over WebSocket among them, sessions on the bus not.",
	}, func() float64 { return float64(t.serving.Load()) }))
	return t
}

// Configure applies what a reload may change: the level and which requests the access log has.
func (t *Telemetry) Configure(cfg config.Log) {
	t.level.Set(levelOf(cfg.Level))
	t.Access.configure(cfg)
}

// Handler serves /metrics.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// Close writes what the access log still holds and stops its goroutine.
func (t *Telemetry) Close() { t.Access.close() }

func levelOf(name string) slog.Level {
	switch name {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}
