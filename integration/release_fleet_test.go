package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/rig"
)

// canaryStatus is what a node's admin API says of the canary of a release.
type canaryStatus struct {
	Requests      int `json:",string"`
	Nodes         int
	SharePercent  float64
	FirstSeenTime string
	Rollback      *struct{ Reason, Detail, Node string }
}

func canaryOn(t testing.TB, g *rig.Gateway, release string) canaryStatus {
	t.Helper()
	_, text := ask(t, "GET", g.Admin+"/v1/releases", "")
	var list struct {
		Releases []struct {
			Variants []struct {
				Name string
				canaryStatus
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, r := range list.Releases {
		for _, v := range r.Variants {
			if v.Name == "releases/"+release+"/variants/canary" {
				return v.canaryStatus
			}
		}
	}
	t.Fatalf("no release %s: %s", release, text)
	return canaryStatus{}
}

// fail has a node's canary fail so many requests to a path.
func fail(t testing.TB, g *rig.Gateway, path string, times int) {
	t.Helper()
	for range times {
		if answer, _ := ask(t, "GET", g.URL+path, "", "X-Beta", "1", "X-Fail", "1"); answer.StatusCode != 503 {
			t.Fatalf("the canary answers %d", answer.StatusCode)
		}
	}
}

// TestNodesRollBackTogetherWhatNoneOfThemCouldJudgeAlone has three nodes on one Redis, which each have too few requests. Then Redis
// is killed, and a node that has enough by itself goes on; what it decides the others are told when Redis is back.
func TestNodesRollBackTogetherWhatNoneOfThemCouldJudgeAlone(t *testing.T) {
	server := rig.StartRedis(t)
	s := startSides(t)
	var nodes []*rig.Gateway
	for range 3 {
		nodes = append(nodes, s.gateway(t, `by: ip`, `cohorts: [{header: X-Beta}], rollback: {min_requests: 50}`, fmt.Sprintf(`redis: {url: %s}`, server.URL())))
	}
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	events := client.Subscribe(soon(t), "cg:release:events")
	defer events.Close()
	if _, err := events.Receive(soon(t)); err != nil {
		t.Fatal(err)
	}
	everywhere := func(what string, holds func(canaryStatus) bool) {
		t.Helper()
		for _, g := range nodes {
			within(t, what, func() bool { return holds(canaryOn(t, g, "http")) })
		}
	}
	const reported, told = `"a variant is rolled back"`, `"a variant is rolled back by another node"`
	said := func(what string) (n int) {
		for _, g := range nodes {
			n += strings.Count(g.Log(), what)
		}
		return n
	}

	fail(t, nodes[0], "/http/x", 24)
	fail(t, nodes[1], "/http/x", 25)
	everywhere("every node knows of 49", func(c canaryStatus) bool { return c.Requests == 49 && c.Nodes == 3 })
	everywhere("and does not judge by those", func(c canaryStatus) bool { return c.Rollback == nil })
	fail(t, nodes[2], "/http/x", 1)
	everywhere("it is rolled back", func(c canaryStatus) bool {
		return c.Rollback != nil && c.Rollback.Reason == "errors" && strings.HasPrefix(c.Rollback.Detail, "100 % of 50 requests failed")
	})
	everywhere("all of them know the same", func(c canaryStatus) bool { return c.Rollback.Node == canaryOn(t, nodes[0], "http").Rollback.Node })
	for _, g := range nodes {
		if answer, _ := ask(t, "GET", g.URL+"/http/x", "", "X-Beta", "1"); answer.StatusCode != 200 {
			t.Errorf("callers of the canary are answered %d", answer.StatusCode)
		}
	}
	within(t, "each node has said it", func() bool { return said(reported)+said(told) == 3 })
	if said(reported) != 1 {
		t.Errorf("%d nodes say that they have decided it", said(reported))
	}
	counted := 0
	for _, g := range nodes {
		_, text := ask(t, "GET", g.Admin+"/metrics", "")
		counted += strings.Count(text, `crossgate_release_rollbacks_total{reason="errors",release="http",variant="canary"} 1`)
		if !strings.Contains(text, `crossgate_release_rolled_back{release="http",variant="canary"} 1`) || !strings.Contains(text, `crossgate_release_nodes{release="http",variant="canary"} 3`) {
			t.Error("a node's metrics do not say that it is rolled back")
		}
	}
	if counted != 1 {
		t.Errorf("the metrics count %d rollbacks", counted)
	}
	if m, err := events.ReceiveMessage(soon(t)); err != nil || !strings.Contains(m.Payload, `"type":"rolled_back"`) {
		t.Errorf("the event is %v, %v", m, err)
	}

	if answer, text := ask(t, "POST", nodes[1].Admin+"/v1/releases/http/variants/canary:reset", ""); answer.StatusCode != 200 {
		t.Fatal(text)
	}
	if m, err := events.ReceiveMessage(soon(t)); err != nil || !strings.Contains(m.Payload, `"type":"reset"`) {
		t.Errorf("after one rollback and one reset there comes %v, %v", m, err)
	}
	everywhere("it is reset", func(c canaryStatus) bool { return c.Rollback == nil && c.Requests == 0 })
	server.Kill()
	fail(t, nodes[0], "/http/x", 20)
	fail(t, nodes[1], "/http/x", 50)
	within(t, "who has enough rolls back", func() bool { return canaryOn(t, nodes[1], "http").Rollback != nil })
	if c := canaryOn(t, nodes[0], "http"); c.Rollback != nil || c.Nodes != 0 || c.Requests > 20 {
		t.Errorf("a node that has seen 20 requests says %+v", c)
	}
	server.Restart()
	everywhere("the others are told", func(c canaryStatus) bool { return c.Rollback != nil })
	everywhere("who decided it", func(c canaryStatus) bool { return c.Rollback.Node == canaryOn(t, nodes[1], "http").Rollback.Node })
	if said(reported) != 2 {
		t.Errorf("%d times nodes say that they have decided it", said(reported))
	}
}

// TestReleasesOnARedisCluster has a release whose keys are on a master that is killed, and one whose are not.
func TestReleasesOnARedisCluster(t *testing.T) {
	cluster := rig.StartRedisCluster(t)
	s := startSides(t)
	names := strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu") // of slots far apart
	text := fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
redis: {url: %q}
upstreams:
  - {name: stable, protocol: http, endpoints: [%q]}
  - {name: canary, protocol: http, endpoints: [%q]}
routes:
`, cluster.URL(), s.stableHTTP, s.canaryHTTP)
	for _, name := range names {
		text += fmt.Sprintf("  - {name: %s, release: %[1]s, match: {path_prefix: /%[1]s/}, http: {upstream: stable}}\n", name)
	}
	text += "releases:\n"
	for _, name := range names {
		text += fmt.Sprintf(`  - name: %s
    by: ip
    variants: [{name: canary, upstream: canary, cohorts: [{header: X-Beta}], ramp: {linear: {to: 100, over: 1000d}}, rollback: {min_requests: 30}}]
`, name)
	}
	one, two := rig.StartGateway(t, text), rig.StartGateway(t, text)

	// Which master has which release.
	on := [3][]string{}
	within(t, "the masters have the keys", func() bool {
		on = [3][]string{}
		for i, m := range cluster.Masters {
			client := redis.NewClient(&redis.Options{Addr: m.Address})
			for _, key := range client.Keys(context.Background(), "cg:release:*:counts:0").Val() {
				_, rest, _ := strings.Cut(key, "{")
				name, _, _ := strings.Cut(rest, ":")
				on[i] = append(on[i], name)
				if state, _, _ := strings.Cut(key, ":counts:"); client.Exists(context.Background(), state).Val() != 1 {
					t.Errorf("%s is not where its counts are", state)
				}
			}
			client.Close()
		}
		return len(on[0])+len(on[1])+len(on[2]) == len(names)
	})
	dies := 0
	for i := range on {
		if len(on[i]) > len(on[dies]) {
			dies = i
		}
	}
	lost, kept := on[dies][0], on[(dies+1)%3]
	if len(kept) == 0 {
		kept = on[(dies+2)%3]
	}
	if len(kept) == 0 || len(on[dies]) < 2 {
		t.Fatalf("the releases are on the masters so: %v", on)
	}
	together, stays := on[dies][1], kept[0]
	rolledBack := func(g *rig.Gateway, release, detail string) {
		t.Helper()
		within(t, release+" is rolled back", func() bool {
			b := canaryOn(t, g, release).Rollback
			return b != nil && strings.HasPrefix(b.Detail, detail)
		})
	}
	fail(t, one, "/"+together+"/x", 10)
	fail(t, two, "/"+together+"/x", 20)
	rolledBack(one, together, "100 % of 30")
	rolledBack(two, together, "100 % of 30")
	for _, name := range names {
		if a, b := canaryOn(t, one, name).FirstSeenTime, canaryOn(t, two, name).FirstSeenTime; a != b {
			t.Errorf("the ramp of %s began at %s on one node, and at %s on another", name, a, b)
		}
	}

	cluster.Masters[dies].Kill()
	fail(t, one, "/"+stays+"/x", 10)
	fail(t, two, "/"+stays+"/x", 20)
	rolledBack(one, stays, "100 % of 30")
	rolledBack(two, stays, "100 % of 30")
	fail(t, one, "/"+lost+"/x", 10)
	fail(t, two, "/"+lost+"/x", 30)
	rolledBack(two, lost, "100 % of 30")
	if c := canaryOn(t, one, lost); c.Rollback != nil || c.Nodes != 0 {
		t.Errorf("a node that has seen 10 requests says %+v", c)
	}
	if canaryOn(t, one, together).Rollback == nil {
		t.Error("a rollback is forgotten whose master is gone")
	}
	// A node that starts now is told of what the masters have that are there.
	late := rig.StartGateway(t, text)
	if canaryOn(t, late, stays).Rollback == nil {
		t.Error("a node that starts later does not know of a rollback")
	}
}
