package upstream

import (
	"math"
	"slices"
	"time"
)

// adaptive finds how many requests backends can work on at a time, by the gradient of their latency, as Envoy's
// adaptive concurrency and Netflix' concurrency-limits do: the limit is multiplied by how much faster the usual latency is
// than that of late, and given a little room to grow.
type adaptive struct {
	limit      float64
	least      float64
	most       float64
	usual      float64   // latency without overload, in seconds
	samples    []float64 // latencies of this window
	dropped    bool      // a request of this window timed out or was turned away
	saturation int       // the most that were under way in this window
}

const (
	// window is how many requests the limit changes after, by their median: a few that wait for news, as long polls do, say nothing of load.
	window = 50
	// tolerance is by how much latency may grow before the limit shrinks.
	tolerance = 1.5
	// A faster window is soon taken for the usual, a slower one hardly: else the latency of an overload would become it.
	downWeight, upWeight = 0.3, 0.002
	// limitWeight is the part of a new limit in the limit.
	limitWeight = 0.2
	// overload is what a window with failures for load multiplies the limit by.
	overload = 0.9
)

func newAdaptive(least, most int) *adaptive {
	return &adaptive{limit: min(max(20, float64(least)), float64(most)), least: float64(least), most: float64(most)}
}

// observe takes in a request that has ended and returns the limit.
func (a *adaptive) observe(took time.Duration, o outcome, active int) int {
	a.saturation = max(a.saturation, active)
	if o == endedByTimeout || o == gatewayFailed {
		a.dropped = true
	}
	if a.samples = append(a.samples, took.Seconds()); len(a.samples) < window {
		return int(a.limit)
	}
	slices.Sort(a.samples)
	short := a.samples[window/2]
	switch {
	case a.usual == 0:
		a.usual = short
	case short < a.usual:
		a.usual += (short - a.usual) * downWeight
	default:
		a.usual += (short - a.usual) * upWeight
	}
	switch {
	case a.dropped:
		a.limit *= overload
	case float64(a.saturation) >= a.limit/2: // else the limit was not what held requests back
		gradient := max(0.5, min(1, tolerance*a.usual/short))
		next := a.limit*gradient + math.Sqrt(a.limit)
		a.limit += (next - a.limit) * limitWeight
	}
	a.limit = min(max(a.limit, a.least), a.most)
	a.samples, a.dropped, a.saturation = a.samples[:0], false, 0
	return int(a.limit)
}
