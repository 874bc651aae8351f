package wsbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

// signed returns a token with these claims, valid for an hour unless they say otherwise.
func signed(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	if claims["exp"] == nil {
		claims["exp"] = time.Now().Add(time.Hour).Unix()
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (g *gateway) with(t *testing.T, claims jwt.MapClaims) *client {
	t.Helper()
	return g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(signed(t, claims)), Subprotocols: []string{wsbridge.Subprotocol}})
}

func TestChannelsOfAnIdentity(t *testing.T) {
	g, _ := start(t, `channels: [
		{pattern: "user:{sub}"}, {pattern: "user:*", roles: [support]},
		{pattern: "org:{claims.org}:*"}, {pattern: "lounge:*", subscribe: anyone}, {pattern: "*", subscribe: nobody}]`)
	sessions := map[string]*client{
		"ann":       g.with(t, jwt.MapClaims{"sub": "ann", "org": "acme"}),
		"helper":    g.with(t, jwt.MapClaims{"sub": "helper", "roles": []string{"support"}}),
		"anonymous": g.dial(t, nil),
	}
	for i, c := range []struct {
		who, channel string
		want         bool
	}{
		{"ann", "user:ann", true},
		{"ann", "user:bob", false},
		{"ann", "org:acme:sales", true},
		{"ann", "org:umbrella:sales", false},
		{"helper", "user:ann", true},
		{"helper", "org:acme:sales", false},
		{"anonymous", "user:", false},
		{"anonymous", "lounge:1", true},
		{"ann", "elsewhere", false},
	} {
		s := sessions[c.who]
		s.send(fmt.Sprintf(`{"id":%d,"type":"subscribe","channel":%q}`, i, c.channel))
		if c.want {
			s.want(fmt.Sprintf(`{"id":%d,"type":"ok","channel":%q}`, i, c.channel))
		} else {
			s.wantError(fmt.Sprint(i), "permission_denied")
		}
	}
	if g.of("refused") != 5 {
		t.Errorf("%d refusals are counted", g.of("refused"))
	}
}

func TestSubscriptionTokens(t *testing.T) {
	g, rdb := start(t, `channels: [{pattern: "doc:*", subscribe: token}]`)
	ann, anonymous := g.as(t, "ann"), g.dial(t, nil)
	for i, c := range []struct {
		name  string
		who   *client
		token string
		want  string // the code of the error
	}{
		{"no token", ann, "", "unauthenticated"},
		{"a token that is none", ann, "abc", "unauthenticated"},
		{"the token of the session", ann, token(t, "ann", time.Hour), "permission_denied"},
		{"a token that is over", ann, signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:1", "exp": time.Now().Unix() - 1}), "unauthenticated"},
		{"a token for another user", ann, signed(t, jwt.MapClaims{"sub": "bob", "channel": "doc:1"}), "permission_denied"},
		{"a token for nobody", ann, signed(t, jwt.MapClaims{"channel": "doc:1"}), "permission_denied"},
		{"a token for another channel", ann, signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:2"}), "permission_denied"},
		{"a token for channels that are like it", ann, signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:*"}), "permission_denied"},
		{"another user's token, without a user", anonymous, signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:1"}), "permission_denied"},
		{"a token for this user and channel", ann, signed(t, jwt.MapClaims{"sub": "ann", "channel": "doc:1"}), ""},
		{"a token for anybody, without a user", anonymous, signed(t, jwt.MapClaims{"channel": []string{"doc:0", "doc:1"}}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.who.send(fmt.Sprintf(`{"id":%d,"type":"subscribe","channel":"doc:1","token":%q}`, i, c.token))
			if c.want != "" {
				c.who.wantError(fmt.Sprint(i), c.want)
				return
			}
			c.who.want(fmt.Sprintf(`{"id":%d,"type":"ok","channel":"doc:1"}`, i))
		})
	}
	publish(t, rdb, "cg:out:channel:doc:1", `1`)
	ann.want(`{"type":"message","channel":"doc:1","data":1}`)
	anonymous.want(`{"type":"message","channel":"doc:1","data":1}`)
}

func TestAServiceDecidesAboutSubscriptions(t *testing.T) {
	for _, delivery := range []string{"at_most_once", "at_least_once"} {
		t.Run(delivery, func(t *testing.T) {
			g, rdb := start(t, "delivery: "+delivery+`, channels: [
				{pattern: "doc:*", subscribe: service, decision_ttl: 1h}, {pattern: "now:*", subscribe: service, decision_ttl: 0s}]`)
			var asked atomic.Int32
			var options []service.Option
			if delivery == "at_least_once" {
				options = append(options, service.WithQueue())
			}
			serve(t, rdb, func(s *service.Service) {
				s.Authorize(func(_ context.Context, m *service.Message) error {
					asked.Add(1)
					switch {
					case m.Channel == "doc:gone":
						return &bus.ReplyError{Code: "not_found", Message: "no such document"}
					case m.User == "" && m.Channel != "doc:public":
						return &bus.ReplyError{Code: "permission_denied", Message: "not yours"}
					}
					return nil
				})
			}, options...)
			ann, again, anonymous := g.with(t, jwt.MapClaims{"sub": "ann", "exp": 4e9}), g.with(t, jwt.MapClaims{"sub": "ann", "exp": 4e9}), g.dial(t, nil)
			other := g.with(t, jwt.MapClaims{"sub": "ann", "exp": 4e9, "admin": true})
			ok := func(c *client, channel string, total int32) {
				t.Helper()
				c.send(fmt.Sprintf(`{"id":1,"type":"subscribe","channel":%q}`, channel))
				c.want(fmt.Sprintf(`{"id":1,"type":"ok","channel":%q}`, channel))
				if n := asked.Load(); n != total {
					t.Fatalf("the service was asked %d times, want %d", n, total)
				}
			}
			denied := func(c *client, channel, code string, total int32) {
				t.Helper()
				c.send(fmt.Sprintf(`{"id":2,"type":"subscribe","channel":%q}`, channel))
				c.wantError("2", code)
				if n := asked.Load(); n != total {
					t.Fatalf("the service was asked %d times, want %d", n, total)
				}
			}
			ok(ann, "doc:1", 1)
			ok(again, "doc:1", 1) // the same user with the same claims
			ok(other, "doc:1", 2) // the same user with others
			ok(ann, "doc:2", 3)
			denied(ann, "doc:gone", "not_found", 4)
			denied(again, "doc:gone", "not_found", 5) // no answer about the right to it
			denied(anonymous, "doc:1", "permission_denied", 6)
			denied(anonymous, "doc:1", "permission_denied", 7) // anonymous sessions differ in more than their claims
			ok(anonymous, "doc:public", 8)
			ok(ann, "now:1", 9)
			ok(again, "now:1", 10)

			publish(t, rdb, "cg:out:channel:doc:1", `1`)
			for _, c := range []*client{ann, again, other} {
				c.want(`{"type":"message","channel":"doc:1","data":1}`)
			}
		})
	}
}

func TestAServiceThatDoesNotDecideAllowsNothing(t *testing.T) {
	g, rdb := start(t, `channels: [{pattern: "*", subscribe: service}]`)
	c := g.as(t, "ann")
	c.send(`{"id":1,"type":"subscribe","channel":"a"}`)
	c.want(`{"id":1,"type":"error","code":"unavailable","message":"no instance of the service is listening"}`)

	hasty := startNode(t, rdb, `reply_timeout: 100ms, channels: [{pattern: "*", subscribe: service}]`).as(t, "ann")
	hasty.roundTrip()
	inbox := envelopes(t, rdb)
	hasty.send(`{"type":"subscribe","channel":"a"}`)
	m := nextEnvelope(t, inbox, bus.Subscribe)
	if m.Channel != "a" || m.User != "ann" || m.Claims == nil {
		t.Errorf("the service is asked %+v", m)
	}
	hasty.wantError("", "deadline_exceeded")
	for i, answer := range []string{`"data":{"ok":true}`, `"data":true`, `"data":{"allow":"true"}`, `"data":{"allow":false}`, `"data_base64":"e30="`} {
		c.send(fmt.Sprintf(`{"id":%d,"type":"subscribe","channel":"b%d"}`, i, i))
		m := nextEnvelope(t, inbox, bus.Subscribe)
		publish(t, rdb, m.ReplyTo, fmt.Sprintf(`{"connection":%q,"in_reply_to":%q,%s}`, m.Connection, m.ID, answer))
		c.wantError(fmt.Sprint(i), "permission_denied")
	}
	// Other frames are not held up by a service that takes its time.
	c.send(`{"id":"slow","type":"subscribe","channel":"c"}`)
	slow := nextEnvelope(t, inbox, bus.Subscribe)
	c.roundTrip()
	answer, _ := json.Marshal(bus.Outbound{Connection: slow.Connection, InReplyTo: slow.ID, Data: json.RawMessage(`{"allow":true}`)})
	publish(t, rdb, slow.ReplyTo, string(answer))
	c.want(`{"id":"slow","type":"ok","channel":"c"}`)
}
