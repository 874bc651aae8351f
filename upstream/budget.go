package upstream

import (
	"sync/atomic"

	"github.com/crossgate/crossgate/config"
)

// budget bounds the retries and hedges of a pool by the requests that are under way on routes that may have some.
type budget struct {
	percent, least int64
	requests       atomic.Int64
	extra          atomic.Int64
}

func newBudget(cfg config.RetryBudget) *budget {
	return &budget{percent: int64(cfg.Percent), least: int64(cfg.MinConcurrent)}
}

// take begins a retry, if there is room for one.
func (b *budget) take() bool {
	most := max(b.least, b.requests.Load()*b.percent/100)
	if b.extra.Add(1) > most {
		b.extra.Add(-1)
		return false
	}
	return true
}

func (b *budget) give() { b.extra.Add(-1) }
