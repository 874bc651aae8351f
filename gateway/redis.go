package gateway

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// defaultPrefix begins every key when the configuration has no redis section.
const defaultPrefix = "cg:"

// What go-redis has to say of a server that is gone, the bus says once, in the process log.
func init() { logging.Disable() }

// redisLink is the Redis this node shares with services and other nodes.
type redisLink struct {
	servers  *bus.Servers
	prefix   string
	patience time.Duration // of limits
	embedded *embedded     // nil when the server is somebody else's
}

// openRedis makes clients for the configured servers, or starts the embedded one on a free loopback port, which
// any Redis client can join. A server that cannot be reached is no error: what needs it says so when it is used.
func openRedis(cfg *config.Redis) (*redisLink, error) {
	if cfg == nil {
		server, err := startEmbedded()
		if err != nil {
			return nil, err
		}
		servers, err := bus.Open("redis://" + server.Addr())
		if err != nil {
			server.close()
			return nil, fmt.Errorf("gateway: embedded redis: %w", err)
		}
		return &redisLink{servers: servers, prefix: defaultPrefix, patience: ratelimit.DefaultDeadline, embedded: server}, nil
	}
	servers, err := bus.Open(cfg.Addresses()...)
	if err != nil {
		return nil, config.Errorf(cfg.Pos, "redis: %w", err)
	}
	return &redisLink{servers: servers, prefix: cfg.Prefix, patience: cfg.LimitTimeout.Std()}, nil
}

// first is the client of what is neither a channel nor a stream: limits and registered descriptors. Of several servers
// the first has them.
func (l *redisLink) first() redis.UniversalClient { return l.servers.First() }

// addr is where services find the servers.
func (l *redisLink) addr() string { return strings.Join(l.servers.Names(), ",") }

func (l *redisLink) close() {
	_ = l.servers.Close()
	if l.embedded != nil {
		l.embedded.close()
	}
}

// embedded is a Redis inside this process.
type embedded struct {
	*miniredis.Miniredis
	stop    chan struct{}
	ticking sync.WaitGroup
}

func startEmbedded() (*embedded, error) {
	e := &embedded{Miniredis: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if err := e.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("gateway: embedded redis: %w", err)
	}
	e.ticking.Go(e.tick)
	return e, nil
}

// tick has time pass for what expires: the embedded server does not see to it by itself.
func (e *embedded) tick() {
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	last := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case now := <-seconds.C:
			e.FastForward(now.Sub(last))
			last = now
		}
	}
}

func (e *embedded) close() {
	close(e.stop)
	e.ticking.Wait()
	e.Close()
}
