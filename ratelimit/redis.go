package ratelimit

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisDeadline is the longest a request waits for Redis before the limit's OnFailure applies.
const redisDeadline = 100 * time.Millisecond

// Redis keeps buckets over all nodes. Its clock is the server's, so that nodes need not agree on the time.
type Redis struct {
	client redis.UniversalClient
	prefix string
}

// NewRedis returns a store whose keys begin with prefix. A client of another type than *redis.Client needs
// ContextTimeoutEnabled. In a cluster the keys of one call must be in one slot, which a prefix with a hash tag sees to.
func NewRedis(client redis.UniversalClient, prefix string) *Redis {
	if c, ok := client.(*redis.Client); ok {
		// By default go-redis reads and writes by its own timeouts, of seconds, whatever the context's deadline.
		client = c.WithTimeout(redisDeadline)
	}
	return &Redis{client: client, prefix: prefix + "limit:"}
}

// script decides every key before it charges any. Times are microseconds; %.3f keeps what tostring would round away.
// ARGV holds, for each key, the interval of one event, the burst and the cost.
var script = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local all, out, leads = true, {}, {}
for i, key in ipairs(KEYS) do
  local interval, burst, cost = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local lead = math.max(0, (tonumber(redis.call('GET', key)) or 0) - now)
  local nextlead = lead + interval * cost
  local over = nextlead - interval * burst
  if over > 0.5 then all = false else over = 0 end
  leads[i] = {lead, nextlead}
  out[3*i-2] = math.ceil(over)
end
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1])
  local lead = all and leads[i][2] or leads[i][1]
  if all then
    redis.call('SET', key, string.format('%.3f', now + lead), 'PX', math.max(1, math.ceil(lead / 1000)))
  end
  out[3*i-1] = math.floor((interval * burst - lead) / interval + 0.000001)
  out[3*i] = math.ceil(lead)
end
return out
`)

// Take asks Redis once for all takes.
func (r *Redis) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, redisDeadline)
	defer cancel()
	keys := make([]string, len(takes))
	args := make([]any, 0, 3*len(takes))
	for i := range takes {
		t := &takes[i]
		keys[i] = r.prefix + string(t.Key)
		interval := float64(t.Limit.interval()) / float64(time.Microsecond)
		args = append(args, strconv.FormatFloat(interval, 'f', 3, 64), t.Limit.Burst, t.Cost)
	}
	out, err := script.Run(ctx, r.client, keys, args...).Int64Slice()
	if err != nil {
		return dst, fmt.Errorf("ratelimit: redis: %w", err)
	}
	if len(out) != 3*len(takes) {
		return dst, fmt.Errorf("ratelimit: redis: %d numbers came back, %d were expected", len(out), 3*len(takes))
	}
	for i := range takes {
		over, remaining, lead := out[3*i], out[3*i+1], out[3*i+2]
		dst = append(dst, Decision{
			Allowed:    over == 0,
			Limit:      takes[i].Limit.Burst,
			Remaining:  int(max(0, remaining)),
			Reset:      time.Duration(lead) * time.Microsecond,
			RetryAfter: time.Duration(over) * time.Microsecond,
		})
	}
	return dst, nil
}
