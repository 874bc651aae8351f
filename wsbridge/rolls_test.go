package wsbridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

type uncounted struct{ NodeMetrics }

func (uncounted) Present(int)     {}
func (uncounted) PresenceFailed() {}

func TestWhoComesAndGoesWhileRedisIsAwayLeavesNothingBehind(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	p := newRolls(&Node{name: "n", keys: bus.Keys{Prefix: "cg:"}, metrics: uncounted{}}, bus.One(client))
	defer p.close()
	for _, grace := range []time.Duration{0, time.Millisecond} {
		rule := &presenceRule{ttl: time.Minute, grace: grace}
		for i := range 1000 {
			channel, connection := fmt.Sprint("room:", i%100), fmt.Sprint("connection", i)
			p.join(channel, rule, connection, "ann", nil)
			p.leave(channel, connection, true)
		}
	}
	p.join("room:1", &presenceRule{ttl: time.Minute}, "stays", "ann", nil)
	redistest.Eventually(t, "one is left", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		l := p.rolls["room:1"]
		return len(p.rolls) == 1 && len(l.members) == 1 && len(l.changed) == 1 && len(p.leaving) == 0 && len(p.stuck) == 1
	})
}
