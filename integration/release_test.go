package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// sides are the backends of a release: stable and a canary, of gRPC and of HTTP.
type sides struct {
	stable, canary         *testserver.Server
	stableHTTP, canaryHTTP string
	http                   [2]atomic.Int64 // requests
}

func startSides(t *testing.T, canary ...grpc.ServerOption) *sides {
	s := &sides{stable: testserver.Start(t), canary: testserver.Start(t, canary...)}
	backend := func(n *atomic.Int64) string {
		return httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			switch {
			case r.Header.Get("X-Fail") == "broken":
				_, _ = w.Write(make([]byte, 100_000))
				panic(http.ErrAbortHandler)
			case r.Header.Get("X-Fail") != "":
				w.WriteHeader(http.StatusServiceUnavailable)
			case r.Header.Get("X-Wait") != "":
				<-r.Context().Done()
			case r.Header.Get("Upgrade") != "":
				if conn, err := websocket.Accept(w, r, nil); err == nil {
					conn.Close(websocket.StatusNormalClosure, "")
				}
			}
		})
	}
	s.stableHTTP, s.canaryHTTP = backend(&s.http[0]), backend(&s.http[1])
	return s
}

// gateway starts one whose routes have the releases grpc and http, of these keys. More may be told of it.
func (s *sides) gateway(t *testing.T, release, variant, more string) *rig.Gateway {
	t.Helper()
	const each = `
  - name: %s
    %s
    variants: [{name: canary, upstream: %s, %s}]`
	return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
%s
upstreams:
  - {name: stable, endpoints: [%q]}
  - {name: canary, endpoints: [%q]}
  - {name: stable-http, protocol: http, endpoints: [%q]}
  - {name: canary-http, protocol: http, endpoints: [%q]}
descriptors: [{reflection: {upstream: stable}}]
releases:`+each+each+`
routes:
  - {name: calls, release: grpc, grpc: {upstream: stable, services: ["crossgate.test.v1.*"], websocket: {}}}
  - {name: pages, release: http, match: {path_prefix: /http/}, http: {upstream: stable-http, upgrades: [websocket]}}
`, more, s.stable.Address, s.canary.Address, s.stableHTTP, s.canaryHTTP,
		"grpc", release, "canary", variant, "http", release, "canary-http", variant))
}

// calls returns how many requests each side has had.
func (s *sides) calls() (stable, canary int64) {
	return s.stable.Calls() + s.http[0].Load(), s.canary.Calls() + s.http[1].Load()
}

func tryTunnel(t *testing.T, g *rig.Gateway, header http.Header) (int, http.Header) {
	t.Helper()
	conn, answer, err := websocket.Dial(soon(t), g.URL+"/http/socket", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, _, err := conn.Read(soon(t)); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Fatal(err)
	}
	return http.StatusOK, answer.Header
}

func TestACallerIsOnOneSideInEveryProtocol(t *testing.T) {
	s := startSides(t)
	g := s.gateway(t, `by: header:X-Tenant`, `percent: 50`, "")
	// The releases differ in name only, and so do not agree about tenants: each kind of route is by itself.
	kinds := map[string]map[string]attempt{
		"gRPC": {"REST": tried(askREST), "gRPC": tried(askGRPC), "gRPC-Web": tryGRPCWeb, "Connect": tryConnect,
			"stream of Connect": tryConnectStream, "call over WebSocket": tried(askSocketCall)},
		"HTTP": {"HTTP": tried(askHTTP), "tunnel": tryTunnel},
	}
	for kind, protocols := range kinds {
		seen := map[string]bool{}
		for i := range 16 {
			tenant := fmt.Sprintf("tenant-%d", i)
			side, by := "", ""
			for name, try := range protocols {
				stable, canary := s.calls()
				if status, _ := try(t, g, http.Header{"X-Tenant": {tenant}}); status != http.StatusOK {
					t.Fatalf("%s: %d", name, status)
				}
				is := "nobody"
				switch stableNow, canaryNow := s.calls(); {
				case stableNow == stable+1 && canaryNow == canary:
					is = "stable"
				case canaryNow == canary+1 && stableNow == stable:
					is = "canary"
				}
				if side != "" && side != is {
					t.Errorf("%s goes to %s by %s, and to %s by %s", tenant, side, by, is, name)
				}
				side, by = is, name
			}
			seen[side] = true
		}
		if !seen["stable"] || !seen["canary"] || len(seen) != 2 {
			t.Errorf("by %s 16 tenants go to %v", kind, seen)
		}
	}
	within(t, "every request is in the access log with its side", func() bool {
		return strings.Count(g.Log(), `"variant":"canary"`)+strings.Count(g.Log(), `"variant":"stable"`) == 16*8
	})
	_, text := ask(t, "GET", g.Admin+"/metrics", "")
	for _, want := range []string{`crossgate_release_share_percent{release="grpc",variant="canary"} 50`, `crossgate_release_requests_total{outcome="answered",release="http",variant="stable"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestAVariantThatDoesWorseIsRolledBackForEveryProtocol(t *testing.T) {
	failing := func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(codes.Internal, "broken")
	}
	slow := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		time.Sleep(200 * time.Millisecond)
		return next(ctx, request)
	}
	tests := []struct {
		name   string
		canary grpc.UnaryServerInterceptor
		rule   string
		reason string
	}{
		{"one that fails", failing, `{min_requests: 20, max_error_rate: 100}`, "errors"},
		{"one that is slow", slow, `{min_requests: 5, max_p99: 150ms}`, "p99"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startSides(t, grpc.ChainUnaryInterceptor(test.canary))
			g := s.gateway(t, `by: header:X-Tenant`, `percent: 50, rollback: `+test.rule, "")
			tenant := 0
			rolledBack := func() bool {
				tenant++
				// By whatever protocol: what one finds holds for all.
				by := []string{"/bind/v1/one/x", "/crossgate.test.v1.Bindings/GetOne"}[tenant%2]
				method := []string{"GET", "POST"}[tenant%2]
				ask(t, method, g.URL+by, "{}"[:2*(tenant%2)], "X-Tenant", fmt.Sprint(tenant), "Content-Type", "application/json")
				return strings.Contains(g.Log(), "a variant is rolled back")
			}
			within(t, "it is rolled back", rolledBack)
			_, before := s.calls()
			for i := range 32 {
				header := http.Header{"X-Tenant": {fmt.Sprint(i)}}
				for name, try := range map[string]attempt{"REST": tried(askREST), "gRPC": tried(askGRPC)} {
					if status, _ := try(t, g, header); status != http.StatusOK {
						t.Errorf("%s: %d after the rollback", name, status)
					}
				}
			}
			if _, after := s.calls(); after != before {
				t.Errorf("%d requests went to the variant after the rollback", after-before)
			}
			_, text := ask(t, "GET", g.Admin+"/metrics", "")
			for _, want := range []string{
				`crossgate_release_rolled_back{release="grpc",variant="canary"} 1`, `crossgate_release_share_percent{release="grpc",variant="canary"} 0`,
				`crossgate_release_rollbacks_total{reason="` + test.reason + `",release="grpc",variant="canary"} 1`,
				`crossgate_release_rolled_back{release="http",variant="canary"} 0`,
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in the metrics", want)
				}
			}
		})
	}
}

func TestAClientIsGivenACookieThatKeepsItOnItsSide(t *testing.T) {
	s := startSides(t)
	g := s.gateway(t, "by: cookie:seat\n    issue_cookie: {ttl: 1h, secure: true, same_site: strict, path: /http/}", `percent: 50`, "")
	for range 8 {
		start := s.http[1].Load()
		answer, _ := ask(t, "GET", g.URL+"/http/x", "")
		side := s.http[1].Load() - start // how many of one request the canary has had
		cookies := answer.Cookies()
		if len(cookies) != 1 || cookies[0].Name != "seat" || cookies[0].MaxAge != 3600 || !cookies[0].HttpOnly || !cookies[0].Secure ||
			cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].Path != "/http/" {
			t.Fatalf("it is given %v", cookies)
		}
		for range 4 {
			if answer, _ := ask(t, "GET", g.URL+"/http/x", "", "Cookie", "seat="+cookies[0].Value); len(answer.Cookies()) != 0 {
				t.Errorf("it is given %v again", answer.Cookies())
			}
		}
		if n := s.http[1].Load() - start; n != 5*side {
			t.Errorf("of 5 requests of a client the canary has had %d, and %d of its first", n, side)
		}
	}
}

func TestFailuresOfAVariantAreCountedWhateverTheProtocol(t *testing.T) {
	fails := status.Error(codes.Unavailable, "broken")
	s := startSides(t, grpc.ChainUnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, fails }),
		grpc.ChainStreamInterceptor(func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { return fails }))
	g := s.gateway(t, "", `cohorts: [{header: X-Beta, values: [yes]}]`, "")
	counted := func(release, variant, outcome string) int {
		_, text := ask(t, "GET", g.Admin+"/metrics", "")
		_, rest, _ := strings.Cut(text, fmt.Sprintf("crossgate_release_requests_total{outcome=%q,release=%q,variant=%q} ", outcome, release, variant))
		number, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%q: %v", number, err)
		}
		return n
	}
	calls := map[string]attempt{"REST": tried(askREST), "gRPC": tried(askGRPC), "gRPC-Web": tryGRPCWeb, "Connect": tryConnect,
		"stream of Connect": tryConnectStream, "call over WebSocket": tried(askSocketCall)}
	for name, try := range calls {
		if status, _ := try(t, g, http.Header{}); status != http.StatusOK {
			t.Errorf("%s of stable: %d", name, status)
		}
		before := counted("grpc", "canary", "failed")
		if status, _ := try(t, g, http.Header{"X-Beta": {"yes"}}); status != http.StatusServiceUnavailable {
			t.Errorf("%s of the canary: %d", name, status)
		}
		within(t, name+" is counted", func() bool { return counted("grpc", "canary", "failed") == before+1 })
	}
	within(t, "answers are counted", func() bool { return counted("grpc", "stable", "answered") == len(calls) })
	if n := counted("grpc", "stable", "failed") + counted("grpc", "canary", "answered"); n != 0 {
		t.Errorf("%d requests are counted amiss", n)
	}
	for _, how := range []string{"with a status", "broken"} {
		answer, err := send(soon(t), "GET", g.URL+"/http/x", "", "X-Beta", "yes", "X-Fail", how)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}
	within(t, "HTTP is counted", func() bool { return counted("http", "canary", "failed") == 2 })
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if answer, err := send(ctx, "GET", g.URL+"/http/x", "", "X-Beta", "yes", "X-Wait", "1"); err == nil {
			answer.Body.Close()
		}
	}()
	within(t, "the backend has it", func() bool { return s.http[1].Load() == 3 })
	cancel()
	<-ended
	within(t, "it is abandoned", func() bool { return counted("http", "canary", "abandoned") == 1 })
	if n := counted("http", "canary", "failed") + counted("http", "canary", "answered"); n != 2 {
		t.Errorf("%d requests are counted amiss", n)
	}
}

func TestNodesThatShareRedisRollBackAndResetTogether(t *testing.T) {
	server := rig.StartRedis(t)
	s := startSides(t)
	start := func() *rig.Gateway {
		return s.gateway(t, `by: ip`, `percent: 100, rollback: {}`, fmt.Sprintf(`redis: {url: %s}`, server.URL()))
	}
	goesTo := func(g *rig.Gateway) string {
		_, before := s.calls()
		ask(t, "GET", g.URL+"/http/x", "")
		if _, after := s.calls(); after > before {
			return "canary"
		}
		return "stable"
	}
	const variant = "/v1/releases/http/variants/canary"
	one, two := start(), start()
	if got := goesTo(one) + goesTo(two); got != "canarycanary" {
		t.Fatal(got)
	}
	answer, text := ask(t, "POST", one.Admin+variant+":rollback", "")
	if answer.StatusCode != http.StatusOK || !strings.Contains(text, `"reason":"asked_for"`) {
		t.Fatalf("%s: %s", answer.Status, text)
	}
	if got := goesTo(one); got != "stable" {
		t.Errorf("where it was asked for requests go to %s", got)
	}
	within(t, "the other node knows", func() bool { return goesTo(two) == "stable" })
	if got := goesTo(start()); got != "stable" {
		t.Errorf("of a node that starts later requests go to %s", got)
	}
	// A new snapshot of the same configuration changes nothing.
	if answer, text := ask(t, "POST", one.Admin+"/v1/reload", "{}"); answer.StatusCode != http.StatusOK || goesTo(one) != "stable" {
		t.Errorf("after a reload requests go elsewhere; %s", text)
	}
	if answer, text := ask(t, "POST", two.Admin+variant+":reset", ""); answer.StatusCode != http.StatusOK || !strings.Contains(text, `"sharePercent":100`) {
		t.Fatalf("%s: %s", answer.Status, text)
	}
	within(t, "the first node knows of the reset", func() bool { return goesTo(one) == "canary" })
	if _, text := ask(t, "GET", one.Admin+"/v1/releases", ""); strings.Contains(text, "rollback") || !strings.Contains(text, `"name":"releases/http/variants/stable"`) {
		t.Errorf("the releases are %s", text)
	}
	for path, want := range map[string]int{"stable:reset": 404, "nobody:reset": 404, "canary:promote": 404, "canary": 404} {
		if answer, text := ask(t, "POST", one.Admin+"/v1/releases/http/variants/"+path, ""); answer.StatusCode != want {
			t.Errorf("%s: %s: %s", path, answer.Status, text)
		}
	}
	if answer, _ := ask(t, "POST", one.Admin+variant+":rollback", "", "Origin", "https://evil.example"); answer.StatusCode != http.StatusForbidden || goesTo(one) != "canary" {
		t.Error("a page of any origin can roll back")
	}
}
