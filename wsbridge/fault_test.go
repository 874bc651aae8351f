package wsbridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestSessionsOutliveRedis(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	g := startNode(t, rdb, `channels: [{pattern: "room:*", subscribe: anyone}]`)
	serve(t, rdb, func(s *service.Service) {
		s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
	})
	c := g.as(t, "ann")
	c.send(`{"id":1,"type":"subscribe","channel":"room:1"}`)
	c.want(`{"id":1,"type":"ok","channel":"room:1"}`)
	for range 2 {
		server.Kill()
		c.want(`{"type":"bus","state":"down"}`)
		c.send(`{"id":2,"type":"message","route":"echo","data":1}`)
		c.want(`{"id":2,"type":"error","code":"unavailable","message":"the bus is down"}`)
		c.send(`{"id":3,"type":"subscribe","channel":"room:2"}`)
		c.wantError("3", "unavailable")
		c.send(`{"id":4,"type":"unsubscribe","channel":"room:2"}`)
		c.wantError("4", "not_found")

		server.Restart()
		c.want(`{"type":"bus","state":"up"}`)
		publish(t, rdb, "cg:out:channel:room:1", `1`)
		c.want(`{"type":"message","channel":"room:1","data":1}`)
		publish(t, rdb, "cg:out:user:ann", `2`)
		c.want(`{"type":"message","data":2}`)
		publish(t, rdb, "cg:out:channel:room:2", `3`) // was refused, and so not subscribed to
		redistest.Eventually(t, "the service is back", func() bool { return rdb.PubSubNumSub(t.Context(), "cg:in:chat").Val()["cg:in:chat"] > 0 })
		c.send(`{"id":5,"type":"message","route":"echo","data":1}`)
		c.want(`{"id":5,"type":"reply","data":1}`)
	}
}

func TestAQueuedMessageIsAcknowledgedOnlyByRedis(t *testing.T) {
	server := redistest.Start(t)
	g := startNode(t, server.Client(), "delivery: at_least_once")
	c := g.dial(t, nil)
	server.Kill()
	c.want(`{"type":"bus","state":"down"}`)
	c.send(`{"id":1,"type":"message","route":"r"}`)
	c.wantError("1", "unavailable")
}

func TestANodeStartsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	g := startNode(t, server.Client(), `channels: [{pattern: "*", subscribe: anyone}]`)
	c := g.as(t, "ann")
	c.send(`{"id":1,"type":"subscribe","channel":"a"}`)
	c.wantError("1", "unavailable")
	server.Restart()
	redistest.Eventually(t, "the bus is up", g.BusUp)
	c.send(`{"id":2,"type":"subscribe","channel":"a"}`)
	c.want(`{"id":2,"type":"ok","channel":"a"}`)
	publish(t, server.Client(), "cg:out:user:ann", `1`)
	c.want(`{"type":"message","data":1}`)
}

func TestASlowConsumerSlowsNobodyElse(t *testing.T) {
	g, rdb := start(t, `queue_size: 64KiB, ping_timeout: 60s, channels: [{pattern: c, subscribe: anyone}]`)
	subscribe := func(c *client) *client {
		c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
		c.want(`{"id":1,"type":"ok","channel":"c"}`)
		return c
	}
	slow, fast := subscribe(g.dial(t, nil)), subscribe(g.dial(t, nil))
	payload := strings.Repeat("x", 4000)
	closed := false
	for i, after := 0, 0; i < 3000 && after < 200; i++ {
		message := fmt.Sprintf(`{"n":%d,"p":"%s"}`, i, payload)
		publish(t, rdb, "cg:out:channel:c", message)
		fast.want(`{"type":"message","channel":"c","data":` + message + `}`)
		if !closed && g.of("limited queue_size") > 0 {
			slow.wantClose(wsbridge.CloseSlowConsumer) // what it is told waits for it, but not for long
			closed = true
		}
		if closed {
			after++
		}
	}
	if !closed {
		t.Fatal("a client that takes nothing stays")
	}
	redistest.Eventually(t, "it is counted", func() bool { return g.of("closed 4008") == 1 })
	redistest.Eventually(t, "the fast session alone is left", func() bool { return g.Connections() == 1 })
	fast.roundTrip()
}

func TestAClientThatNeverReadsIsLetGo(t *testing.T) {
	g, rdb := start(t, `queue_size: 16KiB, ping_interval: 100ms, ping_timeout: 200ms, channels: [{pattern: c, subscribe: anyone}]`)
	c := g.dialRaw(t)
	c.frame(0x81, `{"id":1,"type":"subscribe","channel":"c"}`)
	c.read()
	began := time.Now()
	payload := `"` + strings.Repeat("x", 100_000) + `"`
	redistest.Eventually(t, "the session is gone", func() bool {
		publish(t, rdb, "cg:out:channel:c", payload)
		return g.Connections() == 0
	})
	t.Logf("it was let go after %v, with a queue of 16 KiB", time.Since(began).Round(time.Millisecond))
}

func TestAMessageLargerThanTheQueueIsSentAlone(t *testing.T) {
	g, rdb := start(t, `queue_size: 1KiB, channels: [{pattern: c, subscribe: anyone}]`)
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
	c.want(`{"id":1,"type":"ok","channel":"c"}`)
	for _, size := range []int{10, 125, 126, 3000, 65535, 65536, 1 << 20} {
		payload := `"` + strings.Repeat("x", size) + `"`
		publish(t, rdb, "cg:out:channel:c", payload)
		c.want(`{"type":"message","channel":"c","data":` + payload + `}`)
	}
}

func TestADeadPeerIsNoticed(t *testing.T) {
	g, rdb := start(t, "ping_interval: 50ms, ping_timeout: 100ms")
	inbox := envelopes(t, rdb)
	dead := g.dialRaw(t) // answers no ping
	nextEnvelope(t, inbox, bus.Connect)
	if first, _ := dead.read(); first != 0x89 {
		t.Fatalf("the first frame is %#x, want a ping", first)
	}
	if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != int(wsbridge.CloseUnresponsive) {
		t.Errorf("the service is told of code %d", m.Code)
	}

	// On a slow machine a pong may come too late, but not each time.
	redistest.Eventually(t, "a client that answers pings stays", func() bool {
		alive := g.dial(t, nil)
		defer alive.CloseNow()
		answering := alive.CloseRead(t.Context())
		select {
		case <-answering.Done():
			return false
		case <-time.After(500 * time.Millisecond):
			return true
		}
	})
}

func TestAClientThatTalksNeedsNoPing(t *testing.T) {
	g, _ := start(t, "ping_interval: 300ms, ping_timeout: 1m")
	c := g.dialRaw(t)
	const protocolPing = 0x89
	// Where the machine makes a client pause it is pinged, and rightly.
	redistest.Eventually(t, "a client that talks for a second is not pinged", func() bool {
		for began := time.Now(); time.Since(began) < time.Second; {
			c.frame(0x81, `{"id":1,"type":"ping"}`)
			first, payload := c.read()
			if first == protocolPing {
				c.frame(0x8a, payload)
				for first == protocolPing {
					first, _ = c.read()
				}
				return false
			}
			if first != 0x81 {
				t.Fatalf("%#x %q comes, want a pong in a text frame", first, payload)
			}
		}
		return true
	})
}

func TestBrokenFrames(t *testing.T) {
	g, _ := start(t, "max_message_size: 1000B")
	zero := "\x00\x00\x00\x00"
	for _, c := range []struct {
		name  string
		bytes string
		code  int
	}{
		{"without a mask", "\x81\x02{}", 1002},
		{"with a reserved bit", "\xc1\x82" + zero + "{}", 1002},
		{"of an unknown kind", "\x83\x82" + zero + "{}", 1002},
		{"a continuation of nothing", "\x80\x82" + zero + "{}", 1002},
		{"a new message inside another", "\x01\x82" + zero + "{}\x81\x82" + zero + "{}", 1002},
		{"a ping in pieces", "\x09\x82" + zero + "{}", 1002},
		{"a ping that is too long", "\x89\xfe\x00\x80" + zero + strings.Repeat("x", 128), 1002},
		{"a close with one byte", "\x88\x81" + zero + "x", 1002},
		{"a binary frame", "\x82\x82" + zero + "{}", 1003},
		{"text that is not UTF-8", "\x81\x82" + zero + "\xff\xfe", 1007},
		{"a message that is too large", "\x81\xfe\x03\xe9" + zero + strings.Repeat("x", 1001), 1009},
		{"one that says it is enormous", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + zero + strings.Repeat("x", 2000), 1009},
		{"pieces that are too large together", strings.Repeat("\x01\xfe\x02\x00"+zero+strings.Repeat("x", 512), 1) + "\x80\xfe\x02\x00" + zero + strings.Repeat("x", 512), 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := g.dialRaw(t)
			conn.write(c.bytes)
			conn.wantCloseFrame(c.code)
			conn.Close()
			redistest.Eventually(t, "the session is gone", func() bool { return g.Connections() == 0 })
		})
	}
}

func TestAMessageInPiecesWithPingsBetween(t *testing.T) {
	g, _ := start(t, "")
	c := g.dialRaw(t)
	c.frame(0x01, `{"id":1,`)
	c.frame(0x89, "one")
	c.frame(0x00, `"type":`)
	c.frame(0x89, "two")
	c.frame(0x80, `"ping"}`)
	for _, want := range []struct {
		first   byte
		payload string
	}{{0x8a, "one"}, {0x8a, "two"}, {0x81, `{"id":1,"type":"pong"}`}} {
		if first, payload := c.read(); first != want.first || payload != want.payload {
			t.Fatalf("%#x %q comes, want %#x %q", first, payload, want.first, want.payload)
		}
	}
	c.frame(0x88, "\x03\xe8bye")
	if first, payload := c.read(); first != 0x88 || !strings.HasPrefix(payload, "\x03\xe8") {
		t.Fatalf("the close is answered with %#x %q", first, payload)
	}
}

func TestFramesSentWithTheHandshakeAreNotLost(t *testing.T) {
	g, _ := start(t, "")
	conn := g.dialRawWith(t, "\x81\x96\x00\x00\x00\x00"+`{"id":1,"type":"ping"}`)
	if _, payload := conn.read(); payload != `{"id":1,"type":"pong"}` {
		t.Fatalf("%q comes, want a pong", payload)
	}
}

// TestControlFramesNeverMixWithOthers has pings answered while messages are written as fast as may be.
func TestControlFramesNeverMixWithOthers(t *testing.T) {
	g, rdb := start(t, `queue_size: 64MiB, channels: [{pattern: c, subscribe: anyone}]`)
	c := g.dialRaw(t)
	c.frame(0x81, `{"id":1,"type":"subscribe","channel":"c"}`)
	c.read()
	const count = 3000
	var writing sync.WaitGroup
	writing.Go(func() {
		pipe := rdb.Pipeline()
		for i := range count {
			pipe.Publish(t.Context(), "cg:out:channel:c", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", i)))
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Error(err)
		}
	})
	writing.Go(func() {
		for i := range count {
			c.frame(0x89, strconv.Itoa(i))
		}
	})
	messages, pongs := 0, 0
	for messages < count || pongs < count {
		switch first, payload := c.read(); {
		case first == 0x8a && payload == strconv.Itoa(pongs):
			pongs++
		case first == 0x81 && strings.HasPrefix(payload, fmt.Sprintf(`{"type":"message","channel":"c","data":"%d x`, messages)),
			first == 0x81 && messages == 0:
			messages++
		default:
			t.Fatalf("after %d messages and %d pongs comes %#x %.80q", messages, pongs, first, payload)
		}
	}
	writing.Wait()
}

func TestDrainTellsAndThenClosesEveryone(t *testing.T) {
	g, rdb := start(t, "")
	inbox := envelopes(t, rdb)
	clients := []*client{g.dial(t, nil), g.dial(t, nil), g.dial(t, nil)}
	for range clients {
		nextEnvelope(t, inbox, bus.Connect)
	}
	silent := g.dialRaw(t) // says no goodbye
	nextEnvelope(t, inbox, bus.Connect)
	var drained sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), redistest.Patience)
	defer cancel()
	began := time.Now()
	drained.Go(func() { g.Drain(ctx, 300*time.Millisecond) })
	var ends sync.WaitGroup
	for _, c := range clients {
		ends.Go(func() {
			_, frame, err := c.next()
			var after int
			if _, scanErr := fmt.Sscanf(frame, `{"type":"goaway","reconnect_after_ms":%d}`, &after); err != nil || scanErr != nil || after > 300 {
				t.Errorf("%q comes, %v, want a goaway", frame, err)
			}
			c.wantClose(wsbridge.CloseDraining)
			if took := time.Since(began); took < time.Duration(after)*time.Millisecond {
				t.Errorf("it is closed after %v, want no sooner than the %dms it was told", took, after)
			}
		})
	}
	silent.wantCloseFrame(int(wsbridge.CloseDraining))
	silent.Close()
	ends.Wait()
	drained.Wait()
	for range 4 {
		if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != 4010 {
			t.Errorf("the service is told of code %d", m.Code)
		}
	}
	if _, answer, err := websocket.Dial(t.Context(), g.server.URL, nil); err == nil || answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a node that drains answers an upgrade with %v, %v", answer, err)
	}
	redistest.Eventually(t, "no session is left", func() bool { return g.Connections() == 0 })
}

func TestOverTLS(t *testing.T) {
	rdb := redistest.Start(t).Client()
	g := startNodeWith(t, rdb, `channels: [{pattern: c, subscribe: anyone}]`, slog.New(slog.DiscardHandler), httptest.NewTLSServer)
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
	c.want(`{"id":1,"type":"ok","channel":"c"}`)
	for i := range 100 {
		publish(t, rdb, "cg:out:channel:c", strconv.Itoa(i))
	}
	for i := range 100 {
		c.want(`{"type":"message","channel":"c","data":` + strconv.Itoa(i) + `}`)
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	redistest.Eventually(t, "the session is gone", func() bool { return g.of("closed 1000") == 1 })
}

func TestCloseEndsEverySession(t *testing.T) {
	g, _ := start(t, "")
	c := g.dial(t, nil)
	g.Close()
	if _, _, err := c.next(); err == nil {
		t.Error("the session goes on")
	}
	if g.Connections() != 0 || g.of("closed 4010") != 1 {
		t.Errorf("%d sessions are left, counted %v", g.Connections(), g.counted)
	}
}

func TestClientsMakeNoSeriesOfTheirOwn(t *testing.T) {
	g, _ := start(t, "")
	for _, code := range []websocket.StatusCode{3999, 4321} {
		_ = g.dial(t, nil).Close(code, "")
	}
	redistest.Eventually(t, "both are counted as one", func() bool { return g.of("closed 3000") == 2 })
}

func TestManySessionsComeAndGo(t *testing.T) {
	g, rdb := start(t, `channels: [{pattern: "*", subscribe: anyone}]`)
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = rdb.Publish(context.Background(), "cg:out:channel:c", `1`).Err()
				_ = rdb.Publish(context.Background(), "cg:out:all", `1`).Err()
			}
		}
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 20 {
				c := g.dial(t, nil)
				c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
				if _, _, err := c.next(); err != nil {
					t.Error(err)
				}
				_ = c.CloseNow()
			}
		})
	}
	clients.Wait()
	close(stop)
	all.Wait()
	redistest.Eventually(t, "all sessions are gone", func() bool { return g.Connections() == 0 })
	redistest.Eventually(t, "their subscription too", func() bool {
		return rdb.PubSubNumSub(t.Context(), "cg:out:channel:c").Val()["cg:out:channel:c"] == 0
	})
}
