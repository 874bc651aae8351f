package wsbridge_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// TestAChannelThatRedisDeniesTheGatewayIsDeniedItsSubscriber while the session and its other channels go on.
func TestAChannelThatRedisDeniesTheGatewayIsDeniedItsSubscriber(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	for _, rule := range [][]any{{"~*", "+@all", "resetchannels", "&cg:out:node:*", "&cg:out:all", "&cg:out:channel:open"}, {"&cg:*control*", "&cg:*peer*"}} {
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "gate", "on", ">pass"}, rule...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: server.Address, Username: "gate", Password: "pass"})
	t.Cleanup(func() { client.Close() })
	g := startNode(t, client, `channels: [{pattern: "*", subscribe: anyone}]`)
	redistest.Eventually(t, "the bus is up", g.BusUp)
	c := g.dial(t, nil)
	c.send(`{"id":1,"type":"subscribe","channel":"open"}`)
	c.want(`{"id":1,"type":"ok","channel":"open"}`)
	c.send(`{"id":2,"type":"subscribe","channel":"closed"}`)
	c.wantError("2", "permission_denied")
	if !g.BusUp() {
		t.Error("the bus is taken for down")
	}
	if err := admin.Publish(t.Context(), "cg:out:channel:open", `{"a":1}`).Err(); err != nil {
		t.Fatal(err)
	}
	c.want(`{"type":"message","channel":"open","data":{"a":1}}`)
}
