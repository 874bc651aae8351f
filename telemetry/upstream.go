package telemetry

import "github.com/prometheus/client_golang/prometheus"

// UpstreamMetrics are the series of one upstream. A nil one counts nothing.
type UpstreamMetrics struct {
	t    *Telemetry
	name string
}

// Upstream returns the series of an upstream, until [UpstreamMetrics.Close]. Names come from configuration, never from
// clients.
func (t *Telemetry) Upstream(name string) *UpstreamMetrics {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.upstreams[name]++
	return &UpstreamMetrics{t, name}
}

// Close drops the series when nobody else has the upstream's.
func (m *UpstreamMetrics) Close() {
	if m == nil {
		return
	}
	m.t.mu.Lock()
	defer m.t.mu.Unlock()
	if m.t.upstreams[m.name]--; m.t.upstreams[m.name] > 0 {
		return
	}
	delete(m.t.upstreams, m.name)
	gone := prometheus.Labels{"upstream": m.name}
	for _, vec := range []*prometheus.MetricVec{m.t.endpoints.MetricVec, m.t.ejections.MetricVec, m.t.retries.MetricVec, m.t.hedges.MetricVec,
		m.t.rejections.MetricVec, m.t.concurrency.MetricVec} {
		vec.DeletePartialMatch(gone)
	}
}

// Endpoints publishes how many endpoints there are, how many of them checks find unhealthy, and how many are ejected.
func (m *UpstreamMetrics) Endpoints(all, unhealthy, ejected int) {
	if m == nil {
		return
	}
	m.t.endpoints.WithLabelValues(m.name, "known").Set(float64(all))
	m.t.endpoints.WithLabelValues(m.name, "unhealthy").Set(float64(unhealthy))
	m.t.endpoints.WithLabelValues(m.name, "ejected").Set(float64(ejected))
}

// Ejected counts an endpoint that is taken out for failing.
func (m *UpstreamMetrics) Ejected(why string) {
	if m != nil {
		m.t.ejections.WithLabelValues(m.name, why).Inc()
	}
}

// Retried counts a request that is tried again, or that is not.
func (m *UpstreamMetrics) Retried(result string) {
	if m != nil {
		m.t.retries.WithLabelValues(m.name, result).Inc()
	}
}

// Hedged counts a request that goes to a second endpoint.
func (m *UpstreamMetrics) Hedged() {
	if m != nil {
		m.t.hedges.WithLabelValues(m.name).Inc()
	}
}

// Rejected counts a request that is turned away.
func (m *UpstreamMetrics) Rejected(why string) {
	if m != nil {
		m.t.rejections.WithLabelValues(m.name, why).Inc()
	}
}

// ConcurrencyLimit publishes how many requests may be under way.
func (m *UpstreamMetrics) ConcurrencyLimit(n int) {
	if m != nil {
		m.t.concurrency.WithLabelValues(m.name).Set(float64(n))
	}
}
