package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/telemetry"
)

// limitPolicy is the RateLimit-Policy field of a route (draft-ietf-httpapi-ratelimit-headers-10, section 3): what is
// allowed, and the seconds in which. It is nil for a route without limits that refuse.
func limitPolicy(rules []*admission.Rule) []string {
	var items []string
	for _, r := range rules {
		if r.DryRun {
			continue
		}
		item := `"` + r.Name + `";q=` + strconv.Itoa(r.Max)
		if r.Kind == ratelimit.Concurrency {
			item += `;qu="concurrent-requests"`
		} else if r.Window > 0 {
			item += ";w=" + strconv.FormatInt(max(1, ceilSeconds(r.Window)), 10)
		}
		items = append(items, item)
	}
	if items == nil {
		return nil
	}
	return []string{strings.Join(items, ", ")}
}

// setLimits writes the policy of a route's limits, and what remains of those that have decided and the seconds until all
// of it is back, the RateLimit field (section 4 of the draft).
func setLimits(h http.Header, policy []string, decided ...admission.Charge) {
	if policy == nil {
		return
	}
	var room [256]byte
	b := room[:0]
	for i := range decided {
		c := &decided[i]
		if c.DryRun || c.Uncounted {
			continue
		}
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(append(append(b, '"'), c.Name...), `";r=`...)
		b = strconv.AppendInt(b, int64(c.Remaining), 10)
		if c.Kind != ratelimit.Concurrency {
			b = append(b, ";t="...)
			b = strconv.AppendInt(b, ceilSeconds(c.Reset), 10)
		}
	}
	h["Ratelimit-Policy"] = policy
	if len(b) > 0 {
		h["Ratelimit"] = []string{string(b)}
	}
}

func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// noteLimits counts what limits came to that did not simply let pass.
func noteLimits(m *telemetry.RouteMetrics, charges []admission.Charge) {
	for i := range charges {
		switch c := &charges[i]; {
		case c.Uncounted:
			m.Limit(c.Name, telemetry.LimitUncounted)
		case c.Allowed:
		case c.DryRun:
			m.Limit(c.Name, telemetry.LimitDryRun)
		default:
			m.Limit(c.Name, telemetry.LimitRefused)
		}
	}
}

// wouldRefuse is the name of a limit that is over in a dry run, "" for none.
func wouldRefuse(charges []admission.Charge) string {
	for i := range charges {
		if c := &charges[i]; !c.Allowed && c.DryRun {
			return c.Name
		}
	}
	return ""
}
