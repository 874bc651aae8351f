package upstream

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/upstream/internal/discovery"
)

// judgedPool is a pool whose endpoints are a, b, c…, none of which there is.
func judgedPool(t *testing.T, n int, o config.OutlierDetection) (*Pool, func(name string) *endpoint) {
	t.Helper()
	o.Interval = config.Duration(time.Hour)
	if o.BaseEjection == 0 {
		o.BaseEjection, o.MaxEjection = config.Duration(time.Minute), config.Duration(150*time.Second)
	}
	cfg := upstreamOf()
	cfg.OutlierDetection = &o
	cfg.Discovery = &config.Discovery{}
	for i := range n {
		cfg.Discovery.Static = append(cfg.Discovery.Static, config.Endpoint{Address: string(rune('a'+i)) + ":1", Weight: 1})
	}
	p := openSet(t, nil, cfg).Pool("shop")
	return p, func(name string) *endpoint { return p.endpoints[name+":1"] }
}

// ejected returns the names of the endpoints that are out.
func ejected(p *Pool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, e := range p.list {
		if e.ejected {
			names = append(names, strings.TrimSuffix(e.address, ":1"))
		}
	}
	return strings.Join(names, "")
}

func judgeAll(e *endpoint, list ...outcome) {
	for _, o := range list {
		e.judge(o)
	}
}

func TestFailuresInARowEject(t *testing.T) {
	for _, c := range []struct {
		name     string
		outcomes []outcome
		ejects   bool
	}{
		{"three failures", []outcome{failed, failed, failed}, true},
		{"of any kind", []outcome{failed, disconnected, endedByTimeout}, true},
		{"not with a success between them", []outcome{failed, failed, succeeded, failed, failed}, false},
		{"what says nothing does not count", []outcome{failed, failed, unjudged, unjudged}, false},
		{"two failures as of a gateway", []outcome{gatewayFailed, gatewayFailed}, true},
		{"which connections that break are", []outcome{disconnected, disconnected}, true},
		{"but not with another failure between them", []outcome{gatewayFailed, failed}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, e := judgedPool(t, 3, config.OutlierDetection{ConsecutiveFailures: 3, ConsecutiveGatewayFailures: 2, MaxEjected: 50})
			judgeAll(e("a"), c.outcomes...)
			if got := ejected(p); (got == "a") != c.ejects {
				t.Errorf("ejected %q", got)
			}
			if n := p.view.Load().eligible; c.ejects && n != 2 {
				t.Errorf("requests go to %d endpoints, want 2", n)
			}
		})
	}
}

func TestNoMoreThanTheShareIsEjectedButOneMayAlways(t *testing.T) {
	p, e := judgedPool(t, 5, config.OutlierDetection{ConsecutiveFailures: 1, MaxEjected: 40})
	for _, name := range []string{"a", "b", "c"} {
		e(name).judge(failed)
	}
	if got := ejected(p); got != "ab" {
		t.Errorf("ejected %q of five with 40 %%, want two", got)
	}
	p, e = judgedPool(t, 5, config.OutlierDetection{ConsecutiveFailures: 1})
	e("a").judge(failed)
	e("b").judge(failed)
	if got := ejected(p); got != "a" {
		t.Errorf("ejected %q of five with 0 %%, want one", got)
	}
}

func TestEachEjectionInARowIsLonger(t *testing.T) {
	p, e := judgedPool(t, 2, config.OutlierDetection{ConsecutiveFailures: 1, MaxEjected: 50})
	now := time.Now()
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 150 * time.Second} {
		e("a").judge(failed)
		if got := time.Until(e("a").record.until).Round(10 * time.Second); got != want {
			t.Errorf("ejection %d lasts %v, want %v", i+1, got, want)
		}
		p.interval(now.Add(want - 10*time.Second))
		if ejected(p) != "a" {
			t.Errorf("ejection %d ended early", i+1)
		}
		p.interval(now.Add(want + 10*time.Second))
		if ejected(p) != "" {
			t.Errorf("ejection %d has no end", i+1)
		}
	}
	for range 3 { // intervals without one
		p.interval(now)
	}
	e("a").judge(failed)
	if got := time.Until(e("a").record.until).Round(10 * time.Second); got != time.Minute {
		t.Errorf("after a good while an ejection lasts %v, want a minute", got)
	}
}

func TestALowSuccessRateEjects(t *testing.T) {
	rate := func(e *endpoint, good, bad int) {
		for range good {
			e.judge(succeeded)
		}
		for range bad {
			e.judge(failed)
		}
	}
	detection := config.OutlierDetection{MaxEjected: 50, SuccessRate: &config.SuccessRate{MinEndpoints: 5, MinRequests: 100, StdevFactor: 1900}}
	for _, c := range []struct {
		name      string
		endpoints int
		bad       int // of 100 that a fails
		requests  int // of each of the others, which all succeed
		want      string
	}{
		{"half of its requests fail", 6, 50, 100, "a"},
		{"too few others have enough requests", 6, 50, 99, ""},
		{"too few endpoints", 4, 50, 100, ""},
		{"all succeed", 6, 0, 100, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, e := judgedPool(t, c.endpoints, detection)
			rate(e("a"), 100-c.bad, c.bad)
			for _, other := range p.list[1:] {
				rate(other, c.requests, 0)
			}
			p.interval(time.Now())
			if got := ejected(p); got != c.want {
				t.Errorf("ejected %q, want %q", got, c.want)
			}
			p.interval(time.Now().Add(time.Hour))
			if got := ejected(p); got != "" {
				t.Errorf("ejected %q without requests", got)
			}
		})
	}
}

func TestABackendThatFailsIsEjectedAfterFiveFailedCalls(t *testing.T) {
	t.Parallel()
	good, bad := startBackend(t, nil), startBackend(t, nil)
	bad.fails.Store(true)
	cfg := upstreamOf(good.address, bad.address)
	cfg.OutlierDetection = &config.OutlierDetection{
		ConsecutiveFailures: 5, Interval: config.Duration(10 * time.Millisecond), BaseEjection: config.Duration(8 * time.Second),
		MaxEjection: config.Duration(time.Minute), MaxEjected: 50,
	}
	p := openSet(t, nil, cfg).Pool("shop")
	ctx := testContext(t)
	for failures := 0; failures < 5; {
		if _, err := call(ctx, p, "x"); status.Code(err) == codes.Unavailable {
			failures++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if ejected(p) != bad.address {
		t.Fatal("it is not ejected after five failures")
	}
	for range 20 {
		if got, err := call(ctx, p, "x"); err != nil || got != good.address {
			t.Fatalf("answered by %q, %v", got, err)
		}
	}
	bad.fails.Store(false)
	until(t, "it to serve again", func() bool {
		got, err := call(ctx, p, "x")
		return err == nil && got == bad.address
	})
}

func TestAnEndpointThatChecksFindSickGetsNoCalls(t *testing.T) {
	a, b := startBackend(t, nil), startBackend(t, nil)
	cfg := upstreamOf(a.address, b.address)
	cfg.Balancing.Policy = "round_robin"
	cfg.HealthCheck = &config.HealthCheck{
		Type: "grpc", Interval: config.Duration(10 * time.Millisecond), Timeout: config.Duration(testTime), Unhealthy: 2, Healthy: 2,
	}
	p := openSet(t, nil, cfg).Pool("shop")
	ctx := testContext(t)
	connectAll(t, ctx, p, a, b)
	b.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	until(t, "it to be found sick", func() bool { return p.view.Load().eligible == 1 })
	for range 50 {
		if got, err := call(ctx, p, "x"); err != nil || got != a.address {
			t.Fatalf("answered by %q, %v", got, err)
		}
	}
	b.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	until(t, "it to serve again", func() bool {
		got, err := call(ctx, p, "x")
		return err == nil && got == b.address
	})
	// A new endpoint is checked too, and one that goes is checked no more.
	if err := p.update([]discovery.Endpoint{{Address: a.address, Weight: 1}, {Address: closedAddress(t), Weight: 1}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the new one to be found sick", func() bool { return p.view.Load().eligible == 1 })
}
