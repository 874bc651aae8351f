package admission

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

func TestRequestsInFlightAreBoundedByPriority(t *testing.T) {
	var inFlight atomic.Int64
	o := NewOverload(inFlight.Load)
	t.Cleanup(o.Close)
	o.Configure(100, 0)
	for _, c := range []struct {
		priority string
		most     int64
	}{{"low", 80}, {"normal", 90}, {"", 90}, {"high", 100}, {"critical", 1 << 40}} {
		s := admitter(t, config.Route{Priority: c.priority}, Stores{Overload: o})
		inFlight.Store(c.most)
		if got := s.kind(t, request("192.0.2.1")); got != 0 {
			t.Errorf("%q: kind %d with %d in flight", c.priority, got, c.most)
		}
		if c.priority == "critical" {
			continue
		}
		inFlight.Store(c.most + 1)
		var ticket Ticket
		if f := s.Admit(t.Context(), request("192.0.2.1"), &ticket); f == nil || f.Kind != Overloaded || f.RetryAfter <= 0 {
			t.Errorf("%q: %+v with %d in flight", c.priority, f, c.most+1)
		}
	}
}

func TestPressureShedsLowPrioritiesFirst(t *testing.T) {
	o := NewOverload(func() int64 { return 0 })
	for _, c := range []struct {
		pressure float64
		want     [Critical + 1]float64 // the share that is shed
	}{
		{0, [...]float64{0, 0, 0, 0}},
		{0.5, [...]float64{0.5, 0, 0, 0}},
		{1.25, [...]float64{1, 0.25, 0, 0}},
		{3, [...]float64{1, 1, 1, 0}},
	} {
		o.press(c.pressure)
		for p, want := range c.want {
			const n = 4000
			shed := 0.0
			for range n {
				if o.refuses(Priority(p)) {
					shed++
				}
			}
			// Six standard deviations.
			if got := shed / n; got < want-0.05 || got > want+0.05 || want == 0 && got > 0 {
				t.Errorf("at %v %v of priority %d are shed, want %v", c.pressure, got, p, want)
			}
		}
	}
}

func TestPressureFollowsTheDelay(t *testing.T) {
	pressure := 0.0
	steps := func(n int, delay time.Duration) float64 {
		for range n {
			pressure = next(pressure, delay, 5*time.Millisecond)
		}
		return pressure
	}
	if got := steps(100, 5*time.Millisecond); got != 0 {
		t.Errorf("a delay that is allowed presses by %v", got)
	}
	if got := steps(5, 10*time.Millisecond); got < 0.9 || got > 1.1 {
		t.Errorf("after half a second of twice the delay the pressure is %v", got)
	}
	if got := steps(1000, time.Second); got != float64(Critical) {
		t.Errorf("it grows to %v", got)
	}
	if got := steps(31, 0); got != 0 {
		t.Errorf("after three seconds of calm it is %v", got)
	}
}

func TestAProcessorThatIsBusySheds(t *testing.T) {
	o := NewOverload(func() int64 { return 0 })
	t.Cleanup(o.Close)
	o.Configure(0, time.Millisecond)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for range 200 {
		go func() { // ends with the test
			for {
				select {
				case <-stop:
					return
				default:
				}
				for start := time.Now(); time.Since(start) < 200*time.Microsecond; {
				}
				runtime.Gosched()
			}
		}()
	}
	deadline := time.Now().Add(30 * time.Second)
	for o.shed[Low].Load() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing is shed")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if o.refuses(Critical) {
		t.Error("a critical request is shed")
	}
	o.Configure(0, 0)
	if o.refuses(Low) {
		t.Error("it sheds although it is off")
	}
}
