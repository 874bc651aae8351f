package telemetry

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// Verdict is what a route's authorisation rules made of a request.
type Verdict uint8

// The verdicts.
const (
	Allowed Verdict = iota
	Denied
	FailedOpen   // it passed without the answer of the service that was asked
	FailedClosed // it did not
	WouldDeny    // it passed, and a rule that only reports would have refused it
)

func (v Verdict) String() string {
	return [...]string{"allowed", "denied", "failed_open", "failed_closed", "would_deny"}[v]
}

type decision struct {
	rule    string
	verdict Verdict
}

// Decided counts what a rule of the route made of a request, and the rule that would have refused it, empty for none. The
// names of rules come from the configuration.
func (r *RouteMetrics) Decided(rule string, v Verdict, wouldDeny string) {
	r.countDecision(decision{rule, v})
	if wouldDeny != "" {
		r.countDecision(decision{wouldDeny, WouldDeny})
	}
}

func (r *RouteMetrics) countDecision(d decision) {
	for {
		known := r.decided.Load()
		if known != nil {
			if c := (*known)[d]; c != nil {
				c.Inc()
				return
			}
		}
		more := map[decision]prometheus.Counter{d: r.create(r.t.decisions, d.rule, d.verdict.String())}
		if known != nil {
			maps.Copy(more, *known)
		}
		r.decided.CompareAndSwap(known, &more)
	}
}
