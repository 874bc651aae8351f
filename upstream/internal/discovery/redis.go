package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is what services register with a lease: for each endpoint a key that expires, whose value may have its weight and
// zone, and a set of all their addresses, so that no key has to be searched for. docs/upstreams.md is the contract.
type Redis struct {
	Client   redis.UniversalClient
	Prefix   string
	Service  string
	Interval time.Duration
}

// leases returns address and value of each lease that holds, and forgets the addresses of those that do not. The keys
// of a service are in one slot of a cluster, so those that the script makes up are where its first key is.
var leases = redis.NewScript(`
local found = {}
for _, address in ipairs(redis.call('SMEMBERS', KEYS[1])) do
	local value = redis.call('GET', ARGV[1] .. address)
	if value then
		found[#found + 1] = address
		found[#found + 1] = value
	else
		redis.call('SREM', KEYS[1], address)
	end
end
return found`)

// Run looks at the leases again and again.
func (r *Redis) Run(ctx context.Context, to *Listener) {
	for {
		list, err := r.read(ctx)
		if ctx.Err() != nil {
			return
		}
		to.learn(list, err)
		if !wait(ctx, r.Interval, nil) {
			return
		}
	}
}

// readTimeout bounds one look.
const readTimeout = 2 * time.Second

func (r *Redis) read(ctx context.Context) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	pairs, err := leases.Run(ctx, r.Client, []string{r.Prefix + "endpoints:{" + r.Service + "}"}, r.Prefix+"endpoint:{"+r.Service+"}:").StringSlice()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	var list []Endpoint
	for i := 0; i+1 < len(pairs); i += 2 {
		e, bad := parseLease(pairs[i], pairs[i+1])
		if bad != nil { // one service's mistake is no other's
			err = fmt.Errorf("redis: registration of %q: %w", pairs[i], bad)
			continue
		}
		list = append(list, e)
	}
	return list, err
}

// parseLease reads a registration. Its value is empty or JSON: {"weight": 2, "zone": "a"}.
func parseLease(address, value string) (Endpoint, error) {
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return Endpoint{}, fmt.Errorf("expected host:port")
	}
	e := struct {
		Weight int    `json:"weight"`
		Zone   string `json:"zone"`
	}{Weight: 1}
	if value != "" {
		if err := json.Unmarshal([]byte(value), &e); err != nil {
			return Endpoint{}, fmt.Errorf("expected JSON as {\"weight\": 2, \"zone\": \"a\"}")
		}
	}
	return Endpoint{Address: address, Weight: min(max(e.Weight, 1), 1000), Zone: e.Zone}, nil
}
