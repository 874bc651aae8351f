package gateway

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/crossgate/crossgate/config"
)

// defaultPrefix begins every key when the configuration has no redis section.
const defaultPrefix = "cg:"

// What go-redis has to say of a server that is gone, the bus says once, in the process log.
func init() { logging.Disable() }

// redisLink is the Redis this node shares with services and other nodes.
type redisLink struct {
	client   *redis.Client
	prefix   string
	embedded *miniredis.Miniredis // nil when the server is somebody else's
}

// openRedis makes a client for the configured server, or starts the embedded one on a free loopback port, which
// any Redis client can join. A server that cannot be reached is no error: what needs it says so when it is used.
func openRedis(cfg *config.Redis) (*redisLink, error) {
	if cfg == nil {
		server := miniredis.NewMiniRedis()
		if err := server.StartAddr("127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("gateway: embedded redis: %w", err)
		}
		return &redisLink{client: redis.NewClient(&redis.Options{Addr: server.Addr()}), prefix: defaultPrefix, embedded: server}, nil
	}
	opts, err := redis.ParseURL(cfg.URL.Reveal())
	if err != nil {
		// The parser's own words may repeat the URL, and with it the password.
		return nil, config.Errorf(cfg.Pos, "redis: url is not redis://[user:password@]host:port/db")
	}
	return &redisLink{client: redis.NewClient(opts), prefix: cfg.Prefix}, nil
}

// addr is where services find the server.
func (l *redisLink) addr() string { return l.client.Options().Addr }

func (l *redisLink) close() {
	l.client.Close()
	if l.embedded != nil {
		l.embedded.Close()
	}
}
