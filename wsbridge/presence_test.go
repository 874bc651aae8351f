package wsbridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// present is a frame about who is in a channel.
type present struct {
	Type, Channel, Code string
	Connections, Users  int
	Members             []struct {
		User, Connection string
		Info             json.RawMessage
	}
	User, Connection string
	Info             json.RawMessage
	Next             string
}

// ask sends a frame and returns the answer to it, or the next one where the frame is empty.
func (c *client) ask(frame string) (p present) {
	c.t.Helper()
	if frame != "" {
		c.send(frame)
	}
	_, got, err := c.next()
	if err != nil {
		c.t.Fatalf("after %s: %v", frame, err)
	}
	if err := json.Unmarshal([]byte(got), &p); err != nil {
		c.t.Fatalf("after %s: %s", frame, got)
	}
	return p
}

func (c *client) enter(channel string) {
	c.t.Helper()
	c.send(`{"id":1,"type":"subscribe","channel":"` + channel + `"}`)
	c.want(`{"id":1,"type":"ok","channel":"` + channel + `"}`)
}

// wantEvent reads the next frame, which must tell of a user.
func (c *client) wantEvent(kind, user string) present {
	c.t.Helper()
	p := c.ask("")
	if p.Type != kind || p.User != user || p.Connection == "" {
		c.t.Fatalf("got %+v, want a %s of %q", p, kind, user)
	}
	return p
}

// wantPresent asks until so many connections and users are in the channel.
func (c *client) wantPresent(channel string, connections, users int) {
	c.t.Helper()
	redistest.Eventually(c.t, fmt.Sprint(connections, " connections and ", users, " users are present"), func() bool {
		p := c.ask(`{"id":9,"type":"presence","channel":"` + channel + `","count_only":true}`)
		return p.Connections == connections && p.Users == users
	})
}

func TestWhoIsInAChannel(t *testing.T) {
	g, rdb := start(t, `subscribe: ["lobby"], channels: [
		{pattern: "room:*", presence: {events: connections, claims: [name, org.title, missing]}, subscribe: anyone},
		{pattern: lobby, presence: {events: users, max_info: 20B, claims: [name]}},
		{pattern: "mine:*", presence: {read: subscribers}}, {pattern: "staff", presence: {roles: [boss], events: connections}},
		{pattern: "hidden", presence: {read: nobody, events: connections}}, {pattern: "doc:*", subscribe: token, presence: {}}, {pattern: plain}]`)
	ann := g.with(t, jwt.MapClaims{"sub": "ann", "name": "Ann é", "org": map[string]any{"title": "CTO"}})
	ann.want(subscribed("lobby"))
	first := ann.wantEvent("join", "ann")
	if first.Channel != "lobby" || string(first.Info) != `{"name":"Ann é"}` && first.Info != nil {
		t.Errorf("got %+v", first)
	}
	ann.enter("room:1")
	joined := ann.wantEvent("join", "ann")
	if string(joined.Info) != `{"name":"Ann é","org.title":"CTO"}` || joined.Connection != first.Connection {
		t.Errorf("got %+v", joined)
	}
	bob := g.with(t, jwt.MapClaims{"sub": "bob", "name": strings.Repeat("b", 100)})
	bob.want(subscribed("lobby"))
	if p := bob.wantEvent("join", "bob"); p.Info != nil { // too large for the lobby
		t.Errorf("got %s", p.Info)
	}
	if g.of("limited presence_info") != 1 {
		t.Errorf("counted %v", g.counted)
	}
	ann.wantEvent("join", "bob")
	nobody := g.dial(t, nil)
	nobody.want(subscribed("lobby"))
	nobody.wantEvent("join", "")
	ann.wantEvent("join", "")
	bob.wantEvent("join", "")

	p := ann.ask(`{"id":2,"type":"presence","channel":"room:1"}`)
	if p.Connections != 1 || p.Users != 1 || len(p.Members) != 1 || p.Members[0].User != "ann" || p.Members[0].Connection != first.Connection || p.Next != "" {
		t.Errorf("present are %+v", p)
	}
	bob.send(`{"id":2,"type":"presence","channel":"lobby","count_only":true}`)
	bob.want(`{"id":2,"type":"presence","channel":"lobby","connections":3,"users":2}`)
	bob.send(`{"id":3,"type":"presence","channel":"room:none"}`)
	bob.want(`{"id":3,"type":"presence","channel":"room:none","connections":0,"users":0,"members":[]}`)

	for i, c := range []struct {
		who     *client
		channel string
		more    string
		code    string
	}{
		{bob, "plain", "", "permission_denied"},
		{bob, "elsewhere", "", "permission_denied"},
		{bob, "a b", "", "invalid_argument"},
		{bob, "mine:1", "", "permission_denied"},
		{bob, "staff", "", "permission_denied"},
		{bob, "hidden", "", "permission_denied"},
		{nobody, "staff", "", "permission_denied"},
		{bob, "doc:1", "", "unauthenticated"},
		{bob, "doc:1", `,"token":"` + signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:1"}) + `"`, "permission_denied"},
		{bob, "doc:1", `,"token":"` + signed(t, jwt.MapClaims{"sub": "bob", "channel": "doc:1"}) + `"`, ""},
		{nobody, "room:1", `,"limit":0`, "invalid_argument"},
		{nobody, "room:1", `,"limit":"a"`, "invalid_argument"},
		{nobody, "room:1", `,"next":"%"`, "invalid_argument"},
		{nobody, "room:1", `,"next":"` + strings.Repeat("a", 300) + `"`, "invalid_argument"},
		{nobody, "room:1", `,"count_only":1`, "invalid_argument"},
		{nobody, "room:1", `,"limit":1000000,"next":"AAAA","count_only":false`, ""},
	} {
		if p := c.who.ask(fmt.Sprintf(`{"id":%d,"type":"presence","channel":%q%s}`, i, c.channel, c.more)); p.Code != c.code || c.code == "" && p.Type != "presence" {
			t.Errorf("%s%s: %+v, want %q", c.channel, c.more, p, c.code)
		}
	}

	// Who may not read is told nothing.
	boss := g.as(t, "eve", "boss")
	boss.want(subscribed("lobby"))
	boss.wantEvent("join", "eve")
	ann.wantEvent("join", "eve")
	bob.wantEvent("join", "eve")
	nobody.wantEvent("join", "eve")
	bob.enter("staff")
	bob.enter("hidden")
	boss.enter("staff")
	boss.wantEvent("join", "eve")
	bob.enter("mine:1")
	bob.send(`{"id":4,"type":"presence","channel":"mine:1","count_only":true}`)
	bob.want(`{"id":4,"type":"presence","channel":"mine:1","connections":1,"users":1}`)

	// Unsubscribing is leaving, as is going away; of users, it is with the last connection.
	second := g.as(t, "ann")
	second.want(subscribed("lobby"))
	second.roundTrip() // no event of the second connection of a user
	ann.send(`{"id":5,"type":"unsubscribe","channel":"room:1"}`)
	ann.want(`{"id":5,"type":"ok","channel":"room:1"}`)
	nobody.wantPresent("room:1", 0, 0)
	_ = bob.Close(websocket.StatusNormalClosure, "")
	ann.wantEvent("leave", "bob")
	_ = ann.CloseNow()
	nobody.wantEvent("leave", "bob")
	nobody.wantPresent("lobby", 3, 2)
	_ = second.CloseNow()
	if p := nobody.wantEvent("leave", "ann"); p.Channel != "lobby" {
		t.Errorf("got %+v", p)
	}
	nobody.send(`{"id":6,"type":"presence","channel":"lobby","count_only":true}`)
	nobody.want(`{"id":6,"type":"presence","channel":"lobby","connections":2,"users":1}`)

	// A service reads the same with any Redis client.
	if n := rdb.HLen(t.Context(), "cg:presence:{cg:out:channel:lobby}").Val(); n != 2 {
		t.Errorf("Redis has %d", n)
	}
	if users := rdb.HGetAll(t.Context(), "cg:presence:users:{cg:out:channel:lobby}").Val(); fmt.Sprint(users) != "map[eve:1]" {
		t.Errorf("Redis has the users %v", users)
	}
}

func TestAServiceSaysWhatOthersAreShown(t *testing.T) {
	g, rdb := start(t, `connect: {ask: true}, channels: [{pattern: "room:*", subscribe: authenticated, presence: {claims: [sub]}},
		{pattern: "game:*", subscribe: service, presence: {claims: [sub], max_info: 32B}}]`)
	serve(t, rdb, func(s *service.Service) {
		s.Welcome(func(_ context.Context, m *service.Message) (*bus.Welcome, error) {
			return &bus.Welcome{Allow: true, Subscribe: []string{"room:0"}, Info: json.RawMessage(`{ "from": "welcome" }`)}, nil
		})
		s.Authorize(func(_ context.Context, m *service.Message) error { return nil })
	})
	c := g.as(t, "ann")
	c.want(subscribed("room:0"))
	c.enter("room:1")
	c.enter("game:1")
	for channel, info := range map[string]string{"room:0": `{"from":"welcome"}`, "room:1": `{"from":"welcome"}`, "game:1": `{"from":"welcome"}`} {
		if p := c.ask(`{"id":2,"type":"presence","channel":"` + channel + `"}`); len(p.Members) != 1 || string(p.Members[0].Info) != info {
			t.Errorf("%s shows %+v, want %s", channel, p, info)
		}
	}
}

func TestTheServiceThatLetsSubscribeSaysWhatOthersAreShown(t *testing.T) {
	g, rdb := start(t, `channels: [{pattern: "game:*", subscribe: service, presence: {claims: [sub], max_info: 32B}}]`)
	inbox := envelopes(t, rdb)
	c := g.as(t, "ann")
	nextEnvelope(t, inbox, bus.Connect)
	for channel, info := range map[string]string{"game:1": `{"level": 7}`, "game:2": `"` + strings.Repeat("x", 40) + `"`, "game:3": "null", "game:4": ""} {
		c.send(`{"id":1,"type":"subscribe","channel":"` + channel + `"}`)
		m := nextEnvelope(t, inbox, bus.Subscribe)
		answer := `{"allow":true,"info":` + info + `}`
		if info == "" {
			answer = `{"allow":true}`
		}
		publish(t, rdb, m.ReplyTo, `{"connection":"`+m.Connection+`","in_reply_to":"`+m.ID+`","data":`+answer+`}`)
		c.want(`{"id":1,"type":"ok","channel":"` + channel + `"}`)
	}
	for channel, info := range map[string]string{"game:1": `{"level":7}`, "game:2": "", "game:3": `{"sub":"ann"}`, "game:4": `{"sub":"ann"}`} {
		if p := c.ask(`{"id":2,"type":"presence","channel":"` + channel + `"}`); len(p.Members) != 1 || string(p.Members[0].Info) != info {
			t.Errorf("%s shows %+v, want %s", channel, p, info)
		}
	}
}

// severed is a client whose connections can be cut, for good: its node is as dead to Redis and to the others.
func severed(t *testing.T, server *redistest.Server) (client *redis.Client, cut func()) {
	var mu sync.Mutex
	var conns []net.Conn
	gone := false
	client = redis.NewClient(&redis.Options{Addr: server.Address, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				return nil, errors.New("cut")
			}
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				conns = append(conns, c)
			}
			return c, err
		}})
	t.Cleanup(func() { client.Close() })
	return client, func() {
		mu.Lock()
		defer mu.Unlock()
		gone = true
		for _, c := range conns {
			c.Close()
		}
	}
}

const attended = `max_subscriptions: 10, channels: [{pattern: "room:*", subscribe: anyone, presence: {events: connections, ttl: 5s}},
	{pattern: "kept:*", subscribe: anyone, history: {size: 10}, presence: {events: users, ttl: 5s}}]`

// TestANodeThatDiesIsSweptOnce has three nodes, of which one dies with a crowd, and one with whoever comes while it dies.
func TestANodeThatDiesIsSweptOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	watching := startNode(t, server.Client(), attended)
	other := startNode(t, server.Client(), attended)
	link, cut := severed(t, server)
	dying := startNode(t, link, attended)
	const crowd, users = 100, 40
	seen := watching.as(t, "watcher")
	seen.enter("room:1")
	seen.wantEvent("join", "watcher")
	seen.enterKept()
	other.as(t, "stays").enter("room:1")
	seen.wantEvent("join", "stays")
	joined := map[string]bool{}
	dying.as(t, "user0").enterKept()
	seen.skipTo("join", "kept:1")
	for i := range crowd {
		dying.as(t, fmt.Sprint("user", i%users)).enter("room:1")
		joined[seen.skipTo("join", "room:1").Connection] = true
	}
	if len(joined) != crowd {
		t.Fatalf("%d have joined", len(joined))
	}
	seen.wantPresent("room:1", crowd+2, users+2)
	cut()
	began := time.Now()
	left := map[string]bool{}
	for range crowd + 1 {
		p := seen.ask("")
		if p.Type != "leave" || left[p.Channel+p.Connection] || p.Channel == "room:1" && !joined[p.Connection] {
			t.Fatalf("got %+v", p)
		}
		left[p.Channel+p.Connection] = true
	}
	t.Logf("swept after %v", time.Since(began))
	// Its time began when it was last heard of, which on a slow machine may be a while before it was cut off.
	if time.Since(began) < time.Second {
		t.Error("swept before its time")
	}
	seen.wantPresent("room:1", 2, 2)
	seen.wantPresent("kept:1", 1, 1)
	seen.roundTrip() // and nothing is told twice
	if swept := watching.of("swept") + other.of("swept"); swept != crowd+1 {
		t.Errorf("%d are counted as swept", swept)
	}
}

func (c *client) enterKept() {
	c.t.Helper()
	if p := c.ask(`{"id":1,"type":"subscribe","channel":"kept:1"}`); p.Type != "ok" {
		c.t.Fatalf("got %+v", p)
	}
	c.skipTo("join", "kept:1")
}

// skipTo reads until a frame of a kind comes about a channel.
func (c *client) skipTo(kind, channel string) present {
	c.t.Helper()
	for {
		if p := c.ask(""); p.Type == kind && p.Channel == channel {
			return p
		}
	}
}

// TestPresenceComesBackWithRedis has Redis forget everything, and wants nobody to be told that others have joined who never
// left.
func TestPresenceComesBackWithRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := []*gateway{startNode(t, server.Client(), attended), startNode(t, server.Client(), attended)}
	var all []*client
	const crowd = 40
	for i := range crowd {
		c := nodes[i%2].as(t, fmt.Sprint("user", i/2))
		c.enter("room:1")
		c.skipTo("join", "room:1")
		for _, other := range all {
			other.wantEvent("join", fmt.Sprint("user", i/2))
		}
		all = append(all, c)
	}
	for range 2 {
		server.Kill()
		for _, c := range all {
			c.want(`{"type":"bus","state":"down"}`)
		}
		server.Restart()
		for _, c := range all {
			c.want(`{"type":"bus","state":"up"}`)
		}
		all[0].wantPresent("room:1", crowd, crowd/2)
		for _, c := range all {
			c.roundTrip()
		}
		// All that the roster has is what lives.
		redistest.Eventually(t, "both nodes live", func() bool {
			return server.Client().ZCard(t.Context(), "cg:presence:nodes:{cg:presence}").Val() == 2
		})
	}
	_ = all[1].Close(websocket.StatusNormalClosure, "")
	for _, c := range slices.Delete(all, 1, 2) {
		c.wantEvent("leave", "user0")
	}
}

// TestARedisThatHangsTakesNobodyOut has it hear of nobody for longer than the TTL.
func TestARedisThatHangsTakesNobodyOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := []*gateway{startNode(t, server.Client(), attended), startNode(t, server.Client(), attended)}
	ann, bob := nodes[0].as(t, "ann"), nodes[1].as(t, "bob")
	ann.enter("room:1")
	ann.wantEvent("join", "ann")
	bob.enter("room:1")
	bob.wantEvent("join", "bob")
	ann.wantEvent("join", "bob")
	server.Hang()
	ann.want(`{"type":"bus","state":"down"}`)
	time.Sleep(6 * time.Second) // longer than the TTL: there is nothing to wait for
	server.Continue()
	ann.want(`{"type":"bus","state":"up"}`)
	time.Sleep(6 * time.Second) // longer than it takes to sweep
	ann.roundTrip()
	ann.wantPresent("room:1", 2, 2)
	if n := nodes[0].of("swept") + nodes[1].of("swept"); n != 0 {
		t.Errorf("%d are swept", n)
	}
}

// TestPresenceIsTrueInTheEnd has sessions come and go at random while Redis is killed twice, and then compares.
func TestPresenceIsTrueInTheEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const section = `message_rate_limits: [{per: connection, rate: 1000000/s}], channels: [{pattern: "room:*", subscribe: anyone, presence: {ttl: 5s}}]`
	nodes := []*gateway{startNode(t, server.Client(), section), startNode(t, server.Client(), section)}
	const clients, rooms = 16, 3
	stop := make(chan struct{})
	var mu sync.Mutex
	in := map[int]int{} // how many are in a room in the end
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			subscribed := map[int]bool{}
			var c *client
			for ended := false; !ended || c == nil; {
				select {
				case <-stop:
					ended = true
				default:
				}
				if c == nil {
					c = nodes[random.IntN(2)].as(t, fmt.Sprint(i))
					clear(subscribed)
				}
				if random.IntN(20) == 0 && !ended {
					_ = c.CloseNow()
					c = nil
					continue
				}
				room, kind := random.IntN(rooms), []string{"subscribe", "unsubscribe"}[random.IntN(2)]
				c.send(fmt.Sprintf(`{"id":1,"type":%q,"channel":"room:%d"}`, kind, room))
				p := c.ask("")
				for p.Type == "bus" {
					p = c.ask("")
				}
				if p.Type == "ok" {
					subscribed[room] = kind == "subscribe"
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for room, is := range subscribed {
				if is {
					in[room]++
				}
			}
		})
	}
	for range 2 {
		time.Sleep(500 * time.Millisecond) // let them come and go
		server.Kill()
		time.Sleep(100 * time.Millisecond)
		server.Restart()
		redistest.Eventually(t, "the bus is up", func() bool { return nodes[0].BusUp() && nodes[1].BusUp() })
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	all.Wait()
	for room := range rooms {
		redistest.Eventually(t, fmt.Sprintf("%d are in room %d", in[room], room), func() bool {
			p, err := nodes[0].Presence(t.Context(), fmt.Sprint("room:", room), "", 1000)
			return err == nil && int(p.Connections) == in[room] && int(p.Users) == in[room] && len(p.Members) == in[room]
		})
	}
	if n := nodes[0].of("present") + nodes[1].of("present"); n != in[0]+in[1]+in[2] {
		t.Errorf("%d are counted as present, want %v", n, in)
	}
}

// TestANodeThatWasTakenForGoneComesBack cuts a node off, as others see it, by its beats alone: they sweep it, and it is there
// again with its next beat.
func TestANodeThatWasTakenForGoneComesBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	one, two := startNode(t, rdb, attended), startNode(t, rdb, attended)
	a, b := one.as(t, "ann"), two.as(t, "bob")
	a.enter("room:1")
	a.wantEvent("join", "ann")
	b.enter("room:1")
	b.wantEvent("join", "bob")
	a.wantEvent("join", "bob")
	const nodes, gone = "cg:presence:nodes:{cg:presence}", "cg:presence:gone:{cg:presence}"
	// What a sweeper does to a node that has been silent for a minute, in one step.
	pipe := rdb.TxPipeline()
	pipe.ZRem(t.Context(), nodes, one.Name())
	pipe.ZAdd(t.Context(), gone, redis.Z{Score: float64(time.Now().Add(-time.Hour).UnixMilli()), Member: one.Name()})
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := bus.One(rdb).SweepPresence(t.Context(), bus.Keys{Prefix: "cg:"}, one.Name(), "room:1"); err != nil {
		t.Fatal(err)
	} else if n == 1 {
		b.wantEvent("leave", "ann")
		b.wantEvent("join", "ann")
	}
	b.wantPresent("room:1", 2, 2)
	redistest.Eventually(t, "the node lives by another name, and the old one is forgotten", func() bool {
		names := rdb.ZRange(t.Context(), nodes, 0, -1).Val()
		return slices.Contains(names, one.Name()+".1") && rdb.ZCard(t.Context(), gone).Val() == 0
	})
	b.wantPresent("room:1", 2, 2)
	_ = a.Close(websocket.StatusNormalClosure, "")
	b.wantEvent("leave", "ann")
}

// TestANodeThatBeginsGivesTheOthersTime has one begin where nobody has been heard of for long, as after a silence of Redis: it
// sweeps them only when they have had time to be heard of.
func TestANodeThatBeginsGivesTheOthersTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb, s, keys := server.Client(), bus.One(server.Client()), bus.Keys{Prefix: "cg:"}
	if _, _, err := s.BeatPresence(t.Context(), keys, bus.Beat{Node: "ghost", First: true}); err != nil {
		t.Fatal(err)
	}
	rdb.ZAdd(t.Context(), "cg:presence:nodes:{cg:presence}", redis.Z{Score: 1, Member: "ghost"})
	if err := s.HoldPresence(t.Context(), keys, "ghost", "room:1", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.ChangePresence(t.Context(), keys, "room:1", "ghost", []bus.PresenceChange{
		{Change: bus.Join, Connection: "1", Entry: bus.AppendPresence(nil, "ghost", "connections", "casper", nil)}}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := startNode(t, rdb, attended).as(t, "ann")
	c.enter("room:1")
	c.wantEvent("join", "ann")
	c.wantPresent("room:1", 2, 2)
	c.wantEvent("leave", "casper")
	if after := time.Since(began); after < 4*time.Second {
		t.Errorf("swept after %v", after)
	}
	c.wantPresent("room:1", 1, 1)
	redistest.Eventually(t, "the node is forgotten", func() bool {
		return rdb.Exists(t.Context(), "cg:presence:gone:{cg:presence}", "cg:presence:of:{cg:presence}:ghost").Val() == 0
	})
}

func TestWhoComesBackInTimeHasNotLeft(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const section = `channels: [{pattern: "room:*", subscribe: anyone, presence: {events: users, grace: 10s, ttl: 10s}}]`
	one, two := startNode(t, server.Client(), section), startNode(t, server.Client(), section)
	watcher := one.as(t, "watcher")
	watcher.enter("room:1")
	watcher.wantEvent("join", "watcher")
	ann := two.as(t, "ann")
	ann.enter("room:1")
	watcher.wantEvent("join", "ann")
	_ = ann.CloseNow()
	redistest.Eventually(t, "the session is gone", func() bool { return two.Connections() == 0 })
	again := one.as(t, "ann")
	again.enter("room:1")
	watcher.wantPresent("room:1", 2, 2) // the grace is over
	watcher.roundTrip()                 // and nobody was told
	// A node that is drained leaves its users a TTL's time to come back.
	bob := two.as(t, "bob")
	bob.enter("room:1")
	watcher.wantEvent("join", "bob")
	again.wantEvent("join", "bob")
	two.Close()
	bob = one.as(t, "bob")
	bob.enter("room:1")
	watcher.wantPresent("room:1", 3, 3)
	watcher.roundTrip()
	// Who says that he leaves, leaves.
	bob.send(`{"id":3,"type":"unsubscribe","channel":"room:1"}`)
	bob.want(`{"id":3,"type":"ok","channel":"room:1"}`)
	watcher.wantEvent("leave", "bob")
}

// TestThousandsInAChannel joins them through the script, as nodes do, and reads them through the gateway, in pages that fit a
// session's queue.
func TestThousandsInAChannel(t *testing.T) {
	server := redistest.Start(t)
	g := startNode(t, server.Client(), `queue_size: 64KiB, channels: [{pattern: "room:*", subscribe: anyone, presence: {}}]`)
	const all, batch = 10_000, 500
	s := bus.One(server.Client())
	for i := 0; i < all; i += batch {
		var changes []bus.PresenceChange
		for j := i; j < i+batch; j++ {
			changes = append(changes, bus.PresenceChange{Change: bus.Join, Connection: fmt.Sprint(j),
				Entry: bus.AppendPresence(nil, "elsewhere", "", fmt.Sprint("user", j/2), json.RawMessage(`{"name":"somebody"}`))})
		}
		if _, _, err := s.ChangePresence(t.Context(), bus.Keys{Prefix: "cg:"}, "room:1", "elsewhere", changes); err != nil {
			t.Fatal(err)
		}
	}
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"presence","channel":"room:1","count_only":true}`)
	c.want(`{"id":1,"type":"presence","channel":"room:1","connections":10000,"users":5000}`)
	seen, next := map[string]bool{}, ""
	for {
		c.send(`{"id":2,"type":"presence","channel":"room:1","limit":1000` + next + `}`)
		_, frame, err := c.next()
		if err != nil || len(frame) > 64<<10 {
			t.Fatalf("a page of %d bytes, %v", len(frame), err)
		}
		var p present
		if err := json.Unmarshal([]byte(frame), &p); err != nil || len(p.Members) == 0 {
			t.Fatal(frame, err)
		}
		for _, m := range p.Members {
			seen[m.Connection] = true
		}
		if p.Next == "" {
			break
		}
		next = `,"next":"` + p.Next + `"`
	}
	if len(seen) != all {
		t.Errorf("the pages have %d", len(seen))
	}
}

// TestAnIdleConnectionCostsNoCommands counts what Redis is asked while nothing happens but beats.
func TestAnIdleConnectionCostsNoCommands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client()
	g := startNode(t, rdb, `subscribe: ["user:{sub}"], channels: [{pattern: "user:*", presence: {ttl: 5s}}]`)
	const all = 200
	for i := range all {
		g.as(t, fmt.Sprint(i)).want(subscribed(fmt.Sprint("user:", i)))
	}
	redistest.Eventually(t, "all are present", func() bool {
		n, _, err := rdb.Scan(t.Context(), 0, "cg:presence:{*", 10000).Result()
		return err == nil && len(n) == all
	})
	calls := func(command string) (n int) {
		t.Helper()
		stats := rdb.InfoMap(t.Context(), "commandstats").Item("Commandstats", "cmdstat_"+command)
		_, _ = fmt.Sscanf(stats, "calls=%d", &n)
		return n
	}
	before := calls("evalsha")
	redistest.Eventually(t, "the node has said several times that it lives", func() bool { return calls("evalsha") >= before+3 })
	if n := calls("hset") + calls("hget"); n > 10*all {
		t.Errorf("%d commands about %d connections", n, all)
	}
	changed := calls("hset")
	redistest.Eventually(t, "the node has said several times more that it lives", func() bool { return calls("evalsha") >= before+6 })
	if n := calls("hset") - changed; n > 0 {
		t.Errorf("%d changes while nothing changes", n)
	}
}
