package upstream

import (
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// Set is the pools of one configuration. It is immutable and safe for concurrent use.
type Set struct {
	pools  map[string]*Pool
	closed atomic.Bool
}

// Options are what pools need besides their configuration.
type Options struct {
	// Redis has the endpoints that services register, below Prefix. Without it there are none.
	Redis  redis.UniversalClient
	Prefix string
	// Telemetry gets what happens to endpoints; nil for nobody.
	Telemetry *telemetry.Telemetry
}

// Open makes a pool for each upstream. A pool of prev, which may be nil, whose configuration and certificate files are
// the same is carried over with its connections; one that has changed keeps its endpoints, how they are and their connections
// where the change does not concern those. No backend needs to be up: connections are made when they are needed.
// Errors are config.Errors.
func Open(upstreams []config.Upstream, o Options, prev *Set) (*Set, error) {
	s := &Set{pools: make(map[string]*Pool, len(upstreams))}
	var errs config.Errors
	for i := range upstreams {
		cfg := &upstreams[i]
		p, err := open(cfg, &o, prev.Pool(cfg.Name))
		if err != nil {
			errs.Add(cfg.Pos, err)
			continue
		}
		s.pools[cfg.Name] = p
	}
	if err := errs.Err(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Pool returns the pool called name, nil when there is none.
func (s *Set) Pool(name string) *Pool {
	if s == nil {
		return nil
	}
	return s.pools[name]
}

// Close lets go of the set's pools. A pool that no other set holds is closed, which breaks calls in flight on it: close
// a set when its last request has ended.
func (s *Set) Close() {
	if s == nil || s.closed.Swap(true) {
		return
	}
	for _, p := range s.pools {
		p.release()
	}
}
