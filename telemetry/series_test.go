package telemetry

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/crossgate/crossgate/config"
)

func TestARouteThatIsGoneLeavesNoSeriesWhateverStillUsesIt(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	gone := tel.Route("gone")
	gone.Observe(REST, 200, 0, 1, 1)
	tel.Retain(nil)
	gone.Observe(REST, 200, 0, 1, 1)
	gone.Observe(WebSocket, 418, 0, 1, 1)
	gone.WebSocketClosed(1001)
	gone.WebSocketLimited("subscriptions")
	gone.Limit("1", LimitRefused)
	open := gone.Sessions(OverSSE)
	open.Open.Dec()
	open.In.Inc()
	gone.Refused(RefusedLimit)
	gone.Decided("rule", Allowed, "another")
	gone.Cache().Count(CacheHit)
	if strings.Contains(scrape(t, tel), `"gone"`) {
		t.Error("series of the route are left")
	}
	again := tel.Route("gone")
	again.Observe(REST, 418, 0, 0, 0)
	gone.Observe(REST, 418, 0, 0, 0)
	if !strings.Contains(scrape(t, tel), `crossgate_requests_total{code="418",protocol="rest",route="gone"} 1`+"\n") {
		t.Error("the route that came back counts what the old one had")
	}
}

func TestAnUpstreamsSeriesLastAsLongAsSomebodyHasThem(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	old, next := tel.Upstream("shop"), tel.Upstream("shop")
	old.Ejected("success_rate")
	next.Endpoints(3, 1, 1)
	old.Close()
	if got := scrape(t, tel); strings.Count(got, `upstream="shop"`) != 4 {
		t.Errorf("series that the new one has are gone:\n%s", got)
	}
	next.Close()
	if strings.Contains(scrape(t, tel), `upstream="shop"`) {
		t.Error("series are left")
	}
}

func TestASourcesFailuresAreCountedAndLoggedNowAndThen(t *testing.T) {
	var log strings.Builder
	tel := start(t, config.Log{}, &log)
	old, next := tel.Source(KeySets, "main"), tel.Source(KeySets, "main")
	for range 3 {
		old.Failed(io.ErrUnexpectedEOF)
	}
	next.Failed(io.EOF)
	old.Close()
	const series = `crossgate_source_failures_total{kind="jwks",name="main"} `
	if got := scrape(t, tel); !strings.Contains(got, series+"4\n") {
		t.Errorf("not 4 failures:\n%s", got)
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"kind":"jwks","name":"main","error":"unexpected EOF"`) {
		t.Errorf("logged %s", got)
	}
	old.logged = old.logged.Add(-2 * sourceLogInterval)
	old.Failed(io.EOF)
	if got := log.String(); !strings.Contains(got, `"error":"EOF","not_logged":2}`) {
		t.Errorf("logged %s", got)
	}
	next.Close()
	if strings.Contains(scrape(t, tel), series) {
		t.Error("series are left")
	}
	var none *Telemetry
	none.Source(KeySets, "main").Failed(io.EOF)
	none.Source(KeySets, "main").Close()
}

func TestALoginsSeriesLastWhileAConfigurationHasIt(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	old, next := tel.Login("staff"), tel.Login("staff")
	old.Begun()
	next.Completed()
	next.Ended(0, "logout")
	next.Ended(2, "logout")
	old.Close()
	got := scrape(t, tel)
	for _, want := range []string{`logins_total{provider="staff",result="begun"} 1`, `logins_total{provider="staff",result="completed"} 1`, `sessions_ended_total{provider="staff",reason="logout"} 2`} {
		if !strings.Contains(got, "crossgate_"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	next.Close()
	if strings.Contains(scrape(t, tel), `provider="staff"`) {
		t.Error("series are left")
	}
	var none *Telemetry
	none.Login("staff").Begun()
	none.Login("staff").Close()
}

func TestRoutesAreObservedWhileTheyGo(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	var all sync.WaitGroup
	for w := range 4 {
		r := tel.Route(fmt.Sprint(w))
		all.Go(func() {
			for status := 100; status < 600; status++ {
				r.Observe(Protocol(status%3), status, 0, 0, 0)
				r.WebSocketClosed(4000 + status%16)
			}
		})
	}
	tel.Retain(nil)
	all.Wait()
	if strings.Contains(scrape(t, tel), `route="`) {
		t.Error("series of routes are left")
	}
}

func TestARouteHasNoSeriesUntilItIsAskedFor(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	r := tel.Route("shop")
	if got := scrape(t, tel); strings.Contains(got, `"shop"`) {
		t.Errorf("series of nothing:\n%s", got)
	}
	r.Observe(GRPC, 599, 0, 0, 0)
	r.Observe(GRPC, 100, 0, 0, 0)
	got := scrape(t, tel)
	for _, want := range []string{`requests_total{code="599",protocol="grpc"`, `requests_total{code="100",protocol="grpc"`, `request_duration_seconds_count{protocol="grpc"`} {
		if !strings.Contains(got, "crossgate_"+want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, `protocol="rest"`) || strings.Contains(got, "crossgate_refusals_total{") {
		t.Errorf("series of nothing:\n%s", got)
	}
}

// exercise gives every metric a series.
func exercise(tel *Telemetry) {
	r := tel.Route("shop")
	r.Observe(REST, 200, 0, 1, 1)
	r.Refused(RefusedLimit)
	r.Sessions(OverSSE)
	r.WebSocketClosed(1000)
	r.WebSocketLimited("subscriptions")
	r.Decided("grown-ups", Denied, "")
	r.Mirrored("dropped").Inc()
	r.Cache().Count(CacheHit)
	u := tel.Upstream("shop")
	u.Endpoints(3, 1, 1)
	u.Ejected("success_rate")
	v := tel.Variant("shop-2", "canary")
	v.Stands(5, false, time.Second, 1)
	v.RolledBack("errors")
	r.Limit("1", LimitDryRun)
	u.Retried("sent")
	u.Hedged()
	u.Rejected("too_many_requests")
	u.ConcurrencyLimit(20)
	tel.BusDrops.WithLabelValues("malformed").Inc()
	l := tel.Login("staff")
	l.Begun()
	l.Failed("bad_token")
	l.Refreshed("refreshed")
	l.LoggedOut("here")
	l.Ended(2, "logout")
	tel.Source(KeySets, "main").Failed(io.EOF)
	tel.Reloaded(true)
	tel.Reloaded(false)
	tel.DescribeServices(map[string]int{"shop.binpb": 2})
	tel.DescribeBuild("v1", "go1")
}

func TestTheManualHasTheTypeAndTheLabelsOfEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	words := func(list []string) string { slices.Sort(list); return strings.Join(list, " ") }
	manual := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(crossgate_[a-z_]+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		manual[m[1]] = m[2] + ": " + words(regexp.MustCompile("[a-z_]+").FindAllString(m[3], -1))
	}
	tel := start(t, config.Log{}, io.Discard)
	exercise(tel)
	families, err := tel.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "crossgate_") {
			continue
		}
		found++
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if is := strings.ToLower(f.GetType().String()) + ": " + words(labels); manual[f.GetName()] != is {
			t.Errorf("docs/metrics.md has %s as %q, it is %q", f.GetName(), manual[f.GetName()], is)
		}
	}
	if found != len(manual) {
		t.Errorf("%d metrics have a series, docs/metrics.md has %d", found, len(manual))
	}
}

func TestMetricsFollowPrometheusNaming(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	exercise(tel)
	families, err := tel.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "crossgate_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestReloadsServicesAndTheBuildArePublished(t *testing.T) {
	tel := start(t, config.Log{}, io.Discard)
	const never = "crossgate_config_last_reload_success_timestamp_seconds 0\n"
	tel.Reloaded(false)
	if text := scrape(t, tel); !strings.Contains(text, `crossgate_config_reloads_total{result="refused"} 1`) || !strings.Contains(text, never) {
		t.Error("a refused snapshot is not counted, or counted as a success")
	}
	tel.Reloaded(true)
	tel.DescribeServices(map[string]int{"old.binpb": 1, "shop.binpb": 2})
	tel.DescribeServices(map[string]int{"shop.binpb": 3})
	tel.DescribeBuild("v1.2.3", "go1.26")
	text := scrape(t, tel)
	for _, want := range []string{
		`crossgate_config_reloads_total{result="installed"} 1`, `crossgate_descriptor_services{source="shop.binpb"} 3`,
		`crossgate_build_info{go_version="go1.26",version="v1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "old.binpb") || strings.Contains(text, never) {
		t.Error("a source that is gone is still published, or the time of the reload is not")
	}
}
