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
	m.t.endpoints.DeletePartialMatch(gone)
	m.t.ejections.DeletePartialMatch(gone)
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
