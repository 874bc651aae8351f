package wsbridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func subscribed(channel string) string { return `{"type":"subscribed","channel":"` + channel + `"}` }

func TestConnectionsAreSubscribedAsTheyOpen(t *testing.T) {
	g, rdb := start(t, `subscribe: ["news", "user:{sub}", "org:{claims.org}:all", "team:{claims.teams}"], channels_claim: grants.channels, max_subscriptions: 6`)
	for _, c := range []struct {
		name   string
		claims jwt.MapClaims
		want   []string
	}{
		{"who is nobody", jwt.MapClaims{}, []string{"news"}},
		{"a user", jwt.MapClaims{"sub": "ann"}, []string{"news", "user:ann"}},
		{"a user with claims", jwt.MapClaims{"sub": "ann", "org": "acme", "teams": []any{"a", 7}, "grants": map[string]any{"channels": "doc:1"}},
			[]string{"news", "user:ann", "org:acme:all", "team:a", "team:7", "doc:1"}},
		{"values that are no part of a name", jwt.MapClaims{"sub": "a b", "org": "acme:x", "teams": map[string]any{"a": 1}, "grants": map[string]any{"channels": []any{"a{b}", "ok", "ok", 1.5}}},
			[]string{"news", "ok"}},
		{"more than may be", jwt.MapClaims{"sub": "ann", "teams": []any{1, 2, 3, 4, 5, 6, 7, 8, 9}}, []string{"news", "user:ann", "team:1", "team:2", "team:3", "team:4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := g.with(t, c.claims)
			for _, channel := range c.want {
				s.want(subscribed(channel))
			}
			s.roundTrip()
			for _, channel := range c.want {
				publish(t, rdb, "cg:out:channel:"+channel, `1`)
				s.want(`{"type":"message","channel":"` + channel + `","data":1}`)
			}
		})
	}
	s := g.as(t, "ann")
	s.want(subscribed("news"))
	s.want(subscribed("user:ann"))
	s.send(`{"id":1,"type":"subscribe","channel":"news"}`)
	s.wantError("1", "permission_denied") // the configuration subscribes, and lets nobody subscribe
	s.send(`{"id":2,"type":"unsubscribe","channel":"news"}`)
	s.want(`{"id":2,"type":"ok","channel":"news"}`)
	publish(t, rdb, "cg:out:channel:news", `1`)
	s.roundTrip()
}

func TestARawClientGetsThePayloadsOfItsChannels(t *testing.T) {
	g, rdb := start(t, `mode: raw, subscribe: [news], channels: [{pattern: news, history: {size: 10}}]`)
	s := g.dial(t, &websocket.DialOptions{})
	redistest.Eventually(t, "the session subscribes", func() bool {
		return rdb.PubSubNumSub(t.Context(), "cg:out:channel:news").Val()["cg:out:channel:news"] == 1
	})
	redistest.Eventually(t, "the payload comes", func() bool {
		publish(t, rdb, "cg:out:channel:news", `1`)
		return g.of("out") > 0
	})
	s.want(`1`)
	if _, err := g.SendChannel(t.Context(), "news", []byte(`{"kept":1}`), bus.History{Size: 10, TTL: time.Minute}, ""); err != nil {
		t.Fatal(err)
	}
	for frame := `1`; frame != `{"kept":1}`; {
		_, got, err := s.next()
		if err != nil || got != `1` && got != `{"kept":1}` {
			t.Fatal(got, err)
		}
		frame = got
	}
}

func TestAnAssignedChannelGoesOnAfterAReconnect(t *testing.T) {
	server := redistest.Start(t)
	g := startNode(t, server.Client(), `subscribe: ["user:{sub}"], channels: [{pattern: "user:*", history: {size: 100}, subscribe: authenticated}]`)
	send := func(n int) {
		t.Helper()
		if _, err := g.SendChannel(t.Context(), "user:ann", fmt.Append(nil, n), bus.History{Size: 100, TTL: time.Minute}, ""); err != nil {
			t.Fatal(err)
		}
	}
	var at struct {
		Type, Channel, Epoch string
		Offset               uint64
	}
	message := func(n int) string {
		return fmt.Sprintf(`{"type":"message","channel":"user:ann","offset":%d,"data":%d}`, n, n)
	}
	first := g.as(t, "ann")
	_, frame, err := first.next()
	if err != nil || json.Unmarshal([]byte(frame), &at) != nil || at.Type != "subscribed" || at.Channel != "user:ann" || at.Epoch == "" || at.Offset != 0 {
		t.Fatal(frame, err)
	}
	send(1)
	first.want(message(1))
	_ = first.Close(websocket.StatusNormalClosure, "")
	send(2)
	send(3)
	position := func(offset int) string {
		return fmt.Sprintf(`"channel":"user:ann","epoch":%q,"offset":%d`, at.Epoch, offset)
	}
	again := g.as(t, "ann")
	again.want(`{"type":"subscribed",` + position(3) + `}`)
	send(4)
	again.want(message(4))
	// From the ok on everything after the offset comes, what had come before it once more.
	again.send(`{"id":1,"type":"subscribe",` + position(1) + `}`)
	again.want(`{"id":1,"type":"ok",` + position(1) + `,"recovered":true}`)
	for n := 2; n <= 4; n++ {
		again.want(message(n))
	}
	send(5)
	again.want(message(5))
	again.send(`{"id":2,"type":"subscribe","channel":"user:ann","epoch":"gone","offset":1}`)
	again.want(`{"id":2,"type":"ok",` + position(5) + `,"recovered":false}`)
	again.roundTrip()

	// While the bus is down a connection is taken, and gets its channels with the bus.
	server.Kill()
	again.want(`{"type":"bus","state":"down"}`)
	late := g.as(t, "ann")
	late.want(`{"type":"bus","state":"down"}`)
	server.Restart()
	late.want(`{"type":"bus","state":"up"}`)
	if _, frame, err = late.next(); err != nil || json.Unmarshal([]byte(frame), &at) != nil || at.Type != "subscribed" || at.Offset != 0 {
		t.Fatal(frame, err)
	}
	send(1)
	late.want(message(1))
}

func TestAServiceDecidesAboutConnections(t *testing.T) {
	for _, delivery := range []string{"at_most_once", "at_least_once"} {
		t.Run(delivery, func(t *testing.T) {
			g, rdb := start(t, `mode: raw, delivery: `+delivery+`, connect: {ask: true}, subscribe: [news], max_subscriptions: 3`)
			var options []service.Option
			if delivery == "at_least_once" {
				options = append(options, service.WithQueue())
			}
			serve(t, rdb, func(s *service.Service) {
				s.Handle("echo", func(_ context.Context, m *service.Message) (any, error) { return m.Data, nil })
				s.Welcome(func(_ context.Context, m *service.Message) (*bus.Welcome, error) {
					switch m.User {
					case "ann":
						return &bus.Welcome{Allow: true, Subscribe: []string{"room:1", "room:2"}}, nil
					case "bob":
						return &bus.Welcome{Code: 4400, Reason: strings.Repeat("é", 100)}, nil
					case "carl":
						return nil, &bus.ReplyError{Code: "permission_denied", Message: "not you"}
					case "dora":
						return nil, errors.New("a secret")
					case "eve":
						return &bus.Welcome{Allow: true, Subscribe: []string{"a b"}}, nil
					case "fred":
						return &bus.Welcome{Allow: true, Subscribe: []string{"1", "2", "3", "4"}}, nil
					case "gil":
						return &bus.Welcome{Code: 1006}, nil
					}
					return &bus.Welcome{}, nil
				})
			}, options...)
			for user, code := range map[string]websocket.StatusCode{"bob": 4400, "carl": wsbridge.CloseRefused, "dora": 1013, "eve": 1011, "fred": 1011,
				"gil": wsbridge.CloseRefused, "": wsbridge.CloseRefused} {
				s := g.with(t, jwt.MapClaims{"sub": user})
				_ = s.Write(t.Context(), websocket.MessageText, []byte(`{"id":1,"type":"message","route":"echo","data":1}`))
				_, frame, err := s.next()
				if got := websocket.CloseStatus(err); got != code || strings.Contains(err.Error(), "secret") {
					t.Errorf("%q is closed with %v %v %s, want %v", user, got, err, frame, code)
				}
			}
			s := g.with(t, jwt.MapClaims{"sub": "ann"})
			for _, channel := range []string{"news", "room:1", "room:2"} {
				s.want(subscribed(channel))
			}
			publish(t, rdb, "cg:out:channel:room:2", `1`)
			s.want(`{"type":"message","channel":"room:2","data":1}`)

			raw := g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(token(t, "ann", time.Hour)), Subprotocols: nil})
			redistest.Eventually(t, "the raw session has its channels", func() bool {
				list, _, _, err := g.List(t.Context(), wsbridge.Filter{Channel: "room:2"}, 10, "")
				return err == nil && len(list) == 2
			})
			publish(t, rdb, "cg:out:channel:room:2", `2`)
			raw.want(`2`)
		})
	}
}

func TestWithoutAnAnswerToTheConnectTheClientIsToTryAgain(t *testing.T) {
	server := redistest.Start(t)
	g := startNode(t, server.Client(), `connect: {timeout: 50ms}, ping_interval: 10ms, ping_timeout: 10ms`)
	g.dial(t, nil).wantClose(websocket.StatusTryAgainLater) // nobody listens
	inbox := envelopes(t, server.Client())
	c := g.dial(t, nil)
	for m := range inbox {
		if m.Type == bus.Connect { // the end of the one before may come first
			break
		}
	}
	c.wantClose(websocket.StatusTryAgainLater) // it does not answer
	if m := nextEnvelope(t, inbox, bus.Disconnect); m.Code != int(websocket.StatusTryAgainLater) {
		t.Errorf("the service is told of code %d", m.Code)
	}
	server.Kill()
	redistest.Eventually(t, "the bus is down", func() bool { return !g.BusUp() })
	g.dial(t, nil).wantClose(websocket.StatusTryAgainLater)
	redistest.Eventually(t, "all are counted", func() bool { return g.of("closed 1013") == 3 })
}

func TestAClientWithoutWebSocketIsSubscribedAndPresentToo(t *testing.T) {
	g, rdb := start(t, `connect: {ask: true}, subscribe: ["user:{sub}"], channels: [{pattern: "user:*", presence: {}}]`)
	serve(t, rdb, func(s *service.Service) {
		s.Welcome(func(_ context.Context, m *service.Message) (*bus.Welcome, error) {
			return &bus.Welcome{Allow: m.User == "ann", Reason: "not you", Info: json.RawMessage(`{"by":"events"}`)}, nil
		})
	})
	ann := g.events(t, "?token="+token(t, "ann", time.Hour))
	ann.want(subscribed("user:ann"))
	redistest.Eventually(t, "the client is present", func() bool {
		p, err := g.Presence(t.Context(), "user:ann", "", 10)
		return err == nil && len(p.Members) == 1 && string(p.Members[0].Info) == `{"by":"events"}`
	})
	bob := g.events(t, "?token="+token(t, "bob", time.Hour))
	bob.wantEnd(int(wsbridge.CloseRefused))
	ann.leave()
	redistest.Eventually(t, "the client is gone", func() bool {
		p, err := g.Presence(t.Context(), "user:ann", "", 0)
		return err == nil && p.Connections == 0
	})
}
