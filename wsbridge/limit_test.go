package wsbridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
)

// wantTurnedAway wants an upgrade to be refused with this status.
func (g *gateway) wantTurnedAway(t *testing.T, status int, header http.Header) {
	t.Helper()
	conn, answer, err := websocket.Dial(t.Context(), g.server.URL, &websocket.DialOptions{HTTPHeader: header})
	if err == nil {
		conn.CloseNow()
	}
	if answer == nil || answer.StatusCode != status {
		t.Fatalf("the upgrade ends in %v, want status %d", err, status)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	for _, c := range []struct {
		name, section, limit string
		status               int
		whoElse              string // may still connect
	}{
		{"of a user", "max_connections_per_user: 2", "connections_per_user", http.StatusTooManyRequests, "bob"},
		{"of an address", "max_connections_per_ip: 2", "connections_per_ip", http.StatusTooManyRequests, ""},
		{"of a node", "max_connections: 2", "connections", http.StatusServiceUnavailable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, _ := start(t, c.section)
			first := g.as(t, "ann")
			g.as(t, "ann")
			g.wantTurnedAway(t, c.status, bearer(token(t, "ann", 1e12)))
			if c.whoElse != "" {
				g.as(t, c.whoElse).roundTrip()
				g.dial(t, nil).roundTrip()
				g.dial(t, nil).roundTrip()
				g.dial(t, nil).roundTrip() // anonymous sessions are nobody's
			}
			if g.of("limited "+c.limit) != 1 {
				t.Errorf("counted %v", g.counted)
			}
			_ = first.Close(websocket.StatusNormalClosure, "")
			// A place is free again once the session has ended.
			redistest.Eventually(t, "another may connect", func() bool {
				conn, _, err := websocket.Dial(t.Context(), g.server.URL, &websocket.DialOptions{HTTPHeader: bearer(token(t, "ann", 1e12))})
				if err == nil {
					t.Cleanup(func() { conn.CloseNow() })
				}
				return err == nil
			})
		})
	}
}

func TestWhatALimitRefusesIsCounted(t *testing.T) {
	t.Run("messages over time, of a connection", func(t *testing.T) {
		g, _ := start(t, `message_rate_limits: [{per: connection, rate: 1/h, burst: 2}]`)
		c := g.dial(t, nil)
		for range 2 {
			c.roundTrip()
		}
		c.send(`{"id":1,"type":"ping"}`)
		c.wantError("1", "resource_exhausted")
		g.dial(t, nil).roundTrip()
		wantLimited(t, g, "message_rate")
	})
	t.Run("messages over time, of a user", func(t *testing.T) {
		g, _ := start(t, `message_rate_limits: [{per: user, rate: 1/h, burst: 2}]`)
		one, two := g.as(t, "ann"), g.as(t, "ann")
		one.roundTrip()
		two.roundTrip()
		one.send(`{"id":1,"type":"ping"}`)
		one.wantError("1", "resource_exhausted")
		g.as(t, "bob").roundTrip()
		wantLimited(t, g, "message_rate")
	})
	t.Run("messages over time, unless told otherwise", func(t *testing.T) {
		g, _ := start(t, "")
		c := g.dial(t, nil)
		const sent, burst, rate = 8000, 5000, 1000
		began := time.Now()
		go func() {
			for i := range sent {
				if c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"id":%d,"type":"ping"}`, i)) != nil {
					return
				}
			}
		}()
		for passed := 0; passed < sent; passed++ {
			_, frame, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(frame, "resource_exhausted") {
				return
			}
		}
		// On a machine that took so long over them all of them may pass.
		if allowed := burst + rate*time.Since(began).Seconds(); sent > allowed {
			t.Errorf("%d messages pass, of which the default allows %.0f", sent, allowed)
		}
	})
	t.Run("subscriptions", func(t *testing.T) {
		g, _ := start(t, `max_subscriptions: 1, channels: [{pattern: "*", subscribe: anyone}]`)
		c := g.dial(t, nil)
		c.send(`{"id":1,"type":"subscribe","channel":"a"}`)
		c.want(`{"id":1,"type":"ok","channel":"a"}`)
		c.send(`{"id":2,"type":"subscribe","channel":"b"}`)
		c.wantError("2", "resource_exhausted")
		wantLimited(t, g, "subscriptions")
	})
	t.Run("messages that wait for a reply", func(t *testing.T) {
		g, rdb := start(t, "reply_timeout: 10m, message_rate_limits: [{per: connection, rate: 100000/s}]")
		silent := rdb.Subscribe(t.Context(), "cg:in:chat")
		defer silent.Close()
		if _, err := silent.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := g.dial(t, nil)
		for i := range 1001 {
			c.send(fmt.Sprintf(`{"id":%d,"type":"message","route":"r"}`, i))
		}
		c.wantError("1000", "resource_exhausted")
		wantLimited(t, g, "pending_replies")
	})
	t.Run("the size of a message", func(t *testing.T) {
		g, _ := start(t, "max_message_size: 100B")
		c := g.dial(t, nil)
		c.send(strings.Repeat(" ", 101))
		c.wantClose(websocket.StatusMessageTooBig)
		wantLimited(t, g, "message_size")
	})
	t.Run("bytes that wait for a client", func(t *testing.T) {
		g, rdb := start(t, `queue_size: 16KiB, channels: [{pattern: c, subscribe: anyone}]`)
		c := g.dial(t, nil)
		c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
		c.want(`{"id":1,"type":"ok","channel":"c"}`)
		payload := `"` + strings.Repeat("x", 10_000) + `"`
		redistest.Eventually(t, "it is too much", func() bool {
			publish(t, rdb, "cg:out:channel:c", payload)
			return g.of("limited queue_size") > 0
		})
		c.wantClose(wsbridge.CloseSlowConsumer)
	})
}

func wantLimited(t *testing.T, g *gateway, limit string) {
	t.Helper()
	redistest.Eventually(t, limit+" is counted once", func() bool { return g.of("limited "+limit) == 1 })
}
