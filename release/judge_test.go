package release

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// look is how often the rule is asked; a gateway does it every second, of which most see what the one before has seen.
const look = 5 * time.Second

// traffic is a side that gets a number of requests a second, of which some fail and the delays of which are log-normal, as those of
// most servers are.
type traffic struct {
	perSecond     float64
	fails         float64 // share
	median        time.Duration
	tenfoldSlower float64 // share of requests that take ten times as long
}

// goOn has the side get what it does between two looks.
func (f *traffic) goOn(random *rand.Rand, v *Variant) {
	for range int(f.perSecond*look.Seconds() + random.Float64()) {
		o, delay := Answered, float64(f.median)*math.Exp(0.7*random.NormFloat64())
		if random.Float64() < f.fails {
			o = Failed
		}
		if random.Float64() < f.tenfoldSlower {
			delay *= 10
		}
		v.Observe(o, time.Duration(delay), false)
	}
}

// TestTheRuleTellsChanceFromAWorseVersion runs releases. Of equal sides none may be rolled back, in all the hours
// of all runs; of a version that does worse every one within the window.
func TestTheRuleTellsChanceFromAWorseVersion(t *testing.T) {
	even := traffic{perSecond: 40, fails: 0.01, median: 30 * time.Millisecond}
	scaled := func(by float64, change func(*traffic)) traffic {
		f := even
		f.perSecond *= by
		change(&f)
		return f
	}
	as := func(*traffic) {}
	tests := []struct {
		name           string
		stable, canary traffic
		runs           int
		lasts          time.Duration
		want           string // the reason, in every run
	}{
		{"equal sides", even, scaled(0.05, as), 10, time.Hour, ""},
		{"equal sides that fail a lot", scaled(1, func(f *traffic) { f.fails = 0.2 }), scaled(0.05, func(f *traffic) { f.fails = 0.2 }), 4, time.Hour, ""},
		{"equal sides that hardly fail", scaled(1, func(f *traffic) { f.fails = 0.001 }), scaled(0.5, func(f *traffic) { f.fails = 0.001 }), 4, time.Hour, ""},
		{"equal sides with a long tail", scaled(1, func(f *traffic) { f.tenfoldSlower = 0.01 }), scaled(0.05, func(f *traffic) { f.tenfoldSlower = 0.01 }), 10, time.Hour, ""},
		{"a stable side that gets little", scaled(0.05, as), even, 4, time.Hour, ""},
		{"five times the errors", even, scaled(0.1, func(f *traffic) { f.fails *= 5 }), 25, 5 * time.Minute, byErrors},
		{"every third request fails, of few", even, scaled(0.01, func(f *traffic) { f.fails = 0.33 }), 25, 5 * time.Minute, byErrors},
		{"a tenth of requests ten times as slow", even, scaled(0.1, func(f *traffic) { f.tenfoldSlower = 0.1 }), 25, 5 * time.Minute, byP99},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(test.runs) {
				random := rand.New(rand.NewPCG(seed, 1))
				r := releaseOf(t, `releases: [{name: r, variants: [{name: canary, upstream: b, percent: 5, rollback: {}}]}]`)
				canary := r.variants[0]
				reason, now := "", noon
				for ; now.Sub(noon) < test.lasts && reason == ""; now = now.Add(look) {
					test.stable.goOn(random, r.stable)
					test.canary.goOn(random, canary)
					r.collect(now)
					e := canary.mine.evidence()
					reason = judge(canary.plan.rollback, e.variant, e.stable).reason
				}
				if reason != test.want {
					t.Errorf("seed %d: after %s it is rolled back for %q, not for %q", seed, now.Sub(noon), reason, test.want)
				}
			}
		})
	}
}

func TestHowProbableADifferenceIsByChance(t *testing.T) {
	tests := []struct {
		partHits, part, restHits, rest int
		want                           float64
	}{
		{0, 10, 0, 10, 1},
		{1, 1, 0, 1, 0.5},
		{2, 2, 0, 2, 1.0 / 6},
		{3, 4, 1, 4, 17.0 / 70}, // Fisher's lady tasting tea
		{10, 12, 1, 12, 804.0 / 2496144},
		{0, 100, 50, 100, 1},
		{100, 100, 0, 1 << 40, 0},
	}
	for _, test := range tests {
		got := byChance(test.partHits, test.part, test.restHits, test.rest)
		if math.Abs(got-test.want) > 1e-3*test.want+1e-12 {
			t.Errorf("%d of %d beside %d of %d: %.8g, not %.8g", test.partHits, test.part, test.restHits, test.rest, got, test.want)
		}
	}
	// Large numbers, as the normal distribution has them: 4.75 standard deviations are one in a million.
	const n = 1 << 30
	k := n/10 + int(4.75*math.Sqrt(2*n*0.1*0.9)/2)
	if got := byChance(k, n, n/5-k, n); got < 0.9e-6 || got > 1.1e-6 {
		t.Errorf("of large numbers %g", got)
	}
}
