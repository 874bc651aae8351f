package wsbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// keeping is a route whose channels are kept.
const keeping = `channels: [{pattern: "room:*", subscribe: anyone, history: {size: 1000}, presence: {ttl: 5s}}]`

var (
	keys     = bus.Keys{Prefix: "cg:"}
	thousand = bus.History{Size: 1000, TTL: 5 * time.Minute}
)

// keep publishes to the channel room:1, as a service does.
func keep(t *testing.T, client redis.UniversalClient, payloads ...string) (at bus.Position) {
	t.Helper()
	for _, p := range payloads {
		var err error
		if at, err = bus.One(client).PublishKept(t.Context(), keys, "room:1", []byte(p), thousand, ""); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// follow subscribes to room:1 and returns where the subscription begins. With at, it goes on from there and wants to be
// told whether that is possible.
func (c *client) follow(at bus.Position, recovered string) bus.Position {
	c.t.Helper()
	from, told := "", ""
	if at.Epoch != "" {
		from, told = fmt.Sprintf(`,"epoch":"%s","offset":%d`, at.Epoch, at.Offset), `,"recovered":`+recovered
	}
	c.send(`{"id":1,"type":"subscribe","channel":"room:1"` + from + `}`)
	_, frame, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	var ok struct {
		Epoch  string
		Offset uint64
	}
	if err := json.Unmarshal([]byte(frame), &ok); err != nil {
		c.t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"id":1,"type":"ok","channel":"room:1","epoch":"%s","offset":%d%s}`, ok.Epoch, ok.Offset, told); frame != want || ok.Epoch == "" {
		c.t.Fatalf("got %s, want %s", frame, want)
	}
	if recovered == "true" && (ok.Epoch != at.Epoch || ok.Offset != at.Offset) {
		c.t.Fatalf("it goes on from %v, want from %v", ok, at)
	}
	return bus.Position(ok)
}

// wantKept reads the next frame, which must be this message of room:1.
func (c *client) wantKept(offset uint64, payload string) {
	c.t.Helper()
	c.want(fmt.Sprintf(`{"type":"message","channel":"room:1","offset":%d,"data":%s}`, offset, payload))
}

func TestAClientThatComesBackGetsWhatItHasMissedAndThenWhatComes(t *testing.T) {
	g, rdb := start(t, keeping)
	c := g.dial(t, nil)
	at := c.follow(bus.Position{}, "")
	keep(t, rdb, "1", "2")
	c.wantKept(at.Offset+1, "1")
	c.wantKept(at.Offset+2, "2")
	_ = c.CloseNow()
	keep(t, rdb, "3", "4", "5")
	at.Offset += 2

	for name, node := range map[string]*gateway{"on the same node": g, "on another node": startNode(t, rdb, keeping)} {
		t.Run(name, func(t *testing.T) {
			back := node.dial(t, nil)
			back.follow(at, "true")
			back.wantKept(at.Offset+1, "3")
			back.wantKept(at.Offset+2, "4")
			back.wantKept(at.Offset+3, "5")
			back.roundTrip()
		})
	}
	t.Run("with nothing missed", func(t *testing.T) {
		back := g.dial(t, nil)
		back.follow(bus.Position{Epoch: at.Epoch, Offset: at.Offset + 3}, "true")
		keep(t, rdb, "6")
		back.wantKept(at.Offset+4, "6")
	})
	t.Run("and one that is new gets what comes", func(t *testing.T) {
		fresh := g.dial(t, nil)
		if got := fresh.follow(bus.Position{}, ""); got.Epoch != at.Epoch || got.Offset != at.Offset+4 {
			t.Fatalf("it begins at %v", got)
		}
		keep(t, rdb, "7")
		fresh.wantKept(at.Offset+5, "7")
	})
}

func TestAClientThatCannotGoOnIsTold(t *testing.T) {
	g, rdb := start(t, keeping)
	first := keep(t, rdb, "0")
	for i := range 1200 {
		keep(t, rdb, strconv.Itoa(i+1))
	}
	for name, from := range map[string]bus.Position{
		"what it has missed is too old": first,
		"it comes from another epoch":   {Epoch: "1-1", Offset: 1201},
	} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(t, nil)
			if at := c.follow(from, "false"); at.Epoch != first.Epoch || at.Offset != 1201 {
				t.Fatalf("it begins at %v, want at the latest", at)
			}
			c.roundTrip() // nothing is sent twice, nothing of the past
		})
	}
	t.Run("the oldest that is kept can be gone on from", func(t *testing.T) {
		c := g.dial(t, nil)
		c.follow(bus.Position{Epoch: first.Epoch, Offset: 201}, "true")
		for i := uint64(202); i <= 1201; i++ {
			c.wantKept(i, strconv.FormatUint(i-1, 10))
		}
	})
}

func TestWhereASubscriptionGoesOnIsChecked(t *testing.T) {
	g, _ := start(t, keeping)
	c := g.dial(t, nil)
	for _, from := range []string{
		`"epoch":"1-1"`, `"offset":1`, `"epoch":"","offset":1`, `"epoch":1,"offset":1`, `"epoch":"1","offset":-1`, `"epoch":"1","offset":"1"`,
		`"epoch":"1","offset":1.5`, `"epoch":"1","offset":9007199254740992`, `"epoch":"` + strings.Repeat("e", 65) + `","offset":1`,
	} {
		c.send(`{"id":1,"type":"subscribe","channel":"room:1",` + from + `}`)
		c.wantError("1", "invalid_argument")
	}
	c.send(`{"id":1,"type":"subscribe","channel":"room:{1}"}`)
	c.wantError("1", "invalid_argument")
}

func TestAHistoryLargerThanTheQueueIsTakenAsTheClientReads(t *testing.T) {
	g, rdb := start(t, `queue_size: 16KiB, `+keeping)
	payload := `"` + strings.Repeat("x", 3000) + `"`
	at := keep(t, rdb, payload)
	for range 400 {
		keep(t, rdb, payload)
	}
	c := g.dial(t, nil)
	c.follow(at, "true")
	for i := range uint64(400) {
		c.wantKept(at.Offset+i+1, payload)
	}
	c.roundTrip()
}

func TestWhatIsPublishedPastHistoryComesWithoutAnOffset(t *testing.T) {
	g, rdb := start(t, keeping)
	c := g.dial(t, nil)
	at := c.follow(bus.Position{}, "")
	publish(t, rdb, "cg:out:channel:room:1", `{"typing":true}`)
	c.want(`{"type":"message","channel":"room:1","data":{"typing":true}}`)
	keep(t, rdb, "1")
	c.wantKept(at.Offset+1, "1")
}

func TestAChannelMayBeFollowedWithHistoryAndWithout(t *testing.T) {
	g, rdb := start(t, keeping)
	plain := startNode(t, rdb, `channels: [{pattern: "room:*", subscribe: anyone}]`)
	c, p := g.dial(t, nil), plain.dial(t, nil)
	at := c.follow(bus.Position{}, "")
	p.send(`{"id":1,"type":"subscribe","channel":"room:1","epoch":"x","offset":3}`)
	p.want(`{"id":1,"type":"ok","channel":"room:1"}`)
	keep(t, rdb, "1")
	c.wantKept(at.Offset+1, "1")
	p.want(`{"type":"message","channel":"room:1","data":1}`)
}

// visit follows room:1 from where a client was, for at most stay messages or up to last, and returns where it is then. Every
// message must be the next one; its data is its offset since begin.
func (g *gateway) visit(t *testing.T, begin, at bus.Position, stay int, last uint64) (bus.Position, error) {
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, g.server.URL, &websocket.DialOptions{Subprotocols: []string{wsbridge.Subprotocol}})
	if err != nil {
		return at, err
	}
	defer conn.CloseNow()
	next := func() (string, error) {
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil || !strings.HasPrefix(string(frame), `{"type":"bus"`) {
				return string(frame), err
			}
		}
	}
	from := fmt.Sprintf(`"epoch":"%s","offset":%d`, at.Epoch, at.Offset)
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"id":1,"type":"subscribe","channel":"room:1",`+from+`}`)); err != nil {
		return at, err
	}
	switch got, err := next(); {
	case err != nil:
		return at, err
	case strings.Contains(got, `"code":"unavailable"`):
		return at, nil
	case got != `{"id":1,"type":"ok","channel":"room:1",`+from+`,"recovered":true}`:
		return at, fmt.Errorf("got %s from %v", got, at)
	}
	for ; stay > 0 && at.Offset < last; stay-- {
		want := fmt.Sprintf(`{"type":"message","channel":"room:1","offset":%d,"data":%d}`, at.Offset+1, at.Offset+1-begin.Offset)
		if got, err := next(); err != nil || got != want {
			return at, fmt.Errorf("got %s, %v, want %s", got, err, want)
		}
		at.Offset++
	}
	return at, nil
}

// TestNothingIsMissedOrComesTwiceAtTheSeam has clients come and go while messages are published, each going on where it
// was: all of them get all messages exactly once and in order, whatever happens to the nodes' own subscriptions.
func TestNothingIsMissedOrComesTwiceAtTheSeam(t *testing.T) {
	rdb := redistest.Start(t).Client()
	section := strings.Replace(keeping, "1000", "10000", 1)
	nodes := []*gateway{startNode(t, rdb, section), startNode(t, rdb, section)}
	const total, clients = 3000, 6
	servers, many := bus.One(rdb), bus.History{Size: 10_000, TTL: time.Minute}
	begin, err := servers.PublishKept(t.Context(), keys, "room:1", []byte("0"), many, "")
	if err != nil {
		t.Fatal(err)
	}
	var visiting, publishing sync.WaitGroup
	done := make(chan struct{})
	for i := range clients {
		visiting.Go(func() {
			at, visits := begin, 0
			for ; at.Offset < begin.Offset+total; visits++ {
				var err error
				if at, err = nodes[rand.N(len(nodes))].visit(t, begin, at, 1+rand.N(300), begin.Offset+total); err != nil {
					t.Errorf("client %d, visit %d: %v", i, visits, err)
					return
				}
			}
			t.Logf("client %d came %d times", i, visits)
		})
	}
	publishing.Go(func() {
		for i := range total {
			if _, err := servers.PublishKept(t.Context(), keys, "room:1", []byte(strconv.Itoa(i+1)), many, ""); err != nil {
				t.Error(err)
				return
			}
		}
	})
	publishing.Go(func() {
		for breaks := 0; ; breaks++ {
			select {
			case <-done:
				t.Logf("the nodes' subscriptions were broken %d times", breaks)
				return
			case <-time.After(50 * time.Millisecond):
				rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub")
			}
		}
	})
	visiting.Wait()
	close(done)
	publishing.Wait()
}

func TestAMessageThatTheNodeWasNotGivenComesBeforeTheNext(t *testing.T) {
	g, rdb := start(t, keeping)
	c := g.dial(t, nil)
	at := c.follow(bus.Position{}, "")
	keep(t, rdb, "1")
	c.wantKept(at.Offset+1, "1")
	// Kept, but published to nobody.
	other := bus.Keys{Prefix: "elsewhere:"}
	if _, err := bus.One(rdb).PublishKept(t.Context(), other, "room:1", []byte("2"), thousand, ""); err != nil {
		t.Fatal(err)
	}
	entry := rdb.XRange(t.Context(), other.History("room:1"), "-", "+").Val()[0]
	rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: keys.History("room:1"), ID: fmt.Sprintf("%d-%d", at.Offset+2, time.Now().Unix()),
		Values: []any{"m", entry.Values["m"], "p", strconv.FormatUint(at.Offset+1, 10)}})
	rdb.HSet(t.Context(), keys.Position("room:1"), "offset", at.Offset+2)
	keep(t, rdb, "3")
	c.wantKept(at.Offset+2, "2")
	c.wantKept(at.Offset+3, "3")
}

func TestSubscribersAreToldWhenRedisHasForgotten(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	g := startNode(t, rdb, keeping)
	c := g.dial(t, nil)
	c.follow(bus.Position{}, "")
	first := keep(t, rdb, "1")
	c.wantKept(first.Offset, "1")
	server.Kill()
	c.want(`{"type":"bus","state":"down"}`)
	server.Restart() // empty
	second := keep(t, rdb, "2")
	if second.Epoch == first.Epoch || second.Offset != 1 {
		t.Fatalf("after the restart the channel is at %v, before it was at %v", second, first)
	}
	gap := fmt.Sprintf(`{"type":"gap","channel":"room:1","epoch":"%s","offset":0}`, second.Epoch)
	for seen := 0; seen < 3; seen++ {
		_, frame, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if frame == `{"type":"bus","state":"up"}` { // it may come before or after what is read from history
			continue
		}
		if frame != gap && frame != `{"type":"message","channel":"room:1","offset":1,"data":2}` {
			t.Fatalf("got %s, want %s and then the message", frame, gap)
		}
		if seen == 0 && frame != gap {
			t.Fatalf("got %s before the gap", frame)
		}
	}
	keep(t, rdb, "3")
	c.wantKept(2, "3")
}
