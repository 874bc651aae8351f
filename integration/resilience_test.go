package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// moody is a backend of gRPC and HTTP that does what its mood says.
type moody struct {
	backends
	calls atomic.Int64
	mood  atomic.Int32
}

const (
	wellMood    = iota
	failingMood // UNAVAILABLE, 503
	hangingMood
)

func (m *moody) act(ctx context.Context) error {
	m.calls.Add(1)
	switch m.mood.Load() {
	case failingMood:
		return status.Error(codes.Unavailable, "in a mood")
	case hangingMood:
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

func startMoody(t *testing.T) *moody {
	t.Helper()
	m := new(moody)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.act(r.Context()) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(plain.Close)
	server := testserver.Start(t, grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := m.act(ctx); err != nil {
			return nil, err
		}
		return next(ctx, r)
	}))
	m.backends = backends{server.Address, plain.Listener.Addr().String()}
	return m
}

// resilience is one case of the table: what its upstreams and routes say, and what must come of it on three backends.
type resilience struct {
	name            string
	upstream, route string
	run             func(t *testing.T, c *resilient)
}

// resilient is a case by one protocol.
type resilient struct {
	*rig.Gateway
	protocol policyProtocol
	upstream string
	header   http.Header
	backends []*moody
}

// ask makes a request with more headers, in pairs.
func (c *resilient) ask(t *testing.T, pairs ...string) verdict {
	t.Helper()
	h := c.header.Clone()
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return c.protocol.ask(soon(t), t, c.Gateway, policyRequest{header: h})
}

// all sets every backend's mood.
func (c *resilient) all(mood int32) {
	for _, b := range c.backends {
		b.mood.Store(mood)
	}
}

// during returns which backends had how many calls of what is done.
func (c *resilient) during(do func()) (each []int64, sum int64) {
	for _, b := range c.backends {
		each = append(each, -b.calls.Load())
	}
	do()
	for i, b := range c.backends {
		each[i] += b.calls.Load()
		sum += each[i]
	}
	return each, sum
}

// one returns the backend that alone had all n calls of what is done.
func (c *resilient) one(t *testing.T, n int64, do func()) *moody {
	t.Helper()
	each, _ := c.during(do)
	for i, calls := range each {
		if calls == n {
			return c.backends[i]
		}
	}
	t.Fatalf("the backends had %v calls, want all %d at one", each, n)
	return nil
}

// counts waits until the metrics have a line.
func (c *resilient) counts(t *testing.T, metric, labels string, value int) {
	t.Helper()
	want := fmt.Sprintf("%s{%supstream=%q} %d", metric, labels, c.upstream, value)
	rig.Eventually(t, rig.Patience, func() error {
		if _, metrics := ask(t, "GET", c.Admin+"/metrics", ""); !strings.Contains(metrics, want) {
			return errors.New("no " + want)
		}
		return nil
	})
}

var unavailable = verdict{503, codes.Unavailable, unsaid, nil}

func (c *resilient) want(t *testing.T, want verdict, pairs ...string) verdict {
	t.Helper()
	v := c.ask(t, pairs...)
	if !v.is(want) {
		t.Fatalf("%v, want %v", v, want)
	}
	return v
}

var resilienceTable = []resilience{
	{"without retry a failure is the answer", "", "", func(t *testing.T, c *resilient) {
		c.all(failingMood)
		if each, n := c.during(func() { c.want(t, unavailable) }); n != 1 {
			t.Errorf("the backends had %v calls", each)
		}
	}},
	{"a retry goes to another endpoint", "", "retry: {retries: 2, on: [gateway]}", func(t *testing.T, c *resilient) {
		c.backends[0].mood.Store(failingMood)
		c.backends[1].mood.Store(failingMood)
		for range 6 {
			c.want(t, admitted)
		}
		c.all(failingMood)
		if each, n := c.during(func() { c.want(t, unavailable) }); n != 3 || each[0] != 1 || each[1] != 1 {
			t.Errorf("the backends had %v calls, want one each", each)
		}
	}},
	{"what is spent of the budget is not tried again", "retry_budget: {percent: 0, min_concurrent: 0}", "retry: {retries: 2, on: [gateway]}", func(t *testing.T, c *resilient) {
		c.all(failingMood)
		if each, n := c.during(func() { c.want(t, unavailable) }); n != 1 {
			t.Errorf("the backends had %v calls", each)
		}
		c.counts(t, "crossgate_upstream_retries_total", `result="over_budget",`, 1)
	}},
	{"a slow request is sent to a second endpoint", "retry_budget: {min_concurrent: 10}", "hedge: {after: 20ms}", func(t *testing.T, c *resilient) {
		c.backends[0].mood.Store(hangingMood)
		within(t, "the slow one is asked, and the request answered", func() bool {
			each, _ := c.during(func() { c.want(t, admitted) })
			return each[0] > 0
		})
	}},
	{"a try that takes too long is tried elsewhere", "", "try_timeout: 1s, retry: {retries: 5, on: [timeout]}", func(t *testing.T, c *resilient) {
		c.backends[0].mood.Store(hangingMood)
		for range 3 {
			c.want(t, admitted)
		}
	}},
	{"a cookie keeps a client at its endpoint, and another one's takes its place", failsOnce + ", balancing: {policy: round_robin, panic_threshold: 0, sticky: {cookie: at}}", "",
		func(t *testing.T, c *resilient) {
			cookieOf := func(v verdict) string {
				cookie, _, _ := strings.Cut(v.header.Get("Set-Cookie"), ";")
				if !strings.HasPrefix(cookie, "at=") {
					t.Fatalf("no cookie: %v", v.header)
				}
				return cookie
			}
			var cookie string
			first := c.one(t, 1, func() { cookie = cookieOf(c.want(t, admitted)) })
			stays := func() {
				for range 5 {
					if v := c.want(t, admitted, "Cookie", cookie); v.header.Get("Set-Cookie") != "" {
						t.Errorf("another cookie: %v", v.header)
					}
				}
			}
			if b := c.one(t, 5, stays); b != first {
				t.Error("it went to another endpoint")
			}
			first.mood.Store(failingMood)
			c.want(t, unavailable, "Cookie", cookie)
			if b := c.one(t, 1, func() { cookie = cookieOf(c.want(t, admitted, "Cookie", cookie)) }); b == first {
				t.Error("it went to the endpoint that is ejected")
			}
			c.one(t, 5, stays)
		}},
	{"a hash of a header keeps its requests at one endpoint, also when others go", failsOnce + `, balancing: {policy: hash, hash_on: "header:X-Shop", panic_threshold: 0}`, "",
		func(t *testing.T, c *resilient) {
			at := map[string]*moody{}
			for i := range 20 {
				shop := fmt.Sprint("shop-", i)
				at[shop] = c.one(t, 3, func() {
					for range 3 {
						c.want(t, admitted, "X-Shop", shop)
					}
				})
			}
			gone := at["shop-0"]
			gone.mood.Store(failingMood)
			c.want(t, unavailable, "X-Shop", "shop-0")
			moved := 0
			for shop, before := range at {
				after := c.one(t, 1, func() { c.want(t, admitted, "X-Shop", shop) })
				if after == gone {
					t.Errorf("%s goes to the endpoint that is ejected", shop)
				}
				if before != gone && after != before {
					moved++
				}
			}
			if moved > 5 {
				t.Errorf("%d of 20 moved without need", moved)
			}
		}},
	{"failures in a row eject", failsThrice + ", balancing: {policy: round_robin, panic_threshold: 0}", "", func(t *testing.T, c *resilient) {
		c.backends[0].mood.Store(failingMood)
		failed := 0
		each, _ := c.during(func() {
			for range 20 {
				if !c.ask(t).is(admitted) {
					failed++
				}
			}
		})
		if failed != 3 || each[0] != 3 {
			t.Errorf("%d requests failed, and the backends had %v, want 3", failed, each)
		}
		c.counts(t, "crossgate_upstream_ejections_total", `reason="consecutive_failures",`, 1)
	}},
	{"below the panic threshold all get requests again", failsThrice + ", balancing: {policy: round_robin, panic_threshold: 90}", "", func(t *testing.T, c *resilient) {
		c.backends[0].mood.Store(failingMood)
		each, _ := c.during(func() {
			for range 20 {
				c.ask(t)
			}
		})
		c.counts(t, "crossgate_upstream_ejections_total", `reason="consecutive_failures",`, 1)
		if each[0] < 6 {
			t.Errorf("the backends had %v calls, want as many for each", each)
		}
	}},
}

const (
	failsOnce   = "outlier_detection: {consecutive_failures: 1, base_ejection: 5m, max_ejected: 40}"
	failsThrice = "outlier_detection: {consecutive_failures: 3, base_ejection: 5m, max_ejected: 40}"
)

// TestResilienceAsConfiguredInEveryProtocol has one gateway with an upstream and a route for each case and protocol.
func TestResilienceAsConfiguredInEveryProtocol(t *testing.T) {
	backends := []*moody{startMoody(t), startMoody(t), startMoody(t)}
	var upstreams, routes strings.Builder
	for i, c := range resilienceTable {
		for n, protocol := range policyProtocols[:3] {
			var endpoints []string
			for _, b := range backends {
				if protocol.name == "HTTP" {
					endpoints = append(endpoints, b.http)
				} else {
					endpoints = append(endpoints, b.grpc)
				}
			}
			kind, target := "", `grpc: {upstream: u%d-%d, services: [crossgate.test.v1.Bindings]}`
			if protocol.name == "HTTP" {
				kind, target = "protocol: http, ", `http: {upstream: u%d-%d}`
			}
			path := ""
			if protocol.name == "HTTP" {
				path = "path_prefix: /http/, "
			}
			fmt.Fprintf(&upstreams, "  - {name: u%d-%d, %s%s%s}\n", i, n, kind, endpointsOf(endpoints...), prefixed(c.upstream))
			fmt.Fprintf(&routes, "  - {name: r%d-%d, match: {%sheaders: {X-Policy: p%d-%d}}, %s%s}\n", i, n, path, i, n, fmt.Sprintf(target, i, n), prefixed(c.route))
		}
	}
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{file: %q}]
upstreams:
%sroutes:
%s`, testSetFile(t), upstreams.String(), routes.String()))
	for i, c := range resilienceTable {
		for n, protocol := range policyProtocols[:3] {
			t.Run(c.name+"/"+protocol.name, func(t *testing.T) {
				r := &resilient{g, protocol, fmt.Sprintf("u%d-%d", i, n), http.Header{"X-Policy": {fmt.Sprintf("p%d-%d", i, n)}}, backends}
				r.all(wellMood)
				// An endpoint without a connection is passed over; all of them have one first.
				within(t, "every endpoint is connected to", func() bool {
					each, _ := r.during(func() {
						for range 6 {
							r.want(t, admitted, "X-Shop", fmt.Sprint(time.Now().UnixNano()))
						}
					})
					return each[0] > 0 && each[1] > 0 && each[2] > 0
				})
				c.run(t, r)
			})
		}
	}
}

func prefixed(keys string) string {
	if keys == "" {
		return ""
	}
	return ", " + keys
}
