package upstream

import (
	"context"
	"testing"

	"github.com/crossgate/crossgate/config"
)

func TestChoosingAnEndpointAllocatesNothingAndCountsNothingWhereThereIsOne(t *testing.T) {
	cfg := upstreamOf("10.0.0.1:1")
	p := openSet(t, nil, cfg).Pool("shop")
	if e := p.view.Load().endpoints[0]; e.tracked || e.judged || p.gate != nil {
		t.Error("a pool of one endpoint counts its requests")
	}
	if p.For(&config.Route{}, true) != Backend(p) {
		t.Error("a route that sets nothing does not call the pool itself")
	}
	cfg = upstreamOf("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	cfg.OutlierDetection = &config.OutlierDetection{ConsecutiveFailures: 5, Interval: ms(1000), BaseEjection: ms(1000), MaxEjection: ms(1000)}
	for _, pool := range []*Pool{p, openSet(t, nil, cfg).Pool("shop")} {
		ctx := context.Background()
		n := 1.0
		for range 10 { // what else runs may allocate meanwhile
			n = min(n, testing.AllocsPerRun(100, func() {
				turn := pool.turn(ctx)
				e, _ := turn.next(ctx)
				ride, _ := e.take()
				ride.done(succeeded)
			}))
		}
		if n != 0 {
			t.Errorf("%v allocations for a request among %d endpoints", n, len(pool.list))
		}
	}
}
