package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// TestReloadsThatChangeUpstreamsDropNothing reloads again and again under load, each time with other balancing and another
// retry budget: no request fails, the connections stay, and the endpoint that is ejected stays so.
func TestReloadsThatChangeUpstreamsDropNothing(t *testing.T) {
	var conns, refused atomic.Int64
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	ok := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }
	one, two := serve(ok), serve(ok)
	bad := serve(func(w http.ResponseWriter, _ *http.Request) {
		refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	backend := testserver.Start(t)
	yaml := func(n int) string {
		return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: test, endpoints: [%q], retry_budget: {percent: %d}}
  - name: app
    protocol: http
    endpoints: [%q, %q, %q]
    balancing: {policy: %s}
    retry_budget: {percent: %d}
    outlier_detection: {consecutive_failures: 1, base_ejection: 1h, max_ejection: 1h}
descriptors: [{reflection: {upstream: test}}]
routes:
  - {name: test, grpc: {upstream: test, services: ["crossgate.test.v1.*"]}}
  - {name: app, match: {path_prefix: /app/}, http: {upstream: app}, retry: {retries: 2, on: [gateway]}}
`, backend.Address, 20+n, one, two, bad, []string{"round_robin", "least_request"}[n%2], 20+n)
	}
	g := rig.StartGateway(t, yaml(0))
	f := startTraffic(t, 2, map[string]func(context.Context) error{"HTTP": getting(t, g.URL+"/app/"), "REST": getting(t, g.URL+"/bind/v1/one/x")})
	rig.Eventually(t, rig.Patience, func() error {
		if refused.Load() == 0 {
			return fmt.Errorf("the endpoint that fails has had no request")
		}
		return nil
	})
	const reloads = 12
	f.during(t, 1, func() {
		for n := range reloads {
			g.Rewrite(t, yaml(n+1))
			if err := g.Reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	})
	if _, metrics := call(t, "GET", g.Admin+"/metrics", "", nil); !strings.Contains(metrics, `crossgate_upstream_endpoints{state="ejected",upstream="app"} 1`) {
		t.Error("no endpoint is ejected any more")
	}
	f.wantFailed(t, nil)
	// The two that ask at a time may meet it together before it is out.
	if n := refused.Load(); n > 2 {
		t.Errorf("the ejected endpoint had %d requests", n)
	}
	if n := conns.Load(); n > reloads {
		t.Errorf("%d connections to three endpoints in %d reloads", n, reloads)
	}
}
