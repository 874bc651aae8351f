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

// significance is how improbable a difference must be between sides that are alike, to say anything. A variant is judged every second
// for as long as it is out, so that one in a hundred, as of a single experiment, would roll back every variant within the hour.
const significance = 1e-6

// verdict is why a variant is not good enough; the zero value says that it is.
type verdict struct{ reason, detail string }

// judge holds a variant's requests against stable's.
func judge(c *config.Rollback, variant, stable *counts) verdict {
	if variant.requests >= c.MinRequests {
		if v := judgeErrors(c, variant, stable); v.reason != "" {
			return v
		}
	}
	if variant.timed() >= c.MinRequests {
		return judgeP99(c, variant, stable)
	}
	return verdict{}
}

func judgeErrors(c *config.Rollback, variant, stable *counts) verdict {
	rate := percentOf(variant.failures, variant.requests)
	if limit := float64(c.MaxErrorRate) / 100; rate > limit {
		return verdict{byErrors, fmt.Sprintf("%.4g %% of %d requests failed; at most %s %% may", rate, variant.requests, c.MaxErrorRate)}
	}
	if c.ErrorMargin == 0 || stable.requests < c.MinRequests {
		return verdict{}
	}
	base := percentOf(stable.failures, stable.requests)
	if rate > base+float64(c.ErrorMargin)/100 && rate > base*grown(c.ErrorGrowth) &&
		byChance(variant.failures, variant.requests, stable.failures, stable.requests) < significance {
		return verdict{byErrors, fmt.Sprintf("%.4g %% of %d requests failed, and %.4g %% of stable's %d", rate, variant.requests, base, stable.requests)}
	}
	return verdict{}
}

func judgeP99(c *config.Rollback, variant, stable *counts) verdict {
	p99, timed := variant.p99(), variant.timed()
	if limit := c.MaxP99.Std(); limit > 0 && p99 > limit {
		return verdict{byP99, fmt.Sprintf("the 99th percentile of %d requests was %s; at most %s may be", timed, rounded(p99), c.MaxP99)}
	}
	if c.P99Margin == 0 || stable.timed() < c.MinRequests {
		return verdict{}
	}
	base := stable.p99()
	tolerated := max(base+c.P99Margin.Std(), time.Duration(float64(base)*grown(c.P99Growth)))
	if p99 > tolerated && byChance(variant.slower(tolerated), timed, stable.slower(tolerated), stable.timed()) < significance {
		return verdict{byP99, fmt.Sprintf("the 99th percentile of %d requests was %s, and of stable's %d %s",
			timed, rounded(p99), stable.timed(), rounded(base))}
	}
	return verdict{}
}

func percentOf(part, all int) float64 { return 100 * float64(part) / float64(all) }

// grown is the factor that a growth in percent amounts to.
func grown(by config.Percent) float64 { return 1 + float64(by)/float64(config.Whole) }

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
