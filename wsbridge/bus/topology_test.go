package bus_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// openServers starts a bus on servers and subscribes to c0, c1 and so on.
func openServers(t *testing.T, servers *bus.Servers, channels int) (*bus.Redis, *inbox) {
	t.Helper()
	box := new(inbox)
	b := bus.NewRedis(servers, box)
	t.Cleanup(b.Close)
	var all sync.WaitGroup
	for i := range channels {
		all.Go(func() {
			if err := b.Subscribe(t.Context(), "c"+strconv.Itoa(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	redistest.Eventually(t, "the bus is up", box.up)
	return b, box
}

// standing returns how many of c0, c1 and so on have exactly one subscription and get what is published.
func standing(t *testing.T, b *bus.Redis, channels int) (n int) {
	t.Helper()
	for i := range channels {
		if got, err := b.Publish(t.Context(), "c"+strconv.Itoa(i), []byte("x")); got == 1 && err == nil {
			n++
		}
	}
	return n
}

func TestASlotThatMovesTakesItsSubscriptionsAlong(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	b, box := openServers(t, bus.One(cluster.Client()), 50)
	const moving = "c7"
	cluster.Move(moving)
	redistest.Eventually(t, "the subscription stands again", func() bool {
		n, err := b.Publish(t.Context(), moving, []byte("after"))
		return n == 1 && err == nil
	})
	redistest.Eventually(t, "the bus is up and all subscriptions stand", func() bool { return box.up() && standing(t, b, 50) == 50 })
	if !b.Standing(moving).Load() {
		t.Error("it is not known that the subscription stands")
	}
}

func TestAMasterOfAClusterThatDiesTakesNoSubscriptionAlong(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	const channels = 60
	b, box := openServers(t, bus.One(cluster.Client()), channels)
	killed := cluster.MasterOf("c0")
	theirs := 0
	for i := range channels {
		if cluster.MasterOf("c"+strconv.Itoa(i)) == killed {
			theirs++
		}
	}
	cluster.Masters[killed].Kill()
	began := time.Now()
	redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
	if n := standing(t, b, channels); n < channels-theirs {
		t.Errorf("%d subscriptions stand, want the %d of the other masters", n, channels-theirs)
	}
	redistest.Eventually(t, "the bus is up again and all subscriptions stand", func() bool { return box.up() && standing(t, b, channels) == channels })
	t.Logf("the %d subscriptions of the master that died were back after %v", theirs, time.Since(began).Round(time.Millisecond))
	for i := range channels {
		if n := box.count("c" + strconv.Itoa(i)); n < 2 && cluster.MasterOf("c"+strconv.Itoa(i)) == killed {
			t.Errorf("c%d was subscribed to %d times, want again after the failover", i, n)
		}
	}
}

func TestSentinelsLeadToTheMasterThereIs(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Start(t), redistest.Start(t)
	replica.Follow(master)
	sentinel := redistest.StartSentinel(t, "main", master)
	servers, err := bus.Open("redis+sentinel://" + sentinel.Address + "/0?master_name=main")
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	b, box := openServers(t, servers, 20)
	last := keep(t, servers, ten, 1, 3)
	redistest.Eventually(t, "the replica has it all", func() bool { return replica.Client().XLen(t.Context(), keys.History("c")).Val() == 3 })
	sentinel.WaitForReplica("main")
	master.Kill()
	began := time.Now()
	redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
	redistest.Eventually(t, "the bus is up again", func() bool { return box.up() && standing(t, b, 20) == 20 })
	t.Logf("the bus was back after %v", time.Since(began).Round(time.Millisecond))
	var next bus.Position
	redistest.Eventually(t, "the history goes on", func() bool {
		next, err = servers.PublishKept(t.Context(), keys, "c", []byte("4"), ten, "four")
		return err == nil
	})
	if next.Epoch != last.Epoch {
		t.Errorf("the epoch is %s after the failover, it was %s", next.Epoch, last.Epoch)
	}
	read(t, servers, bus.Position{Epoch: last.Epoch, Offset: 1}, true, 2, 3, 4)
}

func TestSeveralServersShareTheChannels(t *testing.T) {
	t.Parallel()
	list := []*redistest.Server{redistest.Start(t), redistest.Start(t), redistest.Start(t)}
	url := func(s *redistest.Server) string { return "redis://" + s.Address }
	servers, err := bus.Open(url(list[0]), url(list[1]), url(list[2]))
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	const channels = 300
	b, box := openServers(t, servers, channels)
	has := func(s *redistest.Server) map[string]bool {
		names := map[string]bool{}
		for _, c := range s.Client().PubSubChannels(t.Context(), "c*").Val() {
			names[c] = true
		}
		return names
	}
	total := 0
	for i, s := range list {
		n := len(has(s))
		if total += n; n < channels/6 {
			t.Errorf("server %d has %d of %d channels", i, n, channels)
		}
	}
	if total != channels || standing(t, b, channels) != channels {
		t.Errorf("the servers have %d channels of %d, %d stand", total, channels, standing(t, b, channels))
	}

	t.Run("a service that lists them in another order sends to the same", func(t *testing.T) {
		other, err := bus.Open(url(list[2]), url(list[0]), url(list[1]))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for i := range channels {
			if n, err := other.Publish(t.Context(), "c"+strconv.Itoa(i), nil); n != 1 {
				t.Fatalf("c%d has %d subscribers, %v", i, n, err)
			}
		}
	})
	t.Run("one server less moves only its own channels", func(t *testing.T) {
		gone := has(list[1])
		fewer, err := bus.Open(url(list[0]), url(list[2]))
		if err != nil {
			t.Fatal(err)
		}
		defer fewer.Close()
		for i := range channels {
			name := "c" + strconv.Itoa(i)
			if n, _ := fewer.Publish(t.Context(), name, nil); (n == 1) == gone[name] {
				t.Fatalf("%s has %d subscribers where it is now, and was of the server that is gone: %v", name, n, gone[name])
			}
		}
	})
	t.Run("one that dies takes only its own channels along", func(t *testing.T) {
		dead := has(list[0])
		list[0].Kill()
		redistest.Eventually(t, "the bus is down", func() bool { return !box.up() })
		for i := range channels {
			name := "c" + strconv.Itoa(i)
			if n, err := b.Publish(t.Context(), name, nil); dead[name] != errors.Is(err, bus.ErrDown) || !dead[name] && n != 1 {
				t.Fatalf("%s, of the server that died: %v, has %d subscribers, %v", name, dead[name], n, err)
			}
			if b.Standing(name).Load() == dead[name] {
				t.Fatalf("%s is said to stand: %v", name, !dead[name])
			}
		}
		list[0].Restart()
		redistest.Eventually(t, "the bus is up again", box.up)
		redistest.Eventually(t, "all is as before", func() bool { return standing(t, b, channels) == channels })
	})
}

func TestCredentialsAreTheURLs(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	for _, c := range [][]any{
		{"ACL", "SETUSER", "gate", "on", ">pass word", "~*", "&*", "+@all"},
		{"CONFIG", "SET", "requirepass", "other"},
	} {
		if err := admin.Do(t.Context(), c...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, userinfo := range map[string]string{"a user": "gate:pass%20word@", "a password alone": ":other@"} {
		t.Run(name, func(t *testing.T) {
			servers, err := bus.Open("redis://" + userinfo + server.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer servers.Close()
			b, _ := openServers(t, servers, 3)
			if n := standing(t, b, 3); n != 3 {
				t.Errorf("%d of 3 subscriptions stand", n)
			}
		})
	}
	for name, userinfo := range map[string]string{"a wrong password": "gate:wrong@", "none": ""} {
		t.Run(name, func(t *testing.T) {
			servers, err := bus.Open("redis://" + userinfo + server.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer servers.Close()
			b := bus.NewRedis(servers, new(inbox))
			defer b.Close()
			if err := b.Subscribe(t.Context(), "c"); !errors.Is(err, bus.ErrDown) {
				t.Errorf("a subscription ends in %v", err)
			}
		})
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for _, urls := range [][]string{
		{}, {""}, {"localhost:6379"}, {"http://localhost"}, {"redis+tree://secret@localhost"}, {"redis://secret@localhost/many"},
		{"redis+sentinel://secret@localhost"}, {"redis+cluster://secret@localhost?nothing=1"}, {"redis://localhost", "redis://"},
	} {
		s, err := bus.Open(urls...)
		if err == nil {
			s.Close()
			t.Errorf("%q are opened", urls)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", urls, err)
		}
	}
}

// TestALinkReadsWhateverItsSizeIs moves payloads around the sizes of the reading buffer and of what may be.
func TestALinkReadsWhateverItsSizeIs(t *testing.T) {
	client := redistest.Start(t).Client()
	sizes := []int{0, 1, 60_000, 64<<10 - 3, 64<<10 - 2, 64<<10 - 1, 64 << 10, 300_000, 1, bus.MaxPayload, bus.MaxPayload + 1, 20 << 20, 5}
	got := make(chan int, len(sizes))
	b := bus.NewRedis(bus.One(client), sizesOf(got))
	defer b.Close()
	if err := b.Subscribe(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		if err := client.Publish(t.Context(), "c", make([]byte, size)).Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-got:
			if n != min(size, bus.MaxPayload+1) {
				t.Errorf("of %d bytes %d come", size, n)
			}
		case <-time.After(redistest.Patience):
			t.Fatalf("%d bytes do not come", size)
		}
	}
}

type sizesOf chan int

func (s sizesOf) Receive(_ string, payload []byte) { s <- len(payload) }
func (s sizesOf) Subscribed(string)                {}
func (s sizesOf) State(bool)                       {}
func (s sizesOf) Denied(string)                    {}
