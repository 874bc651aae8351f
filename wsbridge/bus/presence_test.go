package bus_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// told collects what the subscribers of the channel "c" are told of presence.
func told(t *testing.T, client redis.UniversalClient) func() []string {
	t.Helper()
	subscribe, publish := client.Subscribe, client.Publish
	if _, ok := client.(*redis.ClusterClient); ok {
		subscribe, publish = client.SSubscribe, client.SPublish
	}
	pubsub := subscribe(t.Context(), keys.Channel("c"))
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pubsub.Close() })
	return func() []string {
		t.Helper()
		if err := publish(t.Context(), keys.Channel("c"), "end").Err(); err != nil {
			t.Fatal(err)
		}
		all := []string{}
		for {
			m, err := pubsub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Payload == "end" {
				return all
			}
			joined, who, ok := bus.ParsePresence([]byte(m.Payload))
			if !ok {
				t.Fatalf("subscribers got %q", m.Payload)
			}
			sign := "-"
			if joined {
				sign = "+"
			}
			all = append(all, sign+who.Connection)
		}
	}
}

func join(connection, node, events, user, epoch string) bus.PresenceChange {
	return bus.PresenceChange{Change: bus.Join, Connection: connection, Epoch: epoch, Entry: bus.AppendPresence(nil, node, events, user, nil)}
}

func leave(connection string) bus.PresenceChange {
	return bus.PresenceChange{Change: bus.Leave, Connection: connection}
}

func TestPresence(t *testing.T) {
	for kind, start := range everyKind(t) {
		t.Run(kind, func(t *testing.T) {
			t.Run("changes", func(t *testing.T) { testChanges(t, start) })
			t.Run("pages", func(t *testing.T) { testPages(t, start) })
			t.Run("nodes", func(t *testing.T) { testNodes(t, start) })
		})
	}
}

// testChanges says what each change does.
func testChanges(t *testing.T, start func(*testing.T) redis.UniversalClient) {
	const none = ""
	odd := `a","info":"` + "\"\\\x01é</"
	type step struct {
		name    string
		node    string
		changes []bus.PresenceChange
		told    []string
		// connections and users that are there then
		connections, users int64
	}
	for _, events := range []struct {
		name  string
		steps []step
	}{
		{"connections", []step{
			{"one joins", "n", []bus.PresenceChange{join("1", "n", "connections", "ann", none)}, []string{"+1"}, 1, 1},
			{"it is told once", "n", []bus.PresenceChange{join("1", "n", "connections", "ann", none)}, []string{}, 1, 1},
			{"others join", "m", []bus.PresenceChange{join("2", "m", "connections", "ann", none), join("3", "m", "connections", odd, none), join("4", "m", "connections", "", none)},
				[]string{"+2", "+3", "+4"}, 4, 2},
			{"one moves to another node", "m", []bus.PresenceChange{join("1", "m", "connections", "ann", none)}, []string{}, 4, 2},
			{"who has left its node is not swept with it", "n", []bus.PresenceChange{{Change: bus.Sweep, Connection: "1"}}, []string{}, 4, 2},
			{"they leave", "m", []bus.PresenceChange{leave("1"), leave("3"), leave("3"), leave("5")}, []string{"-1", "-3"}, 2, 1},
			{"all leave", "m", []bus.PresenceChange{leave("2"), leave("4")}, []string{"-2", "-4"}, 0, 0},
		}},
		{"users", []step{
			{"a user's first connection, and more", "n", []bus.PresenceChange{join("1", "n", "users", "ann", none), join("2", "n", "users", "ann", none), join("3", "n", "users", odd, none)},
				[]string{"+1", "+3"}, 3, 2},
			{"each of nobody's", "n", []bus.PresenceChange{join("4", "n", "users", "", none), join("5", "n", "users", "", none)}, []string{"+4", "+5"}, 5, 2},
			{"one of a user's leaves", "n", []bus.PresenceChange{leave("1")}, []string{}, 4, 2},
			{"and the last", "n", []bus.PresenceChange{leave("2"), leave("3"), leave("4"), leave("5")}, []string{"-2", "-3", "-4", "-5"}, 0, 0},
		}},
		{"nothing", []step{
			{"nobody is told", "n", []bus.PresenceChange{join("1", "n", "", "ann", none), join("2", "n", "", "", none)}, []string{}, 2, 1},
			{"nor when they leave", "n", []bus.PresenceChange{leave("1"), leave("2")}, []string{}, 0, 0},
		}},
		{"after Redis has forgotten", []step{
			{"who was told of before comes silently, who was not does not", "n",
				[]bus.PresenceChange{join("1", "n", "connections", "ann", "another epoch"), join("2", "n", "connections", "ann", none)}, []string{"+2"}, 2, 1},
		}},
	} {
		t.Run(events.name, func(t *testing.T) {
			client := start(t)
			s := bus.One(client)
			heard := told(t, client)
			epoch := ""
			for _, step := range events.steps {
				got, _, err := s.ChangePresence(t.Context(), keys, "c", step.node, step.changes)
				if err != nil || epoch != "" && got != epoch {
					t.Fatalf("%s: epoch %s after %s, %v", step.name, got, epoch, err)
				}
				epoch = got
				p, err := s.ReadPresence(t.Context(), keys, "c", "", 100, 1<<20)
				if err != nil || p.Connections != step.connections || p.Users != step.users || int64(len(p.Members)) != p.Connections || p.Next != "" {
					t.Fatalf("%s: %+v %v", step.name, p, err)
				}
				if all := heard(); !slices.Equal(all, step.told) {
					t.Fatalf("%s: told %v, want %v", step.name, all, step.told)
				}
			}
		})
	}
}

func testPages(t *testing.T, start func(*testing.T) redis.UniversalClient) {
	s := bus.One(start(t))
	const all = 250
	info := json.RawMessage(`{"name":"` + strings.Repeat("x", 100) + `"}`)
	for i := range all {
		node := fmt.Sprint("node-", i%3)
		if _, _, err := s.ChangePresence(t.Context(), keys, "c", node, []bus.PresenceChange{{Change: bus.Join, Connection: fmt.Sprint(i),
			Entry: bus.AppendPresence(nil, node, "", fmt.Sprint("user ", i/2), info)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []struct{ limit, bytes, most int }{{100, 1 << 20, 100}, {1000, 2000, 14}, {1, 1, 1}, {1000, 1 << 20, all}} {
		seen, after := map[string]bool{}, ""
		for {
			p, err := s.ReadPresence(t.Context(), keys, "c", after, page.limit, page.bytes)
			if err != nil || p.Connections != all || p.Users != all/2 || len(p.Members) > page.most || len(p.Members) == 0 {
				t.Fatalf("%d members of %d and %d, %v", len(p.Members), p.Connections, p.Users, err)
			}
			for _, m := range p.Members {
				if seen[m.Connection] || !strings.HasPrefix(m.User, "user ") || string(m.Info) != string(info) {
					t.Fatalf("%+v comes twice, or is not as it was", m)
				}
				seen[m.Connection] = true
			}
			if after = p.Next; after == "" {
				break
			}
		}
		if len(seen) != all {
			t.Errorf("pages of %+v have %d of %d", page, len(seen), all)
		}
	}
	if p, err := s.ReadPresence(t.Context(), keys, "c", "", 0, 0); err != nil || p.Connections != all || len(p.Members) != 0 || p.Next != "" {
		t.Errorf("counting returns %+v %v", p, err)
	}
	if n, err := s.SweepPresence(t.Context(), keys, "node-1", "c"); err != nil || n != 83 {
		t.Errorf("%d are swept, %v", n, err)
	}
}

// TestALeaveIsToldOnceHoweverManySweep has eight sweep the same node at a time.
func TestALeaveIsToldOnceHoweverManySweep(t *testing.T) {
	client := redistest.Start(t).Client()
	s := bus.One(client)
	const all = 1000
	changes := make([]bus.PresenceChange, all)
	for i := range changes {
		changes[i] = join(fmt.Sprint(i), "dead", "connections", "ann", "")
	}
	changes = append(changes, join("alive", "live", "connections", "ann", ""))
	if _, _, err := s.ChangePresence(t.Context(), keys, "c", "dead", changes[:all]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.ChangePresence(t.Context(), keys, "c", "live", changes[all:]); err != nil {
		t.Fatal(err)
	}
	heard := told(t, client)
	var sweepers sync.WaitGroup
	var mu sync.Mutex
	swept := int64(0)
	for range 8 {
		sweepers.Go(func() {
			n, err := s.SweepPresence(t.Context(), keys, "dead", "c")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			swept += n
		})
	}
	sweepers.Wait()
	got := heard()
	slices.Sort(got)
	if swept != all || len(got) != all || len(slices.Compact(got)) != all {
		t.Errorf("%d are swept, and %d leaves are told", swept, len(got))
	}
	if p, err := s.ReadPresence(t.Context(), keys, "c", "", 10, 1000); err != nil || p.Connections != 1 || p.Users != 1 || p.Members[0].Connection != "alive" {
		t.Errorf("left are %+v %v", p, err)
	}
}

func testNodes(t *testing.T, start func(*testing.T) redis.UniversalClient) {
	client := start(t)
	s := bus.One(client)
	beat := func(b bus.Beat) (bool, []bus.GoneNode) {
		t.Helper()
		if b.Patience == 0 {
			b.Patience = 10 * time.Minute
		}
		b.Lease = time.Minute
		lives, gone, err := s.BeatPresence(t.Context(), keys, b)
		if err != nil {
			t.Fatal(err)
		}
		return lives, gone
	}
	if lives, _ := beat(bus.Beat{Node: "a"}); lives {
		t.Error("a node lives that nobody knows")
	}
	for _, node := range []string{"a", "b", "c"} {
		if lives, _ := beat(bus.Beat{Node: node, First: true}); !lives {
			t.Error("a node does not live that has just begun")
		}
	}
	// As if a had not been heard of for an hour.
	if err := client.ZIncrBy(t.Context(), "cg:presence:nodes:{cg:presence}", -float64(time.Hour.Milliseconds()), "a").Err(); err != nil {
		t.Fatal(err)
	}
	_, gone := beat(bus.Beat{Node: "b", Sweep: true})
	if len(gone) != 1 || gone[0].Name != "a" || gone[0].Silent < time.Hour || gone[0].Silent > 70*time.Minute {
		t.Fatalf("gone are %+v", gone)
	}
	if _, gone := beat(bus.Beat{Node: "c", Sweep: true, Patience: time.Hour}); len(gone) > 0 {
		t.Error("two sweep at a time")
	}
	if lives, _ := beat(bus.Beat{Node: "a"}); lives {
		t.Error("a node lives that others have taken for gone")
	}
	if lives, _ := beat(bus.Beat{Node: "a2", Former: "c", First: true}); !lives {
		t.Error("a node does not live by its new name")
	}
	if lives, _ := beat(bus.Beat{Node: "c"}); lives {
		t.Error("a node lives by its old name")
	}

	for channel, ttl := range map[string]time.Duration{"soon": time.Second, "late": time.Hour} {
		if err := s.HoldPresence(t.Context(), keys, "a", channel, ttl); err != nil {
			t.Fatal(err)
		}
	}
	if held, err := s.HeldPresence(t.Context(), keys, "a", time.Minute, 10); err != nil || !slices.Equal(held, []string{"soon"}) {
		t.Errorf("held are %v, %v", held, err)
	}
	forgotten := func() bool {
		t.Helper()
		if err := s.ForgetPresence(t.Context(), keys, "a"); err != nil {
			t.Fatal(err)
		}
		_, gone := beat(bus.Beat{Node: "b", Sweep: true, Patience: time.Hour})
		return !slices.ContainsFunc(gone, func(g bus.GoneNode) bool { return g.Name == "a" })
	}
	if forgotten() {
		t.Error("a node is forgotten that may have somebody somewhere")
	}
	if err := s.DropPresence(t.Context(), keys, "a", "soon", "late"); err != nil || !forgotten() {
		t.Errorf("a node is not forgotten, %v", err)
	}
}
