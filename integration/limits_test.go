package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// within waits for a condition.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(rig.Patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

func TestLimitsOfARoute(t *testing.T) {
	server := rig.StartRedis(t)
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
redis: {url: %s, limit_timeout: 10s} # a slow machine is not to look like a Redis that is gone
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
limits:
  - {name: everyone, per: route, rate: 10/h, store: redis}
routes:
  - {name: one, match: {path: /one}, respond: {}, rate_limits: [{limit: everyone, cost: 4}]}
  - {name: two, match: {path: /two}, respond: {}, rate_limits: [{limit: everyone, costs: [{methods: [DELETE], cost: 6}, {methods: [HEAD], cost: 0}]}]}
  - {name: dry, match: {path: /dry}, respond: {}, rate_limits: [{name: trial, rate: 1/h, dry_run: true}]}
  - name: calls
    match: {path_prefix: /bind/}
    grpc: {upstream: test, services: ["crossgate.test.v1.*"]}
    rate_limits:
      - {name: burst, per: [ip, method], rate: 100/h, store: redis, costs: [{methods: [crossgate.test.v1.Bindings.GetOne], cost: 30}]}
      - {name: month, per: route, quota: 3, store: redis}
      - {name: busy, per: "path:name", concurrency: 5, store: redis}
  - name: socket
    match: {path: /ws}
    websocket: {service: chat, message_rate_limits: [{per: connection, rate: 2/h}]}
`, server.URL(), backend.Address))
	metricsOf := func() string {
		_, text := ask(t, "GET", g.Admin+"/metrics", "")
		return text
	}
	request := func(method, path string) *http.Response {
		t.Helper()
		answer, _ := ask(t, method, g.URL+path, "")
		return answer
	}
	t.Run("routes share one, at costs of their own", func(t *testing.T) {
		for i, c := range []struct {
			method, path string
			status       int
			remaining    string
		}{
			{"GET", "/one", 200, "6"}, {"GET", "/two", 200, "5"}, {"HEAD", "/two", 200, ""}, {"DELETE", "/two", 429, "5"},
			{"GET", "/one", 200, "1"}, {"GET", "/one", 429, "1"}, {"GET", "/two", 200, "0"}, {"GET", "/two", 429, "0"},
		} {
			answer := request(c.method, c.path)
			got, _, _ := strings.Cut(strings.TrimPrefix(answer.Header.Get("RateLimit"), `"everyone";r=`), ";")
			if answer.StatusCode != c.status || got != c.remaining || answer.Header.Get("RateLimit-Policy") != `"everyone";q=10;w=3600` {
				t.Errorf("request %d: %s, %v", i, answer.Status, answer.Header)
			}
		}
	})
	t.Run("a dry run lets pass, and says so", func(t *testing.T) {
		for range 3 {
			if answer := request("GET", "/dry"); answer.StatusCode != 200 || answer.Header.Get("RateLimit") != "" || answer.Header.Get("RateLimit-Policy") != "" {
				t.Errorf("%s, %v", answer.Status, answer.Header)
			}
		}
		if !strings.Contains(metricsOf(), `crossgate_limit_events_total{limit="trial",result="dry_run",route="dry"} 2`) {
			t.Error("it is not counted")
		}
		within(t, "it is in the access log", func() bool { return strings.Contains(g.Log(), `"dry_run":"trial"`) })
	})
	t.Run("Redis is asked once for all limits of a request, and a refusal charges none", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer client.Close()
		asked := func() (n int) {
			stats := client.Info(t.Context(), "commandstats").Val()
			for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=([0-9]+)`).FindAllStringSubmatch(stats, -1) {
				calls, _ := strconv.Atoi(m[1])
				n += calls
			}
			return n
		}
		before := asked()
		for i, want := range []struct {
			header string
			reset  int // in seconds, from the first request on
		}{{`"burst";r=70;t=%d, "month";r=2;`, 1080}, {`"burst";r=40;t=%d, "month";r=1;`, 2160}, {`"burst";r=10;t=%d, "month";r=0;`, 3240}} {
			answer := request("GET", "/bind/v1/one/x")
			var reset int
			_, err := fmt.Sscanf(answer.Header.Get("RateLimit"), want.header, &reset)
			if err != nil || answer.StatusCode != 200 || reset > want.reset || reset < want.reset-30 ||
				answer.Header.Get("RateLimit-Policy") != `"burst";q=100;w=3600, "month";q=3, "busy";q=5;qu="concurrent-requests"` {
				t.Errorf("request %d: %s, %v", i, answer.Status, answer.Header)
			}
		}
		if n := asked() - before; n != 3 {
			t.Errorf("Redis was asked %d times for 3 requests", n)
		}
		_, err := testproto.NewBindingsClient(dialGRPC(t, g)).GetOne(soon(t), &testproto.Bound{Name: "x"})
		var quota *errdetails.QuotaFailure
		var retry *errdetails.RetryInfo
		for _, d := range status.Convert(err).Details() {
			switch d := d.(type) {
			case *errdetails.QuotaFailure:
				quota = d
			case *errdetails.RetryInfo:
				retry = d
			}
		}
		if quota.GetViolations()[0].GetSubject() != "limit:month" || retry.GetRetryDelay().AsDuration() <= time.Hour {
			t.Errorf("%v: %v, %v", err, quota, retry)
		}
		if !strings.Contains(metricsOf(), `crossgate_limit_events_total{limit="month",result="refused",route="calls"} 1`) {
			t.Error("it is not counted")
		}
		within(t, "it is in the access log", func() bool { return strings.Contains(g.Log(), `"limit":"month"`) })
	})
	t.Run("a message over its limit is answered with a typed error", func(t *testing.T) {
		conn, _, err := websocket.Dial(soon(t), g.URL+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		var frame struct {
			Type, Code   string
			RetryAfterMs int64 `json:"retry_after_ms"`
		}
		for range 3 {
			if err := conn.Write(soon(t), websocket.MessageText, []byte(`{"id":1,"type":"ping"}`)); err != nil {
				t.Fatal(err)
			}
			_, data, err := conn.Read(soon(t))
			if err != nil || json.Unmarshal(data, &frame) != nil {
				t.Fatalf("%v: %s", err, data)
			}
		}
		if frame.Type != "error" || frame.Code != "resource_exhausted" || frame.RetryAfterMs < 29*60_000 || frame.RetryAfterMs > 30*60_000 {
			t.Errorf("%+v", frame)
		}
	})
}
