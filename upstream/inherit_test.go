package upstream

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
)

// TestAPoolKeepsOfItsEndpointsWhatAChangeDoesNotConcern has one endpoint that is ejected, one that checks find unhealthy, and
// one that starts slowly, and opens the pool again with another configuration.
func TestAPoolKeepsOfItsEndpointsWhatAChangeDoesNotConcern(t *testing.T) {
	for _, c := range []struct {
		name                                   string
		change                                 func(*config.Upstream)
		conns, ejected, sick, slow, sameBudget bool // that are kept
	}{
		{"balancing", func(u *config.Upstream) { u.Balancing.Policy = "round_robin" }, true, true, true, true, true},
		{"the retry budget", func(u *config.Upstream) { u.RetryBudget.Percent = 7 }, true, true, true, true, false},
		{"when endpoints are ejected", func(u *config.Upstream) { u.OutlierDetection.ConsecutiveFailures = 9 }, true, true, true, true, true},
		{"that endpoints are ejected", func(u *config.Upstream) { u.OutlierDetection = nil }, true, false, true, true, true},
		{"how endpoints are checked", func(u *config.Upstream) { u.HealthCheck.Unhealthy = 9 }, true, true, false, true, true},
		{"that endpoints are checked", func(u *config.Upstream) { u.HealthCheck = nil }, true, true, false, true, true},
		{"one more endpoint", func(u *config.Upstream) { u.Endpoints = append(u.Endpoints, closedAddress(t)) }, true, true, true, true, true},
		{"how endpoints are connected to", func(u *config.Upstream) { u.ConnectTimeout *= 2 }, false, false, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, unwell, slow := startBackend(t, nil), startBackend(t, nil), startBackend(t, nil)
			unwell.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
			cfg := upstreamOf(out.address, unwell.address, slow.address)
			cfg.Connections = 1
			cfg.Balancing.SlowStart = config.Duration(time.Hour)
			cfg.OutlierDetection = &config.OutlierDetection{
				ConsecutiveFailures: 1, Interval: config.Duration(time.Hour), BaseEjection: config.Duration(time.Hour), MaxEjection: config.Duration(time.Hour),
			}
			cfg.HealthCheck = &config.HealthCheck{
				Type: "grpc", Interval: config.Duration(time.Hour), Timeout: config.Duration(time.Minute), Unhealthy: 1, Healthy: 2,
			}
			old := openSet(t, nil, cfg)
			p := old.Pool("shop")
			at := func(p *Pool, b *backend) *endpoint {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.endpoints[b.address]
			}
			is := func(p *Pool, b *backend, what func(*endpoint) bool) bool {
				e := at(p, b)
				p.mu.Lock()
				defer p.mu.Unlock()
				return what(e)
			}
			isEjected, isSick := func(e *endpoint) bool { return e.ejected }, func(e *endpoint) bool { return e.sick }
			until(t, "the check", func() bool { return is(p, unwell, isSick) })
			at(p, out).judge(failed)
			began := time.Now().Add(-time.Minute)
			p.mu.Lock()
			p.endpoints[slow.address].since = began
			p.mu.Unlock()
			if got, err := call(testContext(t), p, "x"); err != nil || got != slow.address {
				t.Fatalf("answered by %q, %v", got, err)
			}

			unwell.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING) // which who does not know it would find at once
			health, detection := *cfg.HealthCheck, *cfg.OutlierDetection
			cfg.HealthCheck, cfg.OutlierDetection = &health, &detection
			c.change(&cfg)
			next := openSet(t, old, cfg).Pool("shop")
			if next == p {
				t.Fatal("the pool is the same")
			}
			old.Close()
			old.Close()
			for _, b := range []*backend{out, unwell, slow} {
				if kept := at(next, b).link == at(p, b).link; kept != c.conns {
					t.Errorf("connections to %s kept: %v, want %v", b.address, kept, c.conns)
				}
			}
			if kept := is(next, out, isEjected); kept != c.ejected {
				t.Errorf("still ejected: %v, want %v", kept, c.ejected)
			}
			if c.sick != is(next, unwell, isSick) {
				t.Errorf("still unhealthy: %v, want %v", !c.sick, c.sick)
			}
			if kept := is(next, slow, func(e *endpoint) bool { return e.since.Equal(began) }); kept != c.slow {
				t.Errorf("starts as slowly as before: %v, want %v", kept, c.slow)
			}
			if kept := next.budget == p.budget; kept != c.sameBudget {
				t.Errorf("the retry budget is the same: %v, want %v", kept, c.sameBudget)
			}
			for range 10 {
				if _, err := call(testContext(t), next, "x"); err != nil {
					t.Fatal(err)
				}
			}
			if n := slow.conns.Load(); c.conns && n > 2 {
				t.Errorf("%d connections, want one for calls and one for checks", n)
			}
		})
	}
}

func TestAnUnhealthyEndpointThatIsTakenOverComesBack(t *testing.T) {
	b := startBackend(t, nil)
	b.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	cfg := upstreamOf(b.address)
	cfg.HealthCheck = &config.HealthCheck{Type: "grpc", Interval: config.Duration(10 * time.Millisecond), Timeout: config.Duration(time.Minute), Unhealthy: 1, Healthy: 2}
	old := openSet(t, nil, cfg)
	sick := func(p *Pool) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.list[0].sick
		}
	}
	until(t, "the check", sick(old.Pool("shop")))
	cfg.RetryBudget.Percent = 50
	next := openSet(t, old, cfg).Pool("shop")
	if !sick(next)() {
		t.Error("the endpoint is well at once")
	}
	b.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	until(t, "the endpoint to come back", func() bool { return !sick(next)() })
}

// TestChangesOfThePoolDoNotKeepAnUnwellEndpointIn opens a pool anew after each check, of which it takes three.
func TestChangesOfThePoolDoNotKeepAnUnwellEndpointIn(t *testing.T) {
	var asked, ill atomic.Int32
	checked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1); ill.Load() != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(checked.Close)
	cfg := upstreamOf(startBackend(t, nil).address)
	cfg.HealthCheck = &config.HealthCheck{
		Type: "http", Path: "/", Port: checked.Listener.Addr().(*net.TCPAddr).Port,
		Interval: config.Duration(100 * time.Millisecond), Timeout: config.Duration(time.Minute), Unhealthy: 3, Healthy: 2,
	}
	set := openSet(t, nil, cfg)
	next := func() {
		n := asked.Load()
		until(t, "a check", func() bool { return asked.Load() > n })
		cfg.RetryBudget.Percent++
		before := set
		set = openSet(t, before, cfg)
		before.Close()
	}
	isSick := func() bool {
		p := set.Pool("shop")
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.list[0].sick
	}
	next()
	ill.Store(1)
	for range 20 {
		if next(); isSick() {
			return
		}
	}
	t.Error("the endpoint is in after 20 bad answers, with 3 in a row to take it out")
}

// TestEndpointsThatWereLearntAreNotLearntAgain opens a pool again while what it has learnt its endpoints from is gone.
func TestEndpointsThatWereLearntAreNotLearntAgain(t *testing.T) {
	b := startBackend(t, nil)
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	if err := os.WriteFile(file, []byte(`[{address: "`+b.address+`"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := upstreamOf()
	cfg.ConnectTimeout = config.Duration(10 * time.Second)
	cfg.Discovery = &config.Discovery{File: &config.FileDiscovery{Path: config.Path(file)}}
	first := openSet(t, nil, cfg)
	if _, err := call(testContext(t), first.Pool("shop"), "x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	cfg.Balancing.Policy = "round_robin"
	second := openSet(t, first, cfg)
	first.Close()
	if n := len(second.Pool("shop").view.Load().endpoints); n != 1 {
		t.Fatalf("%d endpoints are known, want 1", n)
	}
	if _, err := call(testContext(t), second.Pool("shop"), "x"); err != nil {
		t.Error(err)
	}
	other := *cfg.Discovery.File
	other.Path += ".other"
	cfg.Discovery = &config.Discovery{File: &other}
	third := openSet(t, second, cfg).Pool("shop")
	if n := len(third.view.Load().endpoints); n != 0 {
		t.Errorf("%d endpoints are known of another file, want none", n)
	}
}

// TestTheBoundOnRequestsCountsThoseOfThePoolBefore has a call under way in a pool of which one may be.
func TestTheBoundOnRequestsCountsThoseOfThePoolBefore(t *testing.T) {
	b := startBackend(t, nil)
	cfg := upstreamOf(b.address)
	cfg.Concurrency = &config.Concurrency{MaxRequests: 1}
	old := openSet(t, nil, cfg)
	ended := make(chan error)
	go func() {
		ended <- old.Pool("shop").Invoke(testContext(t), &Call{Method: "/t.T/Hang"}, new(Reply))
	}()
	until(t, "the call to arrive", func() bool { return b.calls.Load() > 0 })
	cfg.Balancing.Policy = "round_robin"
	next := openSet(t, old, cfg).Pool("shop")
	if _, err := call(testContext(t), next, "x"); status.Code(err) != codes.Unavailable && status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second call ended with %v", err)
	}
	b.server.Stop()
	if err := <-ended; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first call ended with %v", err)
	}
}
