package wsbridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestAServiceIsToldOfAConnectionsLife(t *testing.T) {
	g, rdb := start(t, "")
	inbox := envelopes(t, rdb)
	c := g.as(t, "ann", "staff")
	connected := nextEnvelope(t, inbox, bus.Connect)
	if connected.User != "ann" || connected.V != 1 || connected.ReplyTo != "cg:out:node:"+g.Name() || connected.Connection == "" {
		t.Errorf("the connect is %+v", connected)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(connected.Claims, &claims); err != nil || claims.Sub != "ann" {
		t.Errorf("the claims are %s", connected.Claims)
	}

	c.send(`{"id":1,"type":"message","route":"chat.send","data":{"a": [1, "\u00e9"]}}`)
	m := nextEnvelope(t, inbox, bus.Message)
	if m.Route != "chat.send" || string(m.Data) != `{"a": [1, "\u00e9"]}` || m.Connection != connected.Connection || m.ID == connected.ID || m.User != "ann" {
		t.Errorf("the message is %+v", m)
	}
	if age := time.Since(m.Time); age < 0 || age > time.Minute {
		t.Errorf("the message is of %v", m.Time)
	}

	_ = c.Close(websocket.StatusNormalClosure, "")
	if gone := nextEnvelope(t, inbox, bus.Disconnect); gone.Code != 1000 || gone.Connection != connected.Connection {
		t.Errorf("the disconnect is %+v", gone)
	}
	redistest.Eventually(t, "the session is gone", func() bool { return g.Connections() == 0 })
	if g.of("opened") != 1 || g.of("closed 1000") != 1 || g.of("in") != 1 {
		t.Errorf("counted %v", g.counted)
	}
}

func TestAnAnonymousSessionHasNoUser(t *testing.T) {
	g, rdb := start(t, "")
	inbox := envelopes(t, rdb)
	c := g.dial(t, nil)
	if m := nextEnvelope(t, inbox, bus.Connect); m.User != "" || m.Claims != nil {
		t.Errorf("the connect is %+v", m)
	}
	_ = c.CloseNow()
	if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != 1006 {
		t.Errorf("a connection that just went away has code %d", m.Code)
	}
}

func TestRepliesGoToWhoAsked(t *testing.T) {
	rdb := redistest.Start(t).Client()
	one, two := startNode(t, rdb, ""), startNode(t, rdb, "")
	serve(t, rdb, func(s *service.Service) {
		s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
		s.Handle("refuse", func(context.Context, *service.Message) (any, error) {
			return nil, &bus.ReplyError{Code: "no_such_room", Message: `room "x"`}
		})
		s.Handle("hostile", func(context.Context, *service.Message) (any, error) {
			return nil, &bus.ReplyError{Code: `","type":"reply`, Message: "m"}
		})
		s.Handle("broken", func(context.Context, *service.Message) (any, error) { return nil, errors.New("the password is 1234") })
		s.Handle("push", func(ctx context.Context, m *service.Message) (any, error) { return nil, s.Send(ctx, m, "psst") })
	})
	for _, c := range []*client{one.dial(t, nil), two.dial(t, nil)} {
		c.send(`{"id":1,"type":"message","route":"echo","data":{"n":1}}`)
		c.want(`{"id":1,"type":"reply","data":{"n":1}}`)
		c.send(`{"id":"a b","type":"message","route":"echo","data":"x"}`)
		c.want(`{"id":"a b","type":"reply","data":"x"}`)
		c.send(`{"id":2,"type":"message","route":"refuse"}`)
		c.want(`{"id":2,"type":"error","code":"no_such_room","message":"room \"x\""}`)
		c.send(`{"id":3,"type":"message","route":"hostile"}`)
		c.want(`{"id":3,"type":"error","code":"unknown","message":"m"}`)
		c.send(`{"id":4,"type":"message","route":"broken"}`)
		c.want(`{"id":4,"type":"error","code":"internal","message":"the service failed"}`)
		c.send(`{"id":5,"type":"message","route":"nowhere"}`)
		c.want(`{"id":5,"type":"error","code":"not_found","message":"the service has no such route"}`)
		c.send(`{"type":"message","route":"push"}`)
		c.want(`{"type":"message","data":"psst"}`)
	}
}

func TestBytesTravelInBase64(t *testing.T) {
	g, rdb := start(t, "channels: [{pattern: c, subscribe: anyone}]")
	inbox := envelopes(t, rdb)
	c := g.dial(t, nil)
	nextEnvelope(t, inbox, bus.Connect)
	c.send(`{"id":1,"type":"message","route":"r","data_base64":"AP8="}`)
	m := nextEnvelope(t, inbox, bus.Message)
	if string(m.DataBase64) != "\x00\xff" {
		t.Errorf("the service gets %q", m.DataBase64)
	}
	publish(t, rdb, m.ReplyTo, fmt.Sprintf(`{"connection":%q,"in_reply_to":%q,"data_base64":"/wA="}`, m.Connection, m.ID))
	c.want(`{"id":1,"type":"reply","data_base64":"/wA="}`)
	c.send(`{"id":2,"type":"subscribe","channel":"c"}`)
	c.want(`{"id":2,"type":"ok","channel":"c"}`)
	publish(t, rdb, "cg:out:channel:c", "\x00{")
	c.want(`{"type":"message","channel":"c","data_base64":"AHs="}`)
}

func TestFanOutCrossesNodes(t *testing.T) {
	rdb := redistest.Start(t).Client()
	rooms := `channels: [{pattern: "room:*", subscribe: anyone}]`
	one, two := startNode(t, rdb, rooms), startNode(t, rdb, rooms)
	ann, ann2, bob := one.as(t, "ann"), two.as(t, "ann"), two.as(t, "bob")
	for _, c := range []*client{ann, bob} {
		c.send(`{"id":1,"type":"subscribe","channel":"room:1"}`)
		c.want(`{"id":1,"type":"ok","channel":"room:1"}`)
	}
	for _, c := range []*client{ann, ann2, bob} {
		c.roundTrip()
	}
	publish(t, rdb, "cg:out:channel:room:1", `{"text":  "hi"}`)
	publish(t, rdb, "cg:out:user:ann", `"for ann"`)
	publish(t, rdb, "cg:out:all", `1`)
	room, user, all := `{"type":"message","channel":"room:1","data":{"text":  "hi"}}`, `{"type":"message","data":"for ann"}`, `{"type":"message","data":1}`
	ann.want(room)
	ann.want(user)
	ann.want(all)
	ann2.want(user)
	ann2.want(all)
	bob.want(room)
	bob.want(all)

	t.Run("a node subscribes once however many sessions want a channel", func(t *testing.T) {
		more := one.dial(t, nil)
		more.send(`{"id":1,"type":"subscribe","channel":"room:1"}`)
		more.want(`{"id":1,"type":"ok","channel":"room:1"}`)
		if n := rdb.PubSubNumSub(t.Context(), "cg:out:channel:room:1").Val()["cg:out:channel:room:1"]; n != 2 {
			t.Errorf("two nodes have %d subscriptions", n)
		}
	})
	t.Run("who unsubscribes gets no more", func(t *testing.T) {
		ann.send(`{"id":2,"type":"unsubscribe","channel":"room:1"}`)
		ann.want(`{"id":2,"type":"ok","channel":"room:1"}`)
		publish(t, rdb, "cg:out:channel:room:1", `2`)
		bob.want(`{"type":"message","channel":"room:1","data":2}`)
		ann.roundTrip()
		ann.send(`{"id":3,"type":"unsubscribe","channel":"room:1"}`)
		ann.wantError("3", "not_found")
	})
	t.Run("a session that ends takes its subscriptions along", func(t *testing.T) {
		_ = bob.Close(websocket.StatusNormalClosure, "")
		redistest.Eventually(t, "node two leaves the channel", func() bool {
			n := rdb.PubSubNumSub(t.Context(), "cg:out:channel:room:1", "cg:out:user:bob").Val()
			return n["cg:out:user:bob"] == 0
		})
	})
}

func TestWhoMaySubscribe(t *testing.T) {
	g, _ := start(t, `max_subscriptions: 3, channels: [
      {pattern: news, subscribe: anyone}, {pattern: "staff:*", roles: [staff, boss]}, {pattern: "room:secret", subscribe: nobody},
      {pattern: "room:*"}, {pattern: "many:*", subscribe: anyone}]`)
	anonymous, ann, boss := g.dial(t, nil), g.as(t, "ann"), g.as(t, "eve", "boss")
	for _, c := range []struct {
		name    string
		who     *client
		channel string
		code    string // of the error, "" for ok
	}{
		{"anyone where the pattern says so", anonymous, "news", ""},
		{"no anonymous where it does not", anonymous, "room:1", "permission_denied"},
		{"a user there", ann, "room:1", ""},
		{"nobody where the first pattern that fits says nobody", ann, "room:secret", "permission_denied"},
		{"no user without the role", ann, "staff:1", "permission_denied"},
		{"a user with one of the roles", boss, "staff:1", ""},
		{"no channel without a pattern", boss, "new", "permission_denied"},
		{"no channel beyond an exact pattern", boss, "news2", "permission_denied"},
		{"no name without length", boss, "", "invalid_argument"},
		{"no name with a space", boss, "room: 1", "invalid_argument"},
		{"no name with a control character", boss, `room:\n`, "invalid_argument"},
		{"no name beyond ASCII", boss, "room:é", "invalid_argument"},
		{"no name that is too long", boss, "room:" + strings.Repeat("x", 251), "invalid_argument"},
		{"a name as long as may be", boss, "room:" + strings.Repeat("x", 250), ""},
		{"the same channel again", boss, "staff:1", ""},
		{"a third channel", boss, "many:1", ""},
		{"no fourth one", boss, "many:2", "resource_exhausted"},
		{"no node's channel", ann, "../node:" + g.Name(), "permission_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.who.send(`{"id":7,"type":"subscribe","channel":"` + c.channel + `"}`)
			if c.code == "" {
				c.who.want(`{"id":7,"type":"ok","channel":"` + c.channel + `"}`)
			} else {
				c.who.wantError("7", c.code)
			}
		})
	}
}

func TestPagesOfOtherOriginsMayNotConnect(t *testing.T) {
	g, _ := start(t, `origins: ["https://app.example.com"]`)
	anywhere, _ := start(t, `origins: ["*"]`)
	host := strings.TrimPrefix(g.server.URL, "http://")
	for _, c := range []struct {
		name    string
		g       *gateway
		origins []string
		want    int
	}{
		{"a client that is no browser", g, nil, 101},
		{"a page of the gateway itself", g, []string{"http://" + host}, 101},
		{"a page of an origin that is named", g, []string{"https://APP.example.com"}, 101},
		{"another scheme is another origin", g, []string{"http://app.example.com"}, 403},
		{"a page of another site", g, []string{"https://evil.example.com"}, 403},
		{"a site whose name begins alike", g, []string{"https://app.example.com.evil.com"}, 403},
		{"a sandboxed page", g, []string{"null"}, 403},
		{"two origins", g, []string{"https://app.example.com", "https://evil.example.com"}, 403},
		{"an empty origin", g, []string{""}, 403},
		{"any page where the route says so", anywhere, []string{"https://evil.example.com"}, 101},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, answer, err := websocket.Dial(t.Context(), c.g.server.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": c.origins}})
			if err == nil {
				_ = conn.CloseNow()
			}
			if answer == nil || answer.StatusCode != c.want {
				t.Errorf("answered with %v, %v, want %d", answer, err, c.want)
			}
		})
	}
}

func TestFramesThatAreNotOfTheProtocol(t *testing.T) {
	g, _ := start(t, "")
	c := g.dial(t, nil)
	for _, f := range []struct{ name, frame, id string }{
		{"no JSON", `hello`, ""},
		{"nothing", ``, ""},
		{"an array", `[1]`, ""},
		{"a string", `"{}"`, ""},
		{"two objects", `{"type":"ping"}{}`, ""},
		{"no type", `{"id":1}`, "1"},
		{"an unknown type", `{"id":1,"type":"connect"}`, "1"},
		{"a type that is a number", `{"id":1,"type":1}`, "1"},
		{"an id that is an object", `{"id":{},"type":"ping"}`, ""},
		{"an id that is too long", `{"id":"` + strings.Repeat("x", 64) + `","type":"ping"}`, ""},
		{"a member of no protocol", `{"id":1,"type":"ping","x":1}`, "1"},
		{"a member in other case", `{"id":1,"Type":"ping"}`, "1"},
		{"a member that is there twice", `{"id":1,"type":"ping","type":"ping"}`, "1"},
		{"no route", `{"id":1,"type":"message","data":1}`, "1"},
		{"a route that is too long", `{"id":1,"type":"message","route":"` + strings.Repeat("x", 256) + `"}`, "1"},
		{"data that is there in two ways", `{"id":1,"type":"message","route":"r","data":1,"data_base64":""}`, "1"},
		{"base64 that is not base64", `{"id":1,"type":"message","route":"r","data_base64":"*"}`, "1"},
		{"data that is nested too deep", `{"id":1,"type":"message","route":"r","data":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "1"},
		{"a subscription to a number", `{"id":1,"type":"subscribe","channel":42}`, "1"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.send(f.frame)
			c.wantError(f.id, "invalid_argument")
		})
	}
	c.roundTrip() // none of it has ended the session
}

func TestAMessageThatGetsNoReply(t *testing.T) {
	patient, rdb := start(t, "")
	c := patient.dial(t, nil)
	c.send(`{"id":1,"type":"message","route":"r"}`)
	c.want(`{"id":1,"type":"error","code":"unavailable","message":"no instance of the service is listening"}`)
	c.send(`{"type":"message","route":"r"}`)
	c.want(`{"type":"error","code":"unavailable","message":"no instance of the service is listening"}`)

	g := startNode(t, rdb, "reply_timeout: 100ms")
	c = g.dial(t, nil)
	c.roundTrip()
	inbox := envelopes(t, rdb)
	c.send(`{"id":2,"type":"message","route":"r"}`)
	m := nextEnvelope(t, inbox, bus.Message)
	c.want(`{"id":2,"type":"error","code":"deadline_exceeded","message":"the service did not reply in time"}`)
	publish(t, rdb, m.ReplyTo, fmt.Sprintf(`{"connection":%q,"in_reply_to":%q,"data":1}`, m.Connection, m.ID))
	redistest.Eventually(t, "the late reply is dropped", func() bool { return g.of("late_reply") == 1 })
	c.roundTrip()
}

func TestWhatServicesSendIsNotTrusted(t *testing.T) {
	g, rdb := start(t, "channels: [{pattern: c, subscribe: anyone}]")
	other := startNode(t, rdb, "")
	inbox := envelopes(t, rdb)
	c := g.dial(t, nil)
	connection := nextEnvelope(t, inbox, bus.Connect).Connection
	c.send(`{"id":1,"type":"subscribe","channel":"c"}`)
	c.want(`{"id":1,"type":"ok","channel":"c"}`)
	node := "cg:out:node:" + g.Name()
	for _, s := range []struct{ name, channel, payload, counted string }{
		{"no JSON", node, `x`, "malformed"},
		{"no connection", node, `{"data":1}`, "malformed"},
		{"a connection that is not there", node, `{"connection":"x","data":1}`, "unknown_connection"},
		{"a reply to what was not asked", node, `{"connection":"` + connection + `","in_reply_to":"x","data":1}`, "late_reply"},
		{"too much", "cg:out:channel:c", strings.Repeat("1", bus.MaxPayload+1), "too_large"},
	} {
		t.Run(s.name, func(t *testing.T) {
			publish(t, rdb, s.channel, s.payload)
			redistest.Eventually(t, "it is counted as "+s.counted, func() bool { return g.of(s.counted) > 0 })
		})
	}
	t.Run("a connection of another node", func(t *testing.T) {
		publish(t, rdb, "cg:out:node:"+other.Name(), `{"connection":"`+connection+`","data":1}`)
		redistest.Eventually(t, "it is counted", func() bool { return other.of("unknown_connection") == 1 })
	})
	publish(t, rdb, node, `{"connection":"`+connection+`"}`)
	c.want(`{"type":"message","data":null}`)
	// JSON but for bytes that are not UTF-8, for which a browser would close the connection.
	publish(t, rdb, "cg:out:channel:c", "\"\xff\"")
	c.want(`{"type":"message","channel":"c","data_base64":"Iv8i"}`)
	publish(t, rdb, node, `{"connection":"`+connection+`","data":"`+"\xff"+`"}`)
	c.want(`{"type":"message","data_base64":"Iv8i"}`)
}

func TestMessagesAreLimited(t *testing.T) {
	g, rdb := start(t, "message_rate_limits: [{per: connection, rate: 1/h, burst: 3}]")
	inbox := envelopes(t, rdb)
	c, other := g.dial(t, nil), g.dial(t, nil)
	nextEnvelope(t, inbox, bus.Connect)
	nextEnvelope(t, inbox, bus.Connect)
	c.send(`{"type":"message","route":"r"}`)
	c.send(`garbage`) // costs as much
	c.wantError("", "invalid_argument")
	c.send(`{"id":1,"type":"ping"}`)
	c.want(`{"id":1,"type":"pong"}`)
	for i := 2; i < 4; i++ {
		c.send(fmt.Sprintf(`{"id":%d,"type":"message","route":"r"}`, i))
		c.wantError(fmt.Sprint(i), "resource_exhausted")
	}
	c.send(`garbage`)
	c.wantError("", "resource_exhausted")
	nextEnvelope(t, inbox, bus.Message)
	if len(inbox) != 0 {
		t.Error("a message beyond the limit reached the service")
	}
	if g.of("refused") != 3 {
		t.Errorf("counted %v", g.counted)
	}
	other.roundTrip()
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	const brief = 6 * time.Second // which is long enough to connect with on a slow machine
	g, rdb := start(t, `channels: [{pattern: "staff:*", roles: [staff]}]`)
	inbox := envelopes(t, rdb)
	dial := func(lifetime time.Duration) *client {
		return g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(token(t, "ann", lifetime))})
	}
	t.Run("a session ends with its token", func(t *testing.T) {
		c := dial(brief)
		nextEnvelope(t, inbox, bus.Connect)
		c.wantClose(wsbridge.CloseTokenExpired)
		redistest.Eventually(t, "it is counted", func() bool { return g.of("closed 4001") == 1 })
		if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != 4001 {
			t.Errorf("the service is told of code %d", m.Code)
		}
	})
	t.Run("a refreshed one goes on with the new token's roles and claims", func(t *testing.T) {
		first := time.Now()
		c := dial(brief)
		nextEnvelope(t, inbox, bus.Connect)
		c.send(`{"id":1,"type":"subscribe","channel":"staff:1"}`)
		c.wantError("1", "permission_denied")
		c.send(`{"id":2,"type":"refresh","token":"` + token(t, "ann", time.Hour, "staff") + `"}`)
		c.want(`{"id":2,"type":"ok"}`)
		c.send(`{"id":3,"type":"subscribe","channel":"staff:1"}`)
		c.want(`{"id":3,"type":"ok","channel":"staff:1"}`)
		c.send(`{"type":"message","route":"r"}`)
		if m := nextEnvelope(t, inbox, bus.Message); !strings.Contains(string(m.Claims), "staff") {
			t.Errorf("the claims are still %s", m.Claims)
		}
		redistest.Eventually(t, "the first token has expired", func() bool { return time.Since(first) > brief+time.Second })
		c.roundTrip()
	})
	t.Run("a token that is not the user's, or is broken, changes nothing", func(t *testing.T) {
		c := dial(time.Hour)
		c.send(`{"id":1,"type":"refresh","token":"` + token(t, "bob", time.Hour) + `"}`)
		c.wantError("1", "permission_denied")
		c.send(`{"id":2,"type":"refresh","token":"x"}`)
		c.wantError("2", "unauthenticated")
		c.send(`{"id":3,"type":"refresh","token":"` + token(t, "ann", -time.Hour) + `"}`)
		c.wantError("3", "unauthenticated")
		c.roundTrip()
	})
}

func TestRawMode(t *testing.T) {
	g, rdb := start(t, "mode: raw")
	inbox := envelopes(t, rdb)
	c := g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(token(t, "ann", time.Hour))})
	connection := nextEnvelope(t, inbox, bus.Connect).Connection
	c.send(`{"any":"JSON"}`)
	if m := nextEnvelope(t, inbox, bus.Message); string(m.Data) != `{"any":"JSON"}` || m.Route != "" {
		t.Errorf("JSON arrives as %+v", m)
	}
	c.send(`any text`)
	if m := nextEnvelope(t, inbox, bus.Message); string(m.DataBase64) != "any text" {
		t.Errorf("text arrives as %+v", m)
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte("1")); err != nil {
		t.Fatal(err)
	}
	m := nextEnvelope(t, inbox, bus.Message)
	if string(m.DataBase64) != "1" {
		t.Errorf("bytes arrive as %+v", m)
	}
	for _, s := range []struct {
		channel, payload string
		kind             websocket.MessageType
		want             string
	}{
		{m.ReplyTo, `{"connection":"` + connection + `","in_reply_to":"` + m.ID + `","data":{"a": 1}}`, websocket.MessageText, `{"a": 1}`},
		{m.ReplyTo, `{"connection":"` + connection + `","data_base64":"AP8="}`, websocket.MessageBinary, "\x00\xff"},
		{"cg:out:user:ann", `[1]`, websocket.MessageText, `[1]`},
		{"cg:out:all", "\xff", websocket.MessageBinary, "\xff"},
	} {
		publish(t, rdb, s.channel, s.payload)
		if kind, got, err := c.next(); err != nil || kind != s.kind || got != s.want {
			t.Errorf("%s comes as %v %q, %v", s.payload, kind, got, err)
		}
	}

	enveloped := g.dial(t, nil)
	enveloped.roundTrip() // a client that asks for envelopes gets them
}

func TestAQueuedMessageIsAcknowledgedAndAnswered(t *testing.T) {
	g, rdb := start(t, "delivery: at_least_once")
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"message","route":"echo","data":1}`)
	c.want(`{"id":1,"type":"ok"}`) // though no service is there yet
	if n := rdb.XLen(t.Context(), "cg:queue:chat").Val(); n != 2 {
		t.Errorf("the queue has %d entries, want the connect and the message", n)
	}
	serve(t, rdb, func(s *service.Service) {
		s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
	}, service.WithQueue())
	c.want(`{"id":1,"type":"reply","data":1}`)
	for range 20 {
		c.send(`{"id":2,"type":"message","route":"echo","data":2}`)
		c.want(`{"id":2,"type":"ok"}`)
		c.want(`{"id":2,"type":"reply","data":2}`)
	}
}

func TestAQueuedMessageNeedsNoReply(t *testing.T) {
	g, rdb := start(t, "delivery: at_least_once, reply_timeout: 20ms")
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"message","route":"r"}`)
	c.want(`{"id":1,"type":"ok"}`)
	sent := time.Now()
	redistest.Eventually(t, "the reply's time is over", func() bool { return time.Since(sent) > 100*time.Millisecond })
	c.roundTrip()
	entries := rdb.XRange(t.Context(), "cg:queue:chat", "-", "+").Val()
	m, err := bus.ParseInbound([]byte(entries[1].Values[bus.QueueField].(string)))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, rdb, m.ReplyTo, fmt.Sprintf(`{"connection":%q,"in_reply_to":%q,"data":1}`, m.Connection, m.ID))
	redistest.Eventually(t, "the late reply is dropped", func() bool { return g.of("late_reply") == 1 })
	c.roundTrip()
}

func TestAServiceClosesConnections(t *testing.T) {
	g, rdb := start(t, "")
	other := startNode(t, rdb, "")
	inbox := envelopes(t, rdb)
	sender := service.New(rdb, "chat")
	connect := func(g *gateway) (*client, *bus.Inbound) {
		c := g.as(t, "ann")
		return c, nextEnvelope(t, inbox, bus.Connect)
	}
	closed := func(c *client, code websocket.StatusCode, reason string) {
		t.Helper()
		var closing websocket.CloseError
		if _, frame, err := c.next(); !errors.As(err, &closing) || closing.Code != code || closing.Reason != reason {
			t.Fatalf("%s, %v, want the close code %d %q", frame, err, code, reason)
		}
		if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != int(code) {
			t.Fatalf("the service is told of code %d", m.Code)
		}
	}
	for _, c := range []struct {
		name    string
		payload string // after the connection's id
		frame   string
		code    websocket.StatusCode
		reason  string
	}{
		{"with a code and a reason", `"close":{"code":4400,"reason":"enough"}`, "", 4400, "enough"},
		{"without either", `"close":{}`, "", 4005, ""},
		{"with a code that is not a service's", `"close":{"code":1006}`, "", 4005, ""},
		{"with a reason that is too long for its frame", `"close":{"code":1000,"reason":"` + strings.Repeat("é", 100) + `"}`, "", 1000, strings.Repeat("é", 61)},
		{"after a last message", `"data":"bye","close":{"code":4400}`, `{"type":"message","data":"bye"}`, 4400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ws, from := connect(g)
			publish(t, rdb, from.ReplyTo, `{"connection":"`+from.Connection+`",`+c.payload+`}`)
			if c.frame != "" {
				ws.want(c.frame)
			}
			closed(ws, c.code, c.reason)
		})
	}
	t.Run("by the client package", func(t *testing.T) {
		ws, from := connect(g)
		if err := sender.Disconnect(t.Context(), from, 4401, "no"); err != nil {
			t.Fatal(err)
		}
		closed(ws, 4401, "no")
	})
	t.Run("all of a user's, on every node", func(t *testing.T) {
		one, _ := connect(g)
		two, _ := connect(other)
		if err := sender.DisconnectUser(t.Context(), "ann", 4402, "away"); err != nil {
			t.Fatal(err)
		}
		closed(one, 4402, "away")
		closed(two, 4402, "away")
	})
	t.Run("what a user is sent is data, whatever it looks like", func(t *testing.T) {
		ws, _ := connect(g)
		ws.roundTrip()
		publish(t, rdb, "cg:out:user:ann", `{"close":{"code":4400}}`)
		ws.want(`{"type":"message","data":{"close":{"code":4400}}}`)
	})
}
