package ws

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/centrifugal/centrifuge"
)

// TestMain is also the program that serves as the peer: a test binary that is told where to listen does nothing else.
func TestMain(m *testing.M) {
	if address := os.Getenv("PEER_ADDRESS"); address != "" {
		fmt.Fprintln(os.Stderr, serveCentrifuge(address, os.Getenv("PEER_REDIS")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// centrifugeNode returns a node on the broker that the library has for Redis.
func centrifugeNode(redis string) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: redis})
	if err != nil {
		return nil, err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return nil, err
	}
	node.SetBroker(broker)
	return node, nil
}

// serveCentrifuge lets anyone connect and subscribe to anything.
func serveCentrifuge(address, redis string) error {
	node, err := centrifugeNode(redis)
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: "anyone"}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	http.Handle("/ws", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }}))
	return http.ListenAndServe(address, nil)
}
