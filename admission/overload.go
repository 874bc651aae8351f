package admission

import (
	"math"
	"math/rand/v2"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// Priority says which routes are served first when the process has more to do than it can.
type Priority uint8

// The priorities. Critical requests are never shed.
const (
	Low Priority = iota
	Normal
	High
	Critical
)

var priorities = map[string]Priority{"low": Low, "normal": Normal, "high": High, "critical": Critical}

// reserve is the share of the requests in flight that a priority leaves to those above it.
var reserve = [Critical]float64{Low: 0.2, Normal: 0.1, High: 0}

// Overload sheds requests while the process is saturated: while more are in flight than it is to have, or while what is
// ready to run waits too long for a processor. It is safe for concurrent use.
type Overload struct {
	inFlight func() int64
	most     [Critical]atomic.Int64
	shed     [Critical]atomic.Uint64 // the share of requests, of 1<<32

	mu      sync.Mutex
	stop    chan struct{} // of the observer, nil while there is none
	target  time.Duration
	running sync.WaitGroup
}

// NewOverload sheds nothing until Configure. inFlight counts the requests being served.
func NewOverload(inFlight func() int64) *Overload {
	o := &Overload{inFlight: inFlight}
	o.Configure(0, 0)
	return o
}

// Configure sets how many requests may be in flight, 0 for any number, and how long what is ready to run may wait for a
// processor, 0 for as long as it takes: then nothing watches for it.
func (o *Overload) Configure(most int, delay time.Duration) {
	for p := range o.most {
		n := int64(math.MaxInt64)
		if most > 0 {
			n = max(1, int64(float64(most)*(1-reserve[p])))
		}
		o.most[p].Store(n)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if delay == o.target {
		return
	}
	o.end()
	if o.target = delay; delay > 0 {
		o.stop = make(chan struct{})
		o.running.Go(func() { o.observe(delay, o.stop) })
	}
}

// Close ends what runs in the background, and waits for it.
func (o *Overload) Close() { o.Configure(0, 0) }

// end stops the observer. The caller holds mu.
func (o *Overload) end() {
	if o.stop != nil {
		close(o.stop)
		o.running.Wait()
		o.stop = nil
	}
	o.press(0)
}

// refuses reports whether a request of a priority is shed.
func (o *Overload) refuses(p Priority) bool {
	if o == nil || p >= Critical {
		return false
	}
	if o.inFlight() > o.most[p].Load() {
		return true
	}
	share := o.shed[p].Load()
	return share > 0 && uint64(rand.Uint32()) < share
}

// press sheds by a pressure: from 0 to 1 a growing share of low priority, to 2 all of it and a share of normal, to 3 of
// high.
func (o *Overload) press(pressure float64) {
	for p := range o.shed {
		share := min(1, max(0, pressure-float64(p)))
		o.shed[p].Store(uint64(share * (1 << 32)))
	}
}

const (
	// tick is how often the delay is looked at.
	tick = 100 * time.Millisecond
	// rise and fall are how much the pressure changes with a tick: low priority is shed altogether after half a second of
	// twice the delay, and all is served again within three seconds of calm. The slow fall keeps it from swinging.
	rise = 0.2
	fall = 0.1
	// few is how many waits say nothing about a process.
	few = 20
)

// observe follows the delay until stop.
func (o *Overload) observe(target time.Duration, stop <-chan struct{}) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	waits := newWaits()
	pressure := 0.0
	for {
		select {
		case <-stop:
			return
		case <-ticks.C:
			pressure = next(pressure, waits.median(), target)
			o.press(pressure)
		}
	}
}

// next is the pressure after a tick. As with CoDel (RFC 8289) it is the delay that stands which counts, and not a burst's:
// the median of what waited, tick for tick.
func next(pressure float64, delay, target time.Duration) float64 {
	if delay <= target {
		return max(0, pressure-fall)
	}
	excess := float64(delay-target) / float64(target)
	return min(float64(Critical), pressure+rise*min(1, excess))
}

// waits reads how long goroutines waited for a processor, from the runtime.
type waits struct {
	sample []metrics.Sample
	last   []uint64
}

func newWaits() *waits {
	w := &waits{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	w.median()
	return w
}

// median is that of the waits since the last call, 0 where there were few.
func (w *waits) median() time.Duration {
	metrics.Read(w.sample)
	if w.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := w.sample[0].Value.Float64Histogram()
	var total uint64
	for i, n := range h.Counts {
		if i < len(w.last) {
			n -= w.last[i]
		}
		total += n
	}
	median, seen := 0.0, uint64(0)
	for i, n := range h.Counts {
		if i < len(w.last) {
			n -= w.last[i]
		}
		if seen += n; seen*2 >= total && total >= few {
			median = h.Buckets[i] // the lower bound: the upper one may be infinite
			break
		}
	}
	w.last = append(w.last[:0], h.Counts...)
	return time.Duration(max(0, median) * float64(time.Second))
}
