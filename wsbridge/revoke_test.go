package wsbridge_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge"
)

// wantRefused wants an upgrade with this token to be refused.
func (g *gateway) wantRefused(t *testing.T, token string) {
	t.Helper()
	conn, answer, err := websocket.Dial(t.Context(), g.server.URL, &websocket.DialOptions{HTTPHeader: bearer(token)})
	if err == nil {
		conn.CloseNow()
		t.Fatal("a revoked token opens a session")
	}
	if answer == nil || answer.StatusCode != http.StatusForbidden {
		t.Fatalf("the upgrade ends in %v", err)
	}
}

func TestRevocationReachesEveryNode(t *testing.T) {
	server := redistest.Start(t)
	one, two := startNode(t, server.Client(), ""), startNode(t, server.Client(), "")
	issued := time.Now().Unix() - 60
	old := signed(t, jwt.MapClaims{"sub": "ann", "iat": issued})
	single := signed(t, jwt.MapClaims{"sub": "bob", "iat": issued, "jti": "t1"})
	other := signed(t, jwt.MapClaims{"sub": "bob", "iat": issued, "jti": "t2"})

	open := func(g *gateway, token string) *client {
		return g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(token), Subprotocols: []string{wsbridge.Subprotocol}})
	}
	ann1, ann2, bob1, bob2 := open(one, old), open(two, old), open(two, single), open(two, other)

	began := time.Now()
	if _, err := one.Revoke(t.Context(), auth.Revocation{User: "ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Revoke(t.Context(), auth.Revocation{TokenID: "t1", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{ann1, ann2, bob1} {
		c.wantClose(wsbridge.CloseRevoked)
	}
	t.Logf("the last session was closed after %v", time.Since(began))
	bob2.roundTrip()
	for _, g := range []*gateway{one, two, startNode(t, server.Client(), "")} { // the third starts afterwards
		g.wantRefused(t, old)
		g.wantRefused(t, single)
		open(g, other).roundTrip()
	}
	bob2.send(`{"id":1,"type":"refresh","token":"` + single + `"}`)
	bob2.wantError("1", "unauthenticated")
}

func TestARevocationThroughRedisAlone(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	g := startNode(t, rdb, "")
	ann := token(t, "ann", time.Hour)
	c := g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(ann)})
	publish(t, rdb, "cg:control", `{"type":"revoke","user":"ann"}`)
	c.wantClose(wsbridge.CloseRevoked)
	g.wantRefused(t, ann)
	for _, malformed := range []string{`x`, `{}`, `{"type":"revoke"}`, `{"type":"revoke","user":"a","token_id":"b"}`, `{"type":"other"}`} {
		publish(t, rdb, "cg:control", malformed)
	}
	redistest.Eventually(t, "what is malformed is counted", func() bool { return g.of("malformed") == 5 })
}

func TestRevocationsAreLearntWhenTheBusIsBack(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	g := startNode(t, rdb, "")
	ann := token(t, "ann", time.Hour)
	c := g.dial(t, &websocket.DialOptions{HTTPHeader: bearer(ann)})
	until := time.Now().Add(time.Hour)
	// As another node would have, of which this one hears nothing until it has been cut off and comes back.
	if err := rdb.ZAdd(t.Context(), "cg:revoked", redis.Z{
		Score:  float64(until.Unix()),
		Member: `{"user":"ann","before":"` + time.Now().Format(time.RFC3339) + `","until":"` + until.Format(time.RFC3339) + `"}`,
	}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	c.want(`{"type":"bus","state":"down"}`)
	c.wantClose(wsbridge.CloseRevoked)
	g.wantRefused(t, ann)
}
