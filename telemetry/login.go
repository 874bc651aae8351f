package telemetry

import "github.com/prometheus/client_golang/prometheus"

// LoginMetrics are the series of one login provider. A nil one counts nothing.
type LoginMetrics struct {
	t        *Telemetry
	provider string
}

// Login returns the series of a login provider, until [LoginMetrics.Close]. Names come from configuration, never from
// clients. A nil Telemetry has none.
func (t *Telemetry) Login(provider string) *LoginMetrics {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loginHolders[provider]++
	return &LoginMetrics{t, provider}
}

// Close drops the series when nobody else has the provider's.
func (m *LoginMetrics) Close() {
	if m == nil {
		return
	}
	m.t.mu.Lock()
	defer m.t.mu.Unlock()
	if m.t.loginHolders[m.provider]--; m.t.loginHolders[m.provider] > 0 {
		return
	}
	delete(m.t.loginHolders, m.provider)
	for _, vec := range []*prometheus.CounterVec{m.t.logins, m.t.loginFailures, m.t.refreshes, m.t.logouts, m.t.sessionsEnded} {
		vec.DeletePartialMatch(prometheus.Labels{"provider": m.provider})
	}
}

// Begun counts a browser that is sent to the provider.
func (m *LoginMetrics) Begun() {
	m.add(1, "begun", func(t *Telemetry) *prometheus.CounterVec { return t.logins })
}

// Completed counts a browser that has a session.
func (m *LoginMetrics) Completed() {
	m.add(1, "completed", func(t *Telemetry) *prometheus.CounterVec { return t.logins })
}

// Failed counts a login that came to nothing.
func (m *LoginMetrics) Failed(reason string) {
	m.add(1, reason, func(t *Telemetry) *prometheus.CounterVec { return t.loginFailures })
}

// Refreshed counts a session that the provider was asked about.
func (m *LoginMetrics) Refreshed(result string) {
	m.add(1, result, func(t *Telemetry) *prometheus.CounterVec { return t.refreshes })
}

// LoggedOut counts a logout.
func (m *LoginMetrics) LoggedOut(kind string) {
	m.add(1, kind, func(t *Telemetry) *prometheus.CounterVec { return t.logouts })
}

// Ended counts sessions that have ended before their time.
func (m *LoginMetrics) Ended(sessions int, reason string) {
	m.add(sessions, reason, func(t *Telemetry) *prometheus.CounterVec { return t.sessionsEnded })
}

func (m *LoginMetrics) add(n int, label string, to func(*Telemetry) *prometheus.CounterVec) {
	if m != nil && n > 0 {
		to(m.t).WithLabelValues(m.provider, label).Add(float64(n))
	}
}
