package bus_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

var (
	keys = bus.Keys{Prefix: "cg:"}
	ten  = bus.History{Size: 10, TTL: time.Minute}
)

// keep publishes numbers to the channel "c".
func keep(t *testing.T, s *bus.Servers, h bus.History, from, to int) (last bus.Position) {
	t.Helper()
	for i := from; i <= to; i++ {
		p, err := s.PublishKept(t.Context(), keys, "c", []byte(strconv.Itoa(i)), h, "")
		if err != nil {
			t.Fatal(err)
		}
		if last.Epoch != "" && (p.Epoch != last.Epoch || p.Offset != last.Offset+1) {
			t.Fatalf("message %d is at %v after %v", i, p, last)
		}
		last = p
	}
	return last
}

// read reads all that the channel "c" has since a position, and wants these messages.
func read(t *testing.T, s *bus.Servers, since bus.Position, whole bool, messages ...int) bus.Page {
	t.Helper()
	page, err := s.ReadHistory(t.Context(), keys, "c", since, ten.TTL)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for i, m := range page.Messages {
		got = append(got, string(m.Payload))
		if i > 0 && m.Previous != page.Messages[i-1].Offset {
			t.Errorf("message %s says that %d is before it, and %d is", m.Payload, m.Previous, page.Messages[i-1].Offset)
		}
	}
	want := []string{}
	for _, m := range messages {
		want = append(want, strconv.Itoa(m))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || page.Whole != whole {
		t.Fatalf("since %v there is %v, whole %v; want %v, whole %v", since, got, page.Whole, want, whole)
	}
	return page
}

// everyKind returns what starts an empty server of each kind that the scripts run on.
func everyKind(t *testing.T) map[string]func(*testing.T) redis.UniversalClient {
	cluster := redistest.StartCluster(t)
	return map[string]func(*testing.T) redis.UniversalClient{
		"redis-server": func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client() },
		"miniredis": func(t *testing.T) redis.UniversalClient {
			client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			t.Cleanup(func() { client.Close() })
			return client
		},
		"cluster": func(t *testing.T) redis.UniversalClient {
			for _, master := range cluster.Masters {
				master.Client().FlushAll(t.Context())
			}
			return cluster.Client()
		},
	}
}

func TestHistory(t *testing.T) {
	for name, start := range everyKind(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("a channel that nobody has published to has an epoch", func(t *testing.T) {
				s := bus.One(start(t))
				first := read(t, s, bus.Position{}, false)
				if first.Epoch == "" || first.Offset != 0 {
					t.Fatalf("the position is %v", first.Position)
				}
				if p := keep(t, s, ten, 1, 1); p.Epoch != first.Epoch || p.Offset != 1 {
					t.Fatalf("the first message is at %v, and the channel was at %v", p, first.Position)
				}
				read(t, s, first.Position, true, 1)
			})
			t.Run("what is kept is read from an offset on", func(t *testing.T) {
				s := bus.One(start(t))
				last := keep(t, s, ten, 1, 5)
				read(t, s, bus.Position{Epoch: last.Epoch}, true, 1, 2, 3, 4, 5)
				read(t, s, bus.Position{Epoch: last.Epoch, Offset: 3}, true, 4, 5)
				read(t, s, last, true)
			})
			t.Run("the oldest go when there are too many, and who wants them is told", func(t *testing.T) {
				s := bus.One(start(t))
				last := keep(t, s, ten, 1, 25)
				read(t, s, bus.Position{Epoch: last.Epoch, Offset: 15}, true, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
				read(t, s, bus.Position{Epoch: last.Epoch, Offset: 14}, false, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)
			})
			t.Run("another epoch has nothing in common with this one", func(t *testing.T) {
				s := bus.One(start(t))
				last := keep(t, s, ten, 1, 3)
				page := read(t, s, bus.Position{Epoch: "1-2", Offset: 1}, false)
				if page.Position != last {
					t.Errorf("the position is %v, want %v", page.Position, last)
				}
			})
			t.Run("a channel whose position Redis has evicted begins an epoch and goes on", func(t *testing.T) {
				client := start(t)
				s := bus.One(client)
				before := keep(t, s, ten, 1, 3)
				client.Del(t.Context(), keys.Position("c"))
				after := keep(t, s, ten, 4, 5)
				if after.Epoch == before.Epoch {
					t.Error("it is the same epoch")
				}
				read(t, s, bus.Position{Epoch: after.Epoch}, true, 4, 5)
				client.Del(t.Context(), keys.Position("c"))
				empty := read(t, s, bus.Position{}, false)
				keep(t, s, ten, 6, 6)
				read(t, s, empty.Position, true, 6)
			})
			t.Run("what has expired is gone, and the offsets go on", func(t *testing.T) {
				client := start(t)
				s := bus.One(client)
				last := keep(t, s, ten, 1, 3)
				if ttl := client.PTTL(t.Context(), keys.History("c")).Val(); ttl <= 0 || ttl > ten.TTL {
					t.Errorf("history expires in %v", ttl)
				}
				if ttl := client.PTTL(t.Context(), keys.Position("c")).Val(); ttl <= ten.TTL {
					t.Errorf("the position expires in %v", ttl)
				}
				client.Del(t.Context(), keys.History("c"))
				read(t, s, bus.Position{Epoch: last.Epoch, Offset: 2}, false)
				read(t, s, last, true)
				keep(t, s, ten, 4, 4)
				read(t, s, last, true, 4)
				read(t, s, bus.Position{Epoch: last.Epoch, Offset: 2}, false, 4)
			})
			t.Run("a message of a busy channel does not outlive its time", func(t *testing.T) {
				client := start(t)
				s := bus.One(client)
				last := keep(t, s, ten, 1, 1)
				client.XAdd(t.Context(), &redis.XAddArgs{Stream: keys.History("old"), ID: "1-1000", Values: []string{"m", "x", "p", "0"}})
				client.HSet(t.Context(), keys.Position("old"), "epoch", last.Epoch, "offset", "1")
				page, err := s.ReadHistory(t.Context(), keys, "old", bus.Position{Epoch: last.Epoch}, ten.TTL)
				if err != nil || len(page.Messages) != 0 || page.Whole {
					t.Errorf("a message of 1970 is read: %+v, %v", page, err)
				}
			})
			t.Run("much is read in parts", func(t *testing.T) {
				s := bus.One(start(t))
				payload := make([]byte, 50_000)
				h := bus.History{Size: 100, TTL: time.Minute}
				for range 30 {
					if _, err := s.PublishKept(t.Context(), keys, "c", payload, h, ""); err != nil {
						t.Fatal(err)
					}
				}
				at, parts := read(t, s, bus.Position{}, false).Position, 0
				for at.Offset = 0; ; parts++ {
					page, err := s.ReadHistory(t.Context(), keys, "c", at, h.TTL)
					if err != nil || !page.Whole || len(page.Messages) > 10 {
						t.Fatalf("%d messages, whole %v, %v", len(page.Messages), page.Whole, err)
					}
					at.Offset += uint64(len(page.Messages))
					if !page.More {
						break
					}
				}
				if at.Offset != 30 || parts < 2 {
					t.Errorf("%d messages came in %d parts", at.Offset, parts)
				}
			})
			t.Run("what is published with an id is published once", func(t *testing.T) {
				s := bus.One(start(t))
				box := new(inbox)
				b := bus.NewRedis(s, box)
				defer b.Close()
				if err := b.Subscribe(t.Context(), keys.Channel("c")); err != nil {
					t.Fatal(err)
				}
				first, err := s.PublishKept(t.Context(), keys, "c", []byte("1"), ten, "a")
				if err != nil {
					t.Fatal(err)
				}
				if again, err := s.PublishKept(t.Context(), keys, "c", []byte("1"), ten, "a"); again != first || err != nil {
					t.Errorf("the second time it is at %v, %v; the first time it was at %v", again, err, first)
				}
				if _, err := s.PublishKept(t.Context(), keys, "c", []byte("2"), ten, "b"); err != nil {
					t.Fatal(err)
				}
				redistest.Eventually(t, "both come", func() bool { return len(box.received()) == 2 })
				for i, m := range box.received() {
					kept, ok := bus.ParseKept([]byte(strings.TrimPrefix(m, keys.Channel("c")+"=")))
					if want := strconv.Itoa(i + 1); !ok || string(kept.Payload) != want || kept.Epoch != first.Epoch {
						t.Errorf("subscribers get %q, want message %s", m, want)
					}
				}
			})
		})
	}
}

func TestAPromotedReplicaGivesNoOffsetTwice(t *testing.T) {
	master, replica := redistest.Start(t), redistest.Start(t)
	s, promoted := bus.One(master.Client()), replica.Client()
	last := keep(t, s, ten, 1, 3)
	replica.Follow(master)
	redistest.Eventually(t, "the replica has it all", func() bool { return promoted.XLen(t.Context(), keys.History("c")).Val() == 3 })
	replica.Promote()
	seen := keep(t, s, ten, 40, 41) // which the replica has not
	s = bus.One(promoted)

	next := keep(t, s, ten, 4, 5)
	if next.Epoch != last.Epoch || next.Offset-1 <= seen.Offset {
		t.Fatalf("the promoted server is at %v, the one before got as far as %v", next, seen)
	}
	read(t, s, bus.Position{Epoch: last.Epoch, Offset: 2}, true, 3, 4, 5)
	read(t, s, seen, true, 4, 5)
}

func TestOnlyWhatTheScriptPublishesIsTakenForIt(t *testing.T) {
	m, ok := bus.ParseKept([]byte("\xC1m17-3 12 11 {\"a\": 1}"))
	if !ok || m.Epoch != "17-3" || m.Offset != 12 || m.Previous != 11 || string(m.Payload) != `{"a": 1}` {
		t.Errorf("read as %+v, %v", m, ok)
	}
	for _, payload := range []string{"", "\xC1", "\xC1m", "\xC1m1 2", "\xC1m1 2 1", "\xC1m 2 1 x", "\xC1m1 2 2 x", "\xC1m1 -2 1 x", "\xC1m1 x 1 x", `{"m":1}`} {
		if _, ok := bus.ParseKept([]byte(payload)); ok {
			t.Errorf("%q is taken for what the script publishes", payload)
		}
	}
}
