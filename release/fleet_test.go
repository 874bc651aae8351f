package release

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/crossgate/crossgate/config"
)

// fleet is some nodes that share a Redis, and what they say.
type fleet struct {
	t     *testing.T
	nodes []*node
	logs  []*bytes.Buffer
}

func startFleet(t *testing.T, server *miniredis.Miniredis, text string, names ...string) *fleet {
	f := &fleet{t: t}
	for _, name := range names {
		log := &bytes.Buffer{} // written in steps, which are the test's own
		f.nodes = append(f.nodes, startNodeThatLogs(t, name, server, noon, text, log))
		f.logs = append(f.logs, log)
	}
	return f
}

func (f *fleet) after(d time.Duration) { together(d, f.nodes...) }

// decided returns how many nodes' metrics and logs say that they have rolled back, and how many logs say that another has.
func (f *fleet) decided() (metrics, logs, others int) {
	for i, n := range f.nodes {
		page := httptest.NewRecorder()
		n.options.Telemetry.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
		metrics += strings.Count(page.Body.String(), `crossgate_release_rollbacks_total{reason="errors",release="r",variant="canary"} 1`)
		logs += strings.Count(f.logs[i].String(), `"a variant is rolled back"`)
		others += strings.Count(f.logs[i].String(), `"a variant is rolled back by another node"`)
	}
	return metrics, logs, others
}

func (f *fleet) want(share float64, rolledBack bool) {
	f.t.Helper()
	for _, n := range f.nodes {
		n.want(share, rolledBack)
	}
}

func TestNodesJudgeByWhatAllOfThemHaveSeen(t *testing.T) {
	server := miniredis.RunT(t)
	f := startFleet(t, server, judged, "a", "b", "c")
	events := server.NewSubscriber()
	defer events.Close()
	events.Subscribe("cg:release:events")
	said := make(chan Event, 9)
	go func() { // ends with the subscriber
		for m := range events.Messages() {
			var e Event
			_ = json.Unmarshal([]byte(m.Message), &e)
			said <- e
		}
	}()

	// Each alone has too few of 50. What one of them sees is bad luck beside what the others do.
	f.nodes[0].requests("canary", 20, 20, 0)
	for _, n := range f.nodes {
		n.requests(config.Stable, 300, 3, 0)
	}
	f.after(2 * time.Second)
	f.want(5, false)
	if c := f.nodes[2].canary(); c.Requests != 20 || c.Failures != 20 || c.Nodes != 3 {
		t.Errorf("another node knows of %+v", c)
	}
	f.nodes[1].requests("canary", 29, 29, 0)
	f.after(2 * time.Second)
	f.want(5, false)
	f.nodes[2].requests("canary", 1, 1, 0)
	f.after(2 * time.Second)
	f.want(0, true)
	if metrics, logs, others := f.decided(); metrics != 1 || logs != 1 || others != 2 {
		t.Errorf("%d metrics and %d logs say that a node has decided it, and %d that another has; it is once for all", metrics, logs, others)
	}
	select {
	case e := <-said:
		if b := e.RolledBack; e.Type != "rolled_back" || b == nil || !strings.HasPrefix(b.Detail, "100 % of 50 requests failed") {
			t.Errorf("the event is %+v", e)
		}
	case <-time.After(30 * time.Second):
		t.Error("no event")
	}

	if err := f.nodes[1].Reset(t.Context(), "r", "canary"); err != nil {
		t.Fatal(err)
	}
	f.after(3 * time.Second) // one to know of it, one to tell what is left, one to hear of that
	f.want(5, false)
	if c := f.nodes[0].canary(); c.Requests != 0 || f.nodes[0].List()[0].Variants[0].Requests != 900 {
		t.Errorf("after a reset there are %+v", f.nodes[0].List())
	}
	if e := <-said; e.Type != "reset" || len(said) > 0 {
		t.Errorf("the event is %+v, and there are %d more", e, len(said))
	}
}

func TestOneNodesBadLuckIsNoRollback(t *testing.T) {
	f := startFleet(t, miniredis.RunT(t), judged, "a", "b", "c")
	for i, n := range f.nodes {
		n.requests(config.Stable, 1000, 10, 0)
		n.requests("canary", 200, []int{14, 0, 0}[i], 0)
	}
	alone := startNode(t, "alone", nil, noon, judged)
	alone.requests(config.Stable, 1000, 10, 0)
	alone.requests("canary", 200, 16, 0)
	alone.after(time.Second)
	alone.want(0, true) // as any of them would
	// The others have told of theirs before it looks.
	together(2*time.Second, f.nodes[1], f.nodes[2], f.nodes[0])
	f.want(5, false)
}

func TestWhileRedisIsGoneANodeJudgesByItsOwnRequests(t *testing.T) {
	server := miniredis.RunT(t)
	f := startFleet(t, server, judged, "a", "b", "c")
	f.after(time.Second)
	server.SetError("gone")
	f.nodes[0].requests("canary", 30, 30, 0)
	f.nodes[1].requests("canary", 50, 50, 0)
	f.after(2 * time.Second)
	f.nodes[0].want(5, false)
	f.nodes[1].want(0, true)
	if c := f.nodes[0].canary(); c.Requests != 30 || c.Nodes != 0 {
		t.Errorf("it goes by %+v", c)
	}
	if metrics, logs, others := f.decided(); metrics != 1 || logs != 1 || others != 0 {
		t.Errorf("%d metrics, %d logs and %d of others", metrics, logs, others)
	}
	server.SetError("")
	f.after(2 * time.Second)
	f.want(0, true)
	if by := f.nodes[2].canary().RolledBack; by.Node != "b" {
		t.Errorf("it is told of %+v", by)
	}
	if metrics, logs, others := f.decided(); metrics != 1 || logs != 1 || others != 2 {
		t.Errorf("%d metrics, %d logs and %d of others", metrics, logs, others)
	}
}

func TestWhatRedisHasOfNodesIsBoundedAndForgotten(t *testing.T) {
	server := miniredis.RunT(t)
	at := time.Now()
	server.SetTime(at)
	f := startFleet(t, server, judged, "a", "b")
	key := "cg:release:{r:canary:" + f.nodes[0].side("canary").plan.fingerprint + "}:counts:0"
	for _, n := range f.nodes {
		n.requests("canary", 20, 0, time.Second)
	}
	f.after(2 * time.Second)
	// What is none of theirs counts for nothing.
	for name, text := range map[string]string{"x": "", "y": "\x00\xff", "z": "99999999999999 \x01\x01\x02\x00", "zz": "99999999999999 \x07"} {
		server.HSet(key, name, text)
	}
	f.after(time.Second)
	if c := f.nodes[0].canary(); c.Requests != 40 || c.Nodes != 2 {
		t.Errorf("it goes by %+v", c)
	}
	if left := server.TTL(key); left <= 0 || left > time.Minute {
		t.Errorf("counts are kept for %v", left)
	}
	if fields, _ := server.HKeys(key); len(fields) != 4 {
		t.Errorf("Redis has the fields %q", fields)
	}
	if n := len(server.HGet(key, "a")); n > 100 {
		t.Errorf("a node's counts take %d bytes", n)
	}
	server.SetTime(at.Add(59 * time.Second))
	f.nodes[0].after(time.Second)
	server.SetTime(at.Add(62 * time.Second))
	f.nodes[0].after(time.Second)
	if c := f.nodes[0].canary(); c.Requests != 20 || c.Nodes != 1 {
		t.Errorf("a minute after another node told something for the last time there are %+v", c)
	}
	server.FlushAll()
	f.after(2 * time.Second)
	if c := f.nodes[0].canary(); c.Requests != 40 {
		t.Errorf("after Redis has lost them there are %+v", c)
	}
}

// BenchmarkSum adds what a hundred nodes have told.
func BenchmarkSum(b *testing.B) {
	var told []string
	var t tally
	for i := range 10_000 {
		t.observe(Answered, time.Duration(i*i)*time.Microsecond/100)
	}
	c := t.take()
	for range 100 {
		told = append(told, string(c.appendTo(c.appendTo([]byte{countsVersion}))))
	}
	for b.Loop() {
		sum(told)
	}
	b.ReportMetric(float64(len(told[0])), "bytes/node")
}
