package telemetry

import "github.com/prometheus/client_golang/prometheus"

// metrics are the series that are not a route's own. docs/metrics.md describes each.
type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	bytesIn   *prometheus.CounterVec
	bytesOut  *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	decisions *prometheus.CounterVec
	wsOpen    *prometheus.GaugeVec
	wsFrames  *prometheus.CounterVec
	wsCloses  *prometheus.CounterVec
	wsLimits  *prometheus.CounterVec
	limits    *prometheus.CounterVec
	mirrored  *prometheus.CounterVec
	BusUp     prometheus.Gauge
	BusBreaks prometheus.Counter
	BusDrops  *prometheus.CounterVec
	// Present, PresenceSwept and PresenceFails count those who are present in channels.
	Present       prometheus.Gauge
	PresenceSwept prometheus.Counter
	PresenceFails prometheus.Counter

	sources   *prometheus.CounterVec
	reloads   *prometheus.CounterVec
	reloadAt  prometheus.Gauge
	services  *prometheus.GaugeVec
	buildInfo *prometheus.GaugeVec
	endpoints *prometheus.GaugeVec
	ejections *prometheus.CounterVec

	releaseRequests, releaseRollbacks                         *prometheus.CounterVec
	releaseShare, releaseP99, releaseRolledBack, releaseNodes *prometheus.GaugeVec
	cached, cachedRedis                                       *prometheus.CounterVec
	// CacheEvictions and CachePurges count what the cache has let go of.
	CacheEvictions, CachePurges prometheus.Counter

	logins, loginFailures, refreshes, logouts, sessionsEnded *prometheus.CounterVec

	retries, hedges, rejections *prometheus.CounterVec
	concurrency                 *prometheus.GaugeVec
}

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "crossgate_" + name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "crossgate_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "crossgate_" + name, Help: help})
	}
	return metrics{
		requests: counter("requests_total", "Requests answered, by HTTP status.", "route", "protocol", "code"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "crossgate_request_duration_seconds",
			Help:    "Time from a request's headers to the last byte of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "protocol"}),
		bytesIn:   counter("request_bytes_total", "Bytes of request bodies with a declared length.", "route"),
		bytesOut:  counter("response_bytes_total", "Bytes of response bodies.", "route"),
		refusals:  counter("refusals_total", "Requests and WebSocket messages that were not admitted.", "route", "reason"),
		decisions: counter("authorization_decisions_total", "What authorisation rules and services made of requests.", "route", "rule", "decision"),
		wsOpen:    gauges("websocket_connections", "Open sessions of WebSocket routes.", "route", "transport"),
		wsFrames:  counter("websocket_messages_total", "Messages of WebSocket routes, in from clients and out to them.", "route", "transport", "direction"),
		wsCloses:  counter("websocket_closes_total", "Closed WebSocket sessions, by close code.", "route", "code"),
		wsLimits:  counter("websocket_limited_total", "What the limits of WebSocket sessions have refused, by limit.", "route", "limit"),
		limits:    counter("limit_events_total", "Requests and WebSocket messages over a limit, or let pass uncounted, by limit and result.", "route", "limit", "result"),
		mirrored:  counter("mirrored_requests_total", "Copies of requests for a second upstream, by what became of them.", "route", "result"),
		BusUp:     gauge("bus_connected", "1 while the bus subscription stands, else 0."),
		BusBreaks: prometheus.NewCounter(prometheus.CounterOpts{Name: "crossgate_bus_disconnects_total", Help: "Times the bus subscription broke."}),
		BusDrops:  counter("bus_dropped_total", "Messages from the bus that nobody got, by reason.", "reason"),
		Present:   gauge("presence_connections", "Connections of this node that are present in a channel, once for each channel."),
		PresenceSwept: prometheus.NewCounter(prometheus.CounterOpts{Name: "crossgate_presence_swept_total",
			Help: "Connections of nodes that are gone, which this node has taken out of channels."}),
		PresenceFails: prometheus.NewCounter(prometheus.CounterOpts{Name: "crossgate_presence_failures_total",
			Help: "Changes of presence that Redis did not take, and that are told again."}),
		cached:      counter("cache_requests_total", "Requests to routes with a cache, by what came of it.", "route", "result"),
		cachedRedis: counter("cache_redis_total", "Answers looked for or to be kept in Redis, by what came of it.", "route", "result"),
		CacheEvictions: prometheus.NewCounter(prometheus.CounterOpts{Name: "crossgate_cache_evictions_total",
			Help: "Answers that went from the cache for want of memory."}),
		CachePurges: prometheus.NewCounter(prometheus.CounterOpts{Name: "crossgate_cache_purged_total",
			Help: "Answers that were purged from the cache."}),
		sources:           counter("source_failures_total", "Questions to others outside that had no answer, by kind and name.", "kind", "name"),
		reloads:           counter("config_reloads_total", "Snapshots compiled, by result.", "result"),
		reloadAt:          gauge("config_last_reload_success_timestamp_seconds", "When the snapshot in force was installed."),
		services:          gauges("descriptor_services", "gRPC services known, by descriptor source.", "source"),
		endpoints:         gauges("upstream_endpoints", "Endpoints of an upstream: all that are known, those that checks find unhealthy, and those that are ejected.", "upstream", "state"),
		ejections:         counter("upstream_ejections_total", "Endpoints taken out for failing requests, by reason.", "upstream", "reason"),
		releaseRequests:   counter("release_requests_total", "Requests of a release's sides, by how they ended.", "release", "variant", "outcome"),
		releaseRollbacks:  counter("release_rollbacks_total", "Variants that this node has rolled back, by reason.", "release", "variant", "reason"),
		releaseShare:      gauges("release_share_percent", "The share of callers that belong to a side of a release.", "release", "variant"),
		releaseP99:        gauges("release_latency_seconds", "The 99th percentile of the time to an answer's headers, in the window by which variants are judged.", "release", "variant"),
		releaseNodes:      gauges("release_nodes", "How many nodes' requests a side of a release is judged by; 0 for this one's alone.", "release", "variant"),
		releaseRolledBack: gauges("release_rolled_back", "1 while a variant is rolled back, else 0.", "release", "variant"),

		logins:        counter("logins_total", "Logins of browsers that began, and those that made a session.", "provider", "result"),
		loginFailures: counter("login_failures_total", "Logins that made no session, by why.", "provider", "reason"),
		refreshes:     counter("session_refreshes_total", "Sessions that the OpenID provider was asked to go on with.", "provider", "result"),
		logouts:       counter("logouts_total", "Logouts of browsers, by where they began and went.", "provider", "kind"),
		sessionsEnded: counter("sessions_ended_total", "Sessions of browsers that ended before their time, by why.", "provider", "reason"),

		retries:     counter("upstream_retries_total", "Requests tried again, or not for want of budget.", "upstream", "result"),
		hedges:      counter("upstream_hedges_total", "Requests sent to a second endpoint because the first took long.", "upstream"),
		rejections:  counter("upstream_rejections_total", "Requests turned away because too many were under way.", "upstream", "reason"),
		concurrency: gauges("upstream_concurrency_limit", "How many requests may be under way at a time.", "upstream"),
		buildInfo:   gauges("build_info", "1, labelled with the version.", "version", "go_version"),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.decisions, m.cached, m.cachedRedis, m.CacheEvictions, m.CachePurges,
		m.requests, m.duration, m.bytesIn, m.bytesOut, m.refusals, m.wsOpen, m.wsFrames,
		m.wsCloses, m.wsLimits, m.limits, m.mirrored, m.BusUp, m.BusBreaks, m.BusDrops, m.Present, m.PresenceSwept, m.PresenceFails, m.sources, m.reloads, m.reloadAt,
		m.services, m.buildInfo,
		m.releaseRequests, m.releaseRollbacks, m.releaseShare, m.releaseP99, m.releaseRolledBack, m.releaseNodes,
		m.logins, m.loginFailures, m.refreshes, m.logouts, m.sessionsEnded,
		m.endpoints, m.ejections, m.retries, m.hedges, m.rejections, m.concurrency,
	}
}

// Reloaded counts a snapshot that was installed (ok) or refused.
func (t *Telemetry) Reloaded(ok bool) {
	if !ok {
		t.reloads.WithLabelValues("refused").Inc()
		return
	}
	t.reloads.WithLabelValues("installed").Inc()
	t.reloadAt.SetToCurrentTime()
}

// DescribeServices publishes how many services each descriptor source has, in place of what it published before.
func (t *Telemetry) DescribeServices(perSource map[string]int) {
	t.services.Reset()
	for source, n := range perSource {
		t.services.WithLabelValues(source).Set(float64(n))
	}
}

// DescribeBuild publishes the version.
func (t *Telemetry) DescribeBuild(version, goVersion string) {
	t.buildInfo.WithLabelValues(version, goVersion).Set(1)
}
