package upstream

import (
	"math"
	"slices"
	"time"

	"github.com/crossgate/crossgate/config"
)

// view is the endpoints that requests go to at one time, with what choosing among them needs. It is immutable; a pool
// makes a new one when its endpoints, or what is thought of them, change.
type view struct {
	endpoints []*endpoint // those that are chosen among, then healthy ones that are for the last resort
	eligible  int         // how many of them are chosen among
	slots     []uint16    // indexes of eligible ones, each as often as it weighs; nil where all weigh the same
	weights   []float64   // of eligible ones; nil where slots is
	table     []uint16    // Maglev's; nil where nothing is hashed
	ids       map[string]int
	ramping   bool // some endpoint has not its whole weight yet
}

const (
	// overprovisioning is how much more than its share a zone's endpoints can carry, as Envoy has it: while
	// 1/1.4 of them are healthy all of the zone's requests stay in it.
	overprovisioning = 1.4
	// slowest is the part of its share that an endpoint begins with when it starts slowly.
	slowest = 0.1
	// maxEndpoints is how many endpoints of an upstream are used.
	maxEndpoints = math.MaxUint16
)

// newView judges endpoints as they are now.
func newView(all []*endpoint, cfg *config.Balancing, now time.Time) *view {
	healthy := make([]*endpoint, 0, len(all))
	for _, e := range all {
		if !e.sick && !e.ejected {
			healthy = append(healthy, e)
		}
	}
	panicking := len(healthy)*100 < cfg.PanicThreshold*len(all)
	if panicking {
		healthy = slices.Clone(all)
	}
	v := &view{endpoints: healthy, eligible: len(healthy)}
	weights := make([]float64, len(healthy))
	for i, e := range healthy {
		weights[i] = float64(e.weight)
		if cfg.SlowStart > 0 {
			share := e.share(cfg.SlowStart.Std(), now)
			v.ramping = v.ramping || share < 1
			weights[i] *= share
		}
	}
	if cfg.Zone != "" && !panicking {
		weights = v.localize(all, weights, cfg.Zone)
	}
	v.weigh(weights)
	if cfg.Policy == "hash" && v.eligible > 0 {
		v.table = maglev(v.endpoints[:v.eligible], weights)
	}
	if cfg.Sticky != nil {
		v.ids = make(map[string]int, v.eligible)
		for i, e := range v.endpoints[:v.eligible] {
			v.ids[e.id] = i
		}
	}
	return v
}

// share returns how much of its weight an endpoint has that starts slowly, 1 for all. The pool's mutex is held.
func (e *endpoint) share(slowStart time.Duration, now time.Time) float64 {
	if slowStart == 0 {
		return 1
	}
	return min(1, max(slowest, float64(now.Sub(e.since))/float64(slowStart)))
}

// localize prefers the endpoints of a zone: it moves them to the front, and gives the others only what they cannot
// carry.
func (v *view) localize(all []*endpoint, weights []float64, zone string) []float64 {
	total := 0
	for _, e := range all {
		if e.zone == zone {
			total++
		}
	}
	if total == 0 {
		return weights
	}
	var near, far []*endpoint
	var nearWeights, farWeights []float64
	var nearSum, farSum float64
	for i, e := range v.endpoints {
		if e.zone == zone {
			near, nearWeights, nearSum = append(near, e), append(nearWeights, weights[i]), nearSum+weights[i]
		} else {
			far, farWeights, farSum = append(far, e), append(farWeights, weights[i]), farSum+weights[i]
		}
	}
	v.endpoints = append(near, far...)
	share := min(1, overprovisioning*float64(len(near))/float64(total))
	switch {
	case share >= 1:
		v.eligible = len(near)
		return nearWeights
	case len(near) == 0 || len(far) == 0:
		return append(nearWeights, farWeights...)
	}
	for i := range nearWeights {
		nearWeights[i] *= share / nearSum
	}
	for i := range farWeights {
		farWeights[i] *= (1 - share) / farSum
	}
	return append(nearWeights, farWeights...)
}

// slotsPerEndpoint is how finely weights are told apart: with two endpoints a weight of 1 beside 100 still counts.
const slotsPerEndpoint = 64

// weigh lays out the slots: each endpoint as often as it weighs, spread evenly.
func (v *view) weigh(weights []float64) {
	if len(weights) < 2 || slices.Min(weights) == slices.Max(weights) {
		return
	}
	v.weights = weights
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	type slot struct {
		at    float64
		index uint16
	}
	var slots []slot
	for i, w := range weights {
		n := max(1, math.Round(w/sum*float64(slotsPerEndpoint*len(weights))))
		_, phase := math.Modf(float64(i) * math.Phi) // apart from the others', however many they are
		for j := 0.0; j < n; j++ {
			slots = append(slots, slot{(j + phase) / n, uint16(i)})
		}
	}
	slices.SortFunc(slots, func(a, b slot) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return int(a.index) - int(b.index)
	})
	v.slots = make([]uint16, len(slots))
	for i, s := range slots {
		v.slots[i] = s.index
	}
}
