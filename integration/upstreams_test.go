package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/crossgate/crossgate/integration/rig"
	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
)

// TestTheAdminAPIShowsHowEachEndpointIs has endpoints that are well, busy, ejected, unhealthy, not there, starting and in reserve.
func TestTheAdminAPIShowsHowEachEndpointIs(t *testing.T) {
	release := make(chan struct{})
	end := sync.OnceFunc(func() { close(release) })
	defer end()
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	busy := serve(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	well := serve(func(http.ResponseWriter, *http.Request) {})
	far := serve(func(http.ResponseWriter, *http.Request) {})
	bad := serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	gone := rig.FreeAddress(t)
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	learn := func(list string) {
		t.Helper()
		if err := os.WriteFile(file+".next", []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
	}
	learn(fmt.Sprintf("[{address: %q, weight: 3}]", well))
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams:
  - {name: busy, protocol: http, endpoints: [%q], concurrency: {max_requests: 7}}
  - {name: failing, protocol: http, endpoints: [%q], outlier_detection: {consecutive_failures: 1, base_ejection: 1h, max_ejection: 1h}}
  - {name: gone, protocol: http, endpoints: [%q]}
  - name: learnt
    protocol: http
    discovery: {file: {path: %q}}
    balancing: {slow_start: 1h}
  - name: near
    protocol: http
    discovery: {static: [{address: %q, zone: here}, {address: %q, zone: there}]}
    balancing: {zone: here}
  - {name: unwell, protocol: http, endpoints: [%q], health_check: {type: http, path: /health, interval: 1h}}
routes:
  - {name: busy, match: {path: /busy}, http: {upstream: busy}, timeout: 1h}
  - {name: failing, match: {path: /failing}, http: {upstream: failing}}
  - {name: gone, match: {path: /gone}, http: {upstream: gone}}
  - {name: learnt, match: {path: /learnt}, http: {upstream: learnt}}
`, busy, bad, gone, file, well, far, bad))
	look := func() map[string]*adminv1.Upstream {
		t.Helper()
		code, text := call(t, "GET", g.Admin+"/v1/upstreams", "", nil)
		answer := &adminv1.ListUpstreamsResponse{}
		if err := protojson.Unmarshal([]byte(text), answer); code != 200 || err != nil {
			t.Fatalf("%d, %v: %s", code, err, text)
		}
		found := map[string]*adminv1.Upstream{}
		for _, u := range answer.GetUpstreams() {
			found[strings.TrimPrefix(u.GetName(), "upstreams/")] = u
		}
		return found
	}
	for _, path := range []string{"/failing", "/learnt"} {
		ask(t, "GET", g.URL+path, "")
	}
	learn(fmt.Sprintf("[{address: %q, weight: 3}, {address: %q}]", well, far))
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		answer, err := http.Get(g.URL + "/busy")
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	soonToBe := time.Now().Add(59 * time.Minute)
	rig.Eventually(t, rig.Patience, func() error {
		ask(t, "GET", g.URL+"/gone", "") // which is not tried again for a second only
		all := look()
		endpoint := func(upstream, address string) *adminv1.Endpoint {
			for _, e := range all[upstream].GetEndpoints() {
				if e.GetAddress() == address {
					return e
				}
			}
			return &adminv1.Endpoint{}
		}
		for _, c := range []struct {
			what string
			ok   bool
		}{
			{"the busy one has one request", endpoint("busy", busy).GetActiveRequests() == 1},
			{"one of seven is under way", all["busy"].GetConcurrency().GetActive() == 1 && all["busy"].GetConcurrency().GetLimit() == 7},
			{"the failing one is ejected", endpoint("failing", bad).GetEjectedUntilTime().AsTime().After(soonToBe)},
			{"the one that is not there is passed over", endpoint("gone", gone).GetUnreachableUntilTime() != nil},
			{"where endpoints are not counted nothing is said", endpoint("gone", gone).ActiveRequests == nil},
			{"the first learnt has all of its weight", endpoint("learnt", well).GetWeight() == 3 && endpoint("learnt", well).GetWeightPercent() == 100},
			{"the second starts", endpoint("learnt", far).GetWeightPercent() == 10},
			{"they are from a file", all["learnt"].GetSource() == "file:"+file && all["busy"].GetSource() == "configuration"},
			{"the near one is chosen", endpoint("near", well).GetChosen() && endpoint("near", well).GetZone() == "here"},
			{"the far one is not", endpoint("near", far).GetAddress() == far && !endpoint("near", far).GetChosen()},
			{"one is unhealthy", endpoint("unwell", bad).GetHealth() == adminv1.Endpoint_UNHEALTHY},
			{"the others are not asked", endpoint("near", well).GetHealth() == adminv1.Endpoint_HEALTH_UNSPECIFIED},
		} {
			if !c.ok {
				return fmt.Errorf("%s: it does not show in %v", c.what, all)
			}
		}
		return nil
	})
	out, code := rig.Output(t, rig.Build(t), "upstreams", "--admin", strings.TrimPrefix(g.Admin, "http://"))
	for _, want := range []string{busy + "  ok  ", "ejected until ", "unhealthy", "starting, 10%", "in reserve", "file:" + file} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("crossgate upstreams: exit code %d, no %q in\n%s", code, want, out)
		}
	}
	end()
	<-waiting
}
