package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// VariantMetrics are the series of one side of a release.
type VariantMetrics struct {
	t                *Telemetry
	release, variant string

	// Answered, Failed and Abandoned count requests by how they ended.
	Answered, Failed, Abandoned prometheus.Counter
}

// Variant returns the series of one side of a release. Names come from configuration, never from clients.
func (t *Telemetry) Variant(release, variant string) *VariantMetrics {
	ended := func(outcome string) prometheus.Counter {
		return t.releaseRequests.WithLabelValues(release, variant, outcome)
	}
	return &VariantMetrics{t, release, variant, ended("answered"), ended("failed"), ended("abandoned")}
}

// Stands publishes the share in force, in percent, whether the variant is rolled back, the 99th percentile of its delays, and how
// many nodes' requests it is judged by.
func (m *VariantMetrics) Stands(share float64, rolledBack bool, p99 time.Duration, nodes int) {
	m.t.releaseNodes.WithLabelValues(m.release, m.variant).Set(float64(nodes))
	m.t.releaseShare.WithLabelValues(m.release, m.variant).Set(share)
	m.t.releaseP99.WithLabelValues(m.release, m.variant).Set(p99.Seconds())
	is := 0.0
	if rolledBack {
		is = 1
	}
	m.t.releaseRolledBack.WithLabelValues(m.release, m.variant).Set(is)
}

// RolledBack counts a rollback that this node has decided.
func (m *VariantMetrics) RolledBack(reason string) {
	m.t.releaseRollbacks.WithLabelValues(m.release, m.variant, reason).Inc()
}

// Close drops the series.
func (m *VariantMetrics) Close() {
	gone := prometheus.Labels{"release": m.release, "variant": m.variant}
	for _, vec := range []*prometheus.MetricVec{m.t.releaseRequests.MetricVec, m.t.releaseShare.MetricVec, m.t.releaseP99.MetricVec, m.t.releaseNodes.MetricVec,
		m.t.releaseRolledBack.MetricVec, m.t.releaseRollbacks.MetricVec} {
		vec.DeletePartialMatch(gone)
	}
}
