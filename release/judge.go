package release

import (
	"fmt"
	"time"

	"github.com/crossgate/crossgate/config"
)

// The reasons for a rollback, as metrics have them.
const (
	byErrors = "errors"
	byP99    = "p99"
	byHand   = "asked_for"
)

// verdict is why a variant is not good enough; the zero value says that it is.
type verdict struct{ reason, detail string }

// judge holds a variant's requests against stable's.
func judge(c *config.Rollback, variant, stable sample) verdict {
	if variant.requests >= c.MinRequests {
		if v := judgeErrors(c, variant, stable); v.reason != "" {
			return v
		}
	}
	if variant.timed >= c.MinRequests {
		return judgeP99(c, variant, stable)
	}
	return verdict{}
}

func judgeErrors(c *config.Rollback, variant, stable sample) verdict {
	rate := percentOf(variant.failures, variant.requests)
	if limit := float64(c.MaxErrorRate) / 100; rate > limit {
		return verdict{byErrors, fmt.Sprintf("%.4g %% of %d requests failed; at most %s %% may", rate, variant.requests, c.MaxErrorRate)}
	}
	if c.ErrorMargin == 0 || stable.requests < c.MinRequests {
		return verdict{}
	}
	base := percentOf(stable.failures, stable.requests)
	if rate > base+float64(c.ErrorMargin)/100 && rate > base*grown(c.ErrorGrowth) {
		return verdict{byErrors, fmt.Sprintf("%.4g %% of %d requests failed, and %.4g %% of stable's %d", rate, variant.requests, base, stable.requests)}
	}
	return verdict{}
}

func judgeP99(c *config.Rollback, variant, stable sample) verdict {
	if limit := c.MaxP99.Std(); limit > 0 && variant.p99 > limit {
		return verdict{byP99, fmt.Sprintf("the 99th percentile of %d requests was %s; at most %s may be", variant.timed, rounded(variant.p99), c.MaxP99)}
	}
	if c.P99Margin == 0 || stable.timed < c.MinRequests {
		return verdict{}
	}
	if variant.p99 > stable.p99+c.P99Margin.Std() && float64(variant.p99) > float64(stable.p99)*grown(c.P99Growth) {
		return verdict{byP99, fmt.Sprintf("the 99th percentile of %d requests was %s, and of stable's %d %s",
			variant.timed, rounded(variant.p99), stable.timed, rounded(stable.p99))}
	}
	return verdict{}
}

func percentOf(part, all int) float64 { return 100 * float64(part) / float64(all) }

// grown is the factor that a growth in percent amounts to.
func grown(by config.Percent) float64 { return 1 + float64(by)/float64(config.Whole) }

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
