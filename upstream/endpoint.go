package upstream

import (
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/upstream/internal/health"
)

// endpoint is one backend as a pool knows it.
type endpoint struct {
	*link
	pool *Pool
	id   string // in cookies

	tracked bool         // requests are counted
	judged  bool         // and their outcomes
	active  atomic.Int64 // requests under way
	retired atomic.Bool  // the pool has let go of it

	// Below the pool's mutex.
	weight  int
	zone    string
	since   time.Time // when it began, or was well again
	sick    bool      // active checks say so
	checks  *health.Record
	ejected bool
	unwatch func() // ends its checks

	record record
}

// newEndpoint returns an endpoint of the pool that nothing is known of.
func (p *Pool) newEndpoint(address string, through *link) *endpoint {
	return &endpoint{
		link: through, pool: p, id: idOf(p.name, address), tracked: !p.plain, judged: p.config.OutlierDetection != nil, unwatch: func() {},
		checks: new(health.Record),
	}
}
