package release

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a controller with a clock of its own, which steps when it is told to.
type node struct {
	*Controller
	t   *testing.T
	now time.Time
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// startNode starts a node at noon on a configuration's releases; server is nil for no Redis.
func startNode(t *testing.T, name string, server *miniredis.Miniredis, at time.Time, text string) *node {
	t.Helper()
	return startNodeThatLogs(t, name, server, at, text, io.Discard)
}

func startNodeThatLogs(t *testing.T, name string, server *miniredis.Miniredis, at time.Time, text string, log io.Writer) *node {
	t.Helper()
	tel := telemetry.New(config.Log{}, log)
	t.Cleanup(tel.Close)
	n := &node{t: t, now: at}
	o := Options{Prefix: "cg:", Node: name, Telemetry: tel, Now: func() time.Time { return n.now }}
	if server != nil {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		o.Redis = client
	}
	n.Controller = newController(o)
	n.configure(text)
	return n
}

func (n *node) configure(text string) {
	n.t.Helper()
	s, err := Compile(configOf(n.t, text).Releases, n.live)
	if err != nil {
		n.t.Fatal(err)
	}
	n.Install(s)
}

// after steps until d later, a second at a time.
func (n *node) after(d time.Duration) {
	for end := n.now.Add(d); n.now.Before(end); {
		n.now = n.now.Add(time.Second)
		n.step(context.Background())
	}
}

func (n *node) side(name string) *Variant { return n.live.Release("r").variant(name) }

// together has nodes step by turns until d later.
func together(d time.Duration, nodes ...*node) {
	for range d / time.Second {
		for _, n := range nodes {
			n.after(time.Second)
		}
	}
}

// requests counts n requests of a side, of which failed fail and all take that long.
func (n *node) requests(side string, count, failed int, each time.Duration) {
	v := n.side(side)
	for i := range count {
		o := Answered
		if i < failed {
			o = Failed
		}
		v.Observe(o, each, false)
	}
}

func (n *node) canary() VariantStatus {
	n.t.Helper()
	list := n.List()
	if len(list) != 1 || len(list[0].Variants) != 2 {
		n.t.Fatalf("the node has the releases %v", list)
	}
	return list[0].Variants[1]
}

func (n *node) want(share float64, rolledBack bool) {
	n.t.Helper()
	if c := n.canary(); c.Share < share-0.001 || c.Share > share+0.001 || (c.RolledBack != nil) != rolledBack {
		n.t.Errorf("%s: the canary has %v %%, rolled back: %+v; want %v %%, %v", n.now.Format(time.TimeOnly), c.Share, c.RolledBack, share, rolledBack)
	}
}

const judged = `releases: [{name: r, variants: [{name: canary, upstream: b, percent: 5, rollback: {window: 1m, min_requests: 50}}]}]`

func TestAVariantIsRolledBackWhenItDoesWorse(t *testing.T) {
	tests := []struct {
		name           string
		rollback       string
		stable, canary func(n *node, side string)
		want           string // the reason
	}{
		{"it does as well", "{}", with(1000, 20, 10*time.Millisecond), with(100, 3, 10*time.Millisecond), ""},
		{"it fails more often", "{}", with(1000, 20, 10*time.Millisecond), with(100, 20, 10*time.Millisecond), byErrors},
		{"it fails more often, which may be chance", "{}", with(1000, 20, 10*time.Millisecond), with(100, 5, 10*time.Millisecond), ""},
		{"it fails more often, and stable never", "{}", with(1000, 0, 0), with(100, 7, 0), byErrors},
		{"it fails more often, and stable never, which may be chance", "{}", with(1000, 0, 0), with(100, 3, 0), ""},
		{"it fails more often, but not by the margin", "{error_margin: 20}", with(1000, 20, 0), with(100, 20, 0), ""},
		{"it fails more often, but not by the growth", "{error_growth: 1000}", with(1000, 20, 0), with(100, 20, 0), ""},
		{"it fails more often, which is not compared", "{error_margin: 0}", with(1000, 0, 0), with(100, 40, 0), ""},
		{"it has too few requests", "{min_requests: 101}", with(1000, 0, 0), with(100, 100, time.Second), ""},
		{"stable has too few requests to compare with", "{}", with(99, 0, 0), with(1000, 490, time.Second), ""},
		{"and it fails too often whatever stable does", "{}", with(99, 0, 0), with(1000, 510, 0), byErrors},
		{"it is slower", "{}", with(1000, 0, 50*time.Millisecond), with(100, 0, 200*time.Millisecond), byP99},
		{"it is slower, but not by the margin", "{p99_margin: 200ms}", with(1000, 0, 50*time.Millisecond), with(100, 0, 200*time.Millisecond), ""},
		{"it is slower, but not by the growth", "{p99_growth: 500}", with(1000, 0, 50*time.Millisecond), with(100, 0, 200*time.Millisecond), ""},
		{"it is slower, which may be chance", "{}", with(1000, 0, 50*time.Millisecond), func(n *node, side string) {
			n.requests(side, 97, 0, 50*time.Millisecond)
			n.requests(side, 3, 0, time.Second)
		}, ""},
		{"a few of its requests are slower, of none of stable's", "{}", with(1000, 0, 50*time.Millisecond), func(n *node, side string) {
			n.requests(side, 93, 0, 50*time.Millisecond)
			n.requests(side, 7, 0, time.Second)
		}, byP99},
		{"it is slower than may be", "{p99_margin: 0, max_p99: 150ms}", with(0, 0, 0), with(100, 0, 200*time.Millisecond), byP99},
		{"what testers see does not count", "{}", with(1000, 0, 0), func(n *node, side string) {
			for range 1000 {
				n.side(side).Observe(Failed, time.Minute, true)
			}
		}, ""},
		{"callers who give up count by how long they waited", "{}", with(1000, 0, 0), func(n *node, side string) {
			for range 1000 {
				n.side(side).Observe(Abandoned, time.Second, false)
			}
		}, byP99},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := startNode(t, "a", nil, noon, `releases: [{name: r, variants: [{name: canary, upstream: b, percent: 5, rollback: `+test.rollback+`}]}]`)
			n.after(time.Second)
			test.stable(n, config.Stable)
			test.canary(n, "canary")
			n.after(time.Second)
			reason := ""
			if b := n.canary().RolledBack; b != nil {
				reason = b.Reason
			}
			if reason != test.want {
				t.Errorf("rolled back for %q (%+v), not for %q", reason, n.canary().RolledBack, test.want)
			}
			if share := n.canary().Share; (share == 0) != (reason != "") {
				t.Errorf("its share is %v %%", share)
			}
		})
	}
}

func with(count, failed int, each time.Duration) func(*node, string) {
	return func(n *node, side string) { n.requests(side, count, failed, each) }
}

func TestOnlyTheWindowCounts(t *testing.T) {
	n := startNode(t, "a", nil, noon, judged)
	n.after(time.Second)
	n.requests(config.Stable, 1000, 0, 0)
	n.requests("canary", 49, 49, 0)
	n.after(30 * time.Second)
	n.want(5, false)
	n.after(40 * time.Second)
	n.requests("canary", 49, 49, 0)
	n.after(time.Second)
	n.want(5, false)
	if c := n.canary(); c.Requests != 49 || c.Failures != 49 {
		t.Errorf("the window has %+v", c)
	}
	n.requests(config.Stable, 1000, 0, 0)
	n.requests("canary", 1, 1, 0)
	n.after(time.Second)
	n.want(0, true)
	n.after(2 * time.Minute)
	n.want(0, true)
}

func TestWhatANodeRollsBackIsRolledBackOnAll(t *testing.T) {
	server := miniredis.RunT(t)
	a, b := startNode(t, "a", server, noon, judged), startNode(t, "b", server, noon.Add(time.Hour), judged)
	subscriber := a.options.Redis.Subscribe(t.Context(), "cg:release:events")
	defer subscriber.Close()
	if _, err := subscriber.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	event := func(want string) {
		t.Helper()
		select {
		case m := <-subscriber.Channel():
			var e Event
			if err := json.Unmarshal([]byte(m.Payload), &e); err != nil || e.Type != want || e.Release != "r" || e.Variant != "canary" {
				t.Errorf("the event %s: %v", m.Payload, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("no event %s", want)
		}
	}
	a.requests("canary", 100, 100, 0)
	a.after(time.Second)
	a.want(0, true)
	event("rolled_back")
	b.after(time.Second)
	b.want(0, true)
	if by := b.canary().RolledBack; by.Node != "a" || by.Reason != byErrors || !strings.HasPrefix(by.Detail, "100 % of 100 requests failed") {
		t.Errorf("the other node knows of %+v", by)
	}

	late := startNode(t, "late", server, noon.Add(-time.Hour), judged)
	late.want(0, true) // before its first step
	other := startNode(t, "other", server, noon, strings.Replace(judged, "percent: 5", "percent: 6", 1))
	other.want(6, false)

	if err := b.Reset(t.Context(), "r", "canary"); err != nil {
		t.Fatal(err)
	}
	b.want(5, false)
	event("reset")
	for _, n := range []*node{a, late} {
		n.after(time.Second)
		n.want(5, false)
	}

	if err := late.RollBack(t.Context(), "r", "canary"); err != nil {
		t.Fatal(err)
	}
	event("rolled_back")
	a.after(time.Second)
	a.want(0, true)
	server.FlushAll()
	for _, n := range []*node{a, b, late} {
		n.after(time.Second)
	}
	startNode(t, "later", server, noon, judged).want(0, true) // Redis lost it, and was told again
}

func TestWithoutRedisANodeGoesByWhatItKnowsAndTellsLater(t *testing.T) {
	server := miniredis.RunT(t)
	a, b := startNode(t, "a", server, noon, judged), startNode(t, "b", server, noon, judged)
	server.SetError("gone")
	a.requests("canary", 100, 100, 0)
	a.after(2 * time.Second)
	a.want(0, true)
	b.after(2 * time.Second)
	b.want(5, false)
	if err := b.Reset(t.Context(), "r", "canary"); err == nil {
		t.Error("a reset that no other node can know of is none to rely on")
	}
	late := startNode(t, "late", server, noon, judged)
	late.want(5, false)
	server.SetError("")
	b.after(2 * time.Second)
	a.after(2 * time.Second)
	a.want(5, false) // b has reset it meanwhile
	a.requests("canary", 100, 100, 0)
	a.after(time.Second)
	for _, n := range []*node{b, late} {
		n.after(2 * time.Second)
		n.want(0, true)
	}
}

func TestNodesComeToAgreeWhateverHappened(t *testing.T) {
	const text = `releases: [{name: r, variants: [{name: canary, upstream: b, ramp: {linear: {to: 100, over: 1h}}, rollback: {min_requests: 10}}]}]`
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		server := miniredis.RunT(t)
		var nodes []*node
		for _, name := range []string{"a", "b", "c"} {
			nodes = append(nodes, startNode(t, name, server, noon, text))
		}
		for range 60 {
			n := nodes[random.IntN(len(nodes))]
			switch random.IntN(8) {
			case 0:
				_ = n.Reset(t.Context(), "r", "canary") // may not be told to others yet
			case 1:
				_ = n.RollBack(t.Context(), "r", "canary") // and so this
			case 2:
				n.requests("canary", 10, 10, 0)
			case 3:
				server.SetError([]string{"", "gone"}[random.IntN(2)])
			case 4:
				server.FlushAll()
			default:
				n.after(time.Second)
			}
		}
		server.SetError("")
		for _, n := range nodes {
			n.now = noon.Add(time.Hour / 2)
			n.side("canary").forget()
		}
		for range 3 {
			for _, n := range nodes {
				n.step(t.Context())
			}
		}
		first := nodes[0].canary()
		for _, n := range nodes[1:] {
			if c := n.canary(); c.Share != first.Share || (c.RolledBack == nil) != (first.RolledBack == nil) || c.Seen.UnixMilli() != first.Seen.UnixMilli() {
				t.Errorf("seed %d: one node has %+v, another %+v", seed, first, c)
			}
		}
		late := startNode(t, "late", server, noon.Add(time.Hour/2), text)
		if c := late.canary(); c.Share != first.Share || (c.RolledBack == nil) != (first.RolledBack == nil) {
			t.Errorf("seed %d: a node that starts has %+v, the others %+v", seed, c, first)
		}
	}
}

func TestARollbackStaysUntilTheVariantsConfigurationChanges(t *testing.T) {
	n := startNode(t, "a", nil, noon, judged)
	n.requests("canary", 100, 100, 0)
	n.after(time.Second)
	n.want(0, true)
	n.configure(strings.Replace(judged, "name: r,", "name: r, by: ip,", 1))
	n.want(0, true) // another part of it
	n.configure(strings.Replace(judged, "percent: 5", "percent: 4", 1))
	n.want(4, false)
}

const (
	steps  = `releases: [{name: r, variants: [{name: canary, upstream: b, ramp: {steps: [{percent: 5, for: 1h}, {percent: 25, for: 6h}, {percent: 100}]}}]}]`
	linear = `releases: [{name: r, variants: [{name: canary, upstream: b, ramp: {linear: {from: 10, to: 50, over: 10h}, start: "2026-03-01T14:00:00+01:00"}}]}]`
)

// at has the node step once at a time after noon.
func (n *node) at(d time.Duration) {
	n.now = noon.Add(d)
	n.step(context.Background())
}

func TestARampGoesByTheClock(t *testing.T) {
	n := startNode(t, "a", nil, noon, steps)
	n.want(5, false)
	for _, want := range []struct {
		at    time.Duration
		share float64
	}{{time.Hour - 1, 5}, {time.Hour, 25}, {7*time.Hour - 1, 25}, {7 * time.Hour, 100}, {1000 * time.Hour, 100}} {
		n.at(want.at)
		n.want(want.share, false)
	}
	n = startNode(t, "b", nil, noon, linear)
	for _, want := range []struct {
		at    time.Duration
		share float64
	}{{0, 0}, {time.Hour - 1, 0}, {time.Hour, 10}, {2 * time.Hour, 14}, {6 * time.Hour, 30}, {11 * time.Hour, 50}, {1000 * time.Hour, 50}} {
		n.at(want.at)
		n.want(want.share, false)
	}
}

func TestARampThatARestartComesInBetweenGoesOn(t *testing.T) {
	server := miniredis.RunT(t)
	a := startNode(t, "a", server, noon, steps)
	a.after(time.Second)
	startNode(t, "b", server, noon.Add(2*time.Hour), steps).want(25, false)
	// A node whose clock is behind has seen it first.
	early := startNode(t, "c", server, noon.Add(-30*time.Minute), steps)
	early.want(5, false)
	a.at(45 * time.Minute)
	a.want(25, false)
	// What comes back after a configuration without the variant goes on, too.
	a.configure(judged)
	a.configure(steps)
	a.want(25, false)
}

func TestARampWaitsWhileTheVariantDoesWorse(t *testing.T) {
	const text = `releases: [{name: r, variants: [{name: canary, upstream: b, ramp: {linear: {to: 100, over: 100s}}, rollback: {window: 11s, min_requests: 10, action: pause}}]}]`
	server := miniredis.RunT(t)
	a, b := startNode(t, "a", server, noon, text), startNode(t, "b", server, noon, text)
	together(20*time.Second, a, b)
	a.want(20, false)
	a.requests("canary", 5, 5, 0)
	b.requests("canary", 5, 5, 0)
	together(5*time.Second, a, b)
	a.want(20, false) // each has waited, and they have waited at the same time
	b.want(20, false)
	if !a.canary().Paused || !b.canary().Paused {
		t.Error("they do not say that they wait")
	}
	together(20*time.Second, a, b)
	if c := a.canary(); c.Paused || c.Share < 25 || c.Share > 35 {
		t.Errorf("20 seconds after it did worse, in a window of 11: %+v", c)
	}
}

func TestAResetBeginsTheRampAnew(t *testing.T) {
	for name, text := range map[string]string{"first seen": steps, "with a start": strings.Replace(steps, "ramp: {", `ramp: {start: "2026-03-01T12:00:00Z", `, 1)} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, "a", nil, noon, text)
			n.at(8 * time.Hour)
			n.want(100, false)
			if err := n.RollBack(t.Context(), "r", "canary"); err != nil {
				t.Fatal(err)
			}
			n.want(0, true)
			if err := n.Reset(t.Context(), "r", "canary"); err != nil {
				t.Fatal(err)
			}
			n.want(5, false)
			n.at(9 * time.Hour)
			n.want(25, false)
		})
	}
}

func TestOnlyVariantsThatAreThereAreChanged(t *testing.T) {
	n := startNode(t, "a", nil, noon, judged)
	for _, name := range [][2]string{{"r", "stable"}, {"r", "x"}, {"x", "canary"}} {
		if err := n.Reset(t.Context(), name[0], name[1]); err == nil || !strings.HasPrefix(err.Error(), ErrNotFound.Error()) {
			t.Errorf("%v: %v", name, err)
		}
	}
}

func TestWhatIsNoStateInRedisIsWrittenAgain(t *testing.T) {
	server := miniredis.RunT(t)
	a := startNode(t, "a", server, noon, judged)
	key := "cg:release:{r:canary:" + a.side("canary").plan.fingerprint + "}"
	for _, field := range []string{"epoch", "seen:0", "paused:0", "rollback:0"} {
		server.HSet(key, field, "-9223372036854775808{")
	}
	a.after(time.Second)
	a.want(5, false)
	if got := server.HGet(key, "seen:0"); got != "1772366400000" || server.HGet(key, "epoch") != "0" {
		t.Errorf("seen %q", got)
	}
	if left := server.TTL(key); left < 80*24*time.Hour {
		t.Errorf("it is kept for %v", left)
	}
	// A rollback that cannot be read is one that cannot be told, either, until it is reset.
	if err := a.RollBack(t.Context(), "r", "canary"); err != nil {
		t.Fatal(err)
	}
	a.want(0, true)
}

func TestAControllerStepsByItselfUntilItIsClosed(t *testing.T) {
	tel := telemetry.New(config.Log{}, io.Discard)
	defer tel.Close()
	c := NewController(Options{Telemetry: tel})
	defer c.Close()
	s, err := Compile(configOf(t, judged).Releases, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Install(s)
	for range 100 {
		s.Release("r").variants[0].Observe(Failed, 0, false)
	}
	for deadline := time.Now().Add(30 * time.Second); c.List()[0].Variants[1].RolledBack == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not rolled back")
		}
	}
}
