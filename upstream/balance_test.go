package upstream

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/upstream/internal/discovery"
)

// endpointsOf makes endpoints that are never connected to: {address weight zone}.
func endpointsOf(p *Pool, of ...discovery.Endpoint) []*endpoint {
	var list []*endpoint
	for _, d := range of {
		list = append(list, &endpoint{pool: p, link: &link{address: d.Address}, id: idOf(p.name, d.Address), weight: d.Weight, zone: d.Zone, tracked: true})
	}
	return list
}

// shares chooses often and returns which part of the requests each endpoint got. Each request stays under way while as many
// others are chosen.
func shares(p *Pool, v *view, others int, key func(i int) Key) map[string]float64 {
	const n = 60000
	got := map[string]float64{}
	var underWay []*endpoint
	for i := range n {
		e := v.endpoints[p.choose(v, key(i))]
		e.active.Add(1)
		got[e.address] += 1.0 / n
		if underWay = append(underWay, e); len(underWay) > others {
			underWay[0].active.Add(-1)
			underWay = underWay[1:]
		}
	}
	for _, e := range underWay {
		e.active.Add(-1)
	}
	return got
}

func TestRequestsAreSharedOutAsConfigured(t *testing.T) {
	now := time.Now()
	abc := []discovery.Endpoint{{Address: "a:1", Weight: 1}, {Address: "b:1", Weight: 1}, {Address: "c:1", Weight: 1}}
	weighted := []discovery.Endpoint{{Address: "a:1", Weight: 1}, {Address: "b:1", Weight: 3}, {Address: "c:1", Weight: 6}}
	zoned := []discovery.Endpoint{
		{Address: "a1:1", Weight: 1, Zone: "a"}, {Address: "a2:1", Weight: 1, Zone: "a"}, {Address: "a3:1", Weight: 1, Zone: "a"}, {Address: "a4:1", Weight: 1, Zone: "a"},
		{Address: "b1:1", Weight: 1, Zone: "b"}, {Address: "b2:1", Weight: 1, Zone: "b"},
	}
	sick := func(addresses ...string) func([]*endpoint) {
		return func(list []*endpoint) {
			for _, e := range list {
				for _, a := range addresses {
					e.sick = e.sick || e.address == a
				}
			}
		}
	}
	cookies := func(i int) Key { return KeyOf("user-" + strconv.Itoa(i)) }
	for _, c := range []struct {
		name      string
		balancing config.Balancing
		endpoints []discovery.Endpoint
		prepare   func([]*endpoint)
		key       func(int) Key
		want      map[string]float64
	}{
		{"round robin gives each the same", config.Balancing{Policy: "round_robin"}, abc, nil, nil, map[string]float64{"a:1": 1. / 3, "b:1": 1. / 3, "c:1": 1. / 3}},
		{"round robin by weight", config.Balancing{Policy: "round_robin"}, weighted, nil, nil, map[string]float64{"a:1": .1, "b:1": .3, "c:1": .6}},
		{"least request where all take as long", config.Balancing{}, abc, nil, nil, map[string]float64{"a:1": 1. / 3, "b:1": 1. / 3, "c:1": 1. / 3}},
		{"least request by weight", config.Balancing{}, weighted, nil, nil, map[string]float64{"a:1": .1, "b:1": .3, "c:1": .6}},
		{"least request avoids one that has much to do", config.Balancing{}, abc, func(l []*endpoint) { l[1].active.Store(1000) }, nil, map[string]float64{"a:1": .5, "c:1": .5}},
		{"a hash of many users", config.Balancing{Policy: "hash"}, abc, nil, cookies, map[string]float64{"a:1": 1. / 3, "b:1": 1. / 3, "c:1": 1. / 3}},
		{"a hash by weight", config.Balancing{Policy: "hash"}, weighted, nil, cookies, map[string]float64{"a:1": .1, "b:1": .3, "c:1": .6}},
		{"a hash without a key", config.Balancing{Policy: "hash"}, abc, nil, nil, map[string]float64{"a:1": 1. / 3, "b:1": 1. / 3, "c:1": 1. / 3}},
		{"a sick one gets nothing", config.Balancing{PanicThreshold: 50}, abc, sick("b:1"), nil, map[string]float64{"a:1": .5, "c:1": .5}},
		{"below the panic threshold health does not count", config.Balancing{PanicThreshold: 50}, abc, sick("a:1", "b:1"), nil, map[string]float64{"a:1": 1. / 3, "b:1": 1. / 3, "c:1": 1. / 3}},
		{"without a threshold the last healthy one bears it all", config.Balancing{}, abc, sick("a:1", "b:1"), nil, map[string]float64{"c:1": 1}},
		{"a zone keeps its requests", config.Balancing{Zone: "a"}, zoned, nil, nil, map[string]float64{"a1:1": .25, "a2:1": .25, "a3:1": .25, "a4:1": .25}},
		{"also while one in four is sick", config.Balancing{Zone: "a", Policy: "round_robin"}, zoned, sick("a1:1"), nil, map[string]float64{"a2:1": 1. / 3, "a3:1": 1. / 3, "a4:1": 1. / 3}},
		{"half a zone carries 70 %, by least request, too", config.Balancing{Zone: "a"}, zoned, sick("a1:1", "a2:1"), nil, map[string]float64{"a3:1": .35, "a4:1": .35, "b1:1": .15, "b2:1": .15}},
		{"half a zone carries 70 % and the rest spills over", config.Balancing{Zone: "a", Policy: "round_robin"}, zoned, sick("a1:1", "a2:1"), nil, map[string]float64{"a3:1": .35, "a4:1": .35, "b1:1": .15, "b2:1": .15}},
		{"a zone that is gone", config.Balancing{Zone: "a"}, zoned, sick("a1:1", "a2:1", "a3:1", "a4:1"), nil, map[string]float64{"b1:1": .5, "b2:1": .5}},
		{"a zone that has no endpoints", config.Balancing{Zone: "c"}, zoned[3:5], nil, nil, map[string]float64{"a4:1": .5, "b1:1": .5}},
		{"a new one begins with a tenth", config.Balancing{SlowStart: config.Duration(time.Minute), Policy: "round_robin"}, abc, func(l []*endpoint) { l[0].since = now }, nil, map[string]float64{"a:1": .1 / 2.1, "b:1": 1 / 2.1, "c:1": 1 / 2.1}},
		{"by least request, too", config.Balancing{SlowStart: config.Duration(time.Minute)}, abc, func(l []*endpoint) { l[0].since = now }, nil, map[string]float64{"a:1": .1 / 2.1, "b:1": 1 / 2.1, "c:1": 1 / 2.1}},
		{"and has half its share after half its time", config.Balancing{SlowStart: config.Duration(time.Minute), Policy: "round_robin"}, abc, func(l []*endpoint) { l[0].since = now.Add(-30 * time.Second) }, nil, map[string]float64{"a:1": .2, "b:1": .4, "c:1": .4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.key == nil {
				c.key = func(int) Key { return Key{} }
			}
			for _, others := range []int{0, 10, 100} { // under way
				p := &Pool{name: "shop", policy: policies[c.balancing.Policy]}
				list := endpointsOf(p, c.endpoints...)
				if c.prepare != nil {
					c.prepare(list)
				}
				got := shares(p, newView(list, &c.balancing, now), others, c.key)
				for _, e := range list {
					if math.Abs(got[e.address]-c.want[e.address]) > .02 {
						t.Errorf("beside %d others %s gets %.3f of the requests, want %.3f", others, e.address, got[e.address], c.want[e.address])
					}
				}
			}
		})
	}
}

// TestTheOthersShareWhatAnEndpointLeaves is about requests that go elsewhere because the endpoint chosen for them does not take them.
func TestTheOthersShareWhatAnEndpointLeaves(t *testing.T) {
	for policy, key := range map[string]func(int) Key{
		"round_robin": func(int) Key { return Key{} }, "least_request": func(int) Key { return Key{} },
		"hash": func(i int) Key { return KeyOf(strconv.Itoa(i)) },
	} {
		t.Run(policy, func(t *testing.T) {
			p := &Pool{name: "shop", policy: policies[policy], keyed: true}
			list := endpointsOf(p, discovery.Endpoint{Address: "a:1", Weight: 1}, discovery.Endpoint{Address: "b:1", Weight: 1},
				discovery.Endpoint{Address: "c:1", Weight: 1}, discovery.Endpoint{Address: "d:1", Weight: 1})
			p.view.Store(newView(list, &config.Balancing{Policy: policy}, time.Now()))
			got, n := map[*endpoint]float64{}, 0.0
			for i := range 20000 {
				ctx := WithKey(context.Background(), key(i))
				turn := p.turn(ctx)
				if first, _ := turn.next(ctx); first != list[1] {
					continue
				}
				second, _ := turn.next(ctx)
				got[second]++
				n++
				seen := map[*endpoint]bool{list[1]: true, second: true}
				for range 2 {
					e, anyway := turn.next(ctx)
					if seen[e] = true; anyway {
						t.Fatal("an endpoint is tried twice before others are once")
					}
				}
				if len(seen) != 4 {
					t.Fatalf("%d endpoints of 4 are tried in a round", len(seen))
				}
				again := p.turn(ctx)
				if _, _ = again.next(ctx); policy == "hash" {
					if e, _ := again.next(ctx); e != second {
						t.Fatal("a key leads elsewhere the second time")
					}
				}
			}
			for _, e := range list {
				if share := got[e] / n; e != list[1] && math.Abs(share-1./3) > .05 {
					t.Errorf("%s gets %.2f of what b leaves, want a third", e.address, share)
				}
			}
		})
	}
}

func TestAnEndpointThatGoesMovesNobodyElsesKeys(t *testing.T) {
	p := &Pool{name: "shop", policy: hashed}
	var all []discovery.Endpoint
	for i := range 10 {
		all = append(all, discovery.Endpoint{Address: fmt.Sprintf("10.0.0.%d:1", i), Weight: 1})
	}
	cfg := &config.Balancing{Policy: "hash"}
	before, after := newView(endpointsOf(p, all...), cfg, time.Time{}), newView(endpointsOf(p, all[1:]...), cfg, time.Time{})
	moved := 0
	const keys = 10000
	for i := range keys {
		k := KeyOf(strconv.Itoa(i))
		was, is := before.endpoints[p.choose(before, k)].address, after.endpoints[p.choose(after, k)].address
		if was != is && was != all[0].Address {
			moved++
		}
	}
	// Maglev moves a few: figure 12 of the paper.
	if moved > keys*3/100 {
		t.Errorf("%d of %d keys of other endpoints moved", moved, keys)
	}
}

func TestAKeyAndACookieLeadToOneEndpoint(t *testing.T) {
	a, b, c := startBackend(t, nil), startBackend(t, nil), startBackend(t, nil)
	cfg := upstreamOf(a.address, b.address, c.address)
	cfg.Balancing = config.Balancing{Policy: "hash", HashOn: "user", Sticky: &config.Sticky{Cookie: "c"}}
	p := openSet(t, nil, cfg).Pool("shop")
	ctx := testContext(t)
	connectAll(t, ctx, p, a, b, c)
	for range 10 {
		byKey, err := call(WithKey(ctx, KeyOf("ann")), p, "x")
		if want := p.view.Load().endpoints[p.choose(p.view.Load(), KeyOf("ann"))].address; err != nil || byKey != want {
			t.Fatalf("ann's call was answered by %q, %v, want %s", byKey, err, want)
		}
		key := p.Stick("forged", Key{})
		byCookie, err := call(WithKey(ctx, p.Stick(key.Cookie(), Key{})), p, "x")
		if err != nil || idOf("shop", byCookie) != key.Cookie() {
			t.Fatalf("a call with the cookie of %s was answered by %s, %v", key.Cookie(), byCookie, err)
		}
	}
}

// connectAll calls until all backends have answered.
func connectAll(t *testing.T, ctx context.Context, p *Pool, backends ...*backend) {
	t.Helper()
	until(t, "all to be connected", func() bool {
		_, err := call(ctx, p, "x")
		for _, b := range backends {
			if b.calls.Load() == 0 {
				return false
			}
		}
		return err == nil
	})
}

func TestEndpointsChangeWithoutAFailedCall(t *testing.T) {
	a, b, c := startBackend(t, nil), startBackend(t, nil), startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address, b.address)).Pool("shop")
	ctx := testContext(t)
	callers := startCallers(t, func() error { _, err := call(ctx, p, "x"); return err })
	connectAll(t, ctx, p, a, b)
	conns := a.conns.Load()
	for i := range 50 {
		list := []discovery.Endpoint{{Address: a.address, Weight: 1}, {Address: b.address, Weight: 1 + i}}
		if i%2 == 1 {
			list[1].Address = c.address
		}
		if err := p.update(list); err != nil {
			t.Fatal(err)
		}
		before := callers.calls.Load()
		until(t, "some calls", func() bool { return callers.calls.Load() > before+20 })
	}
	callers.stop(t)
	if n := a.conns.Load(); n != conns && n > conns+1 { // the second connection may have come up late
		t.Errorf("the endpoint that stayed was connected to %d times", n)
	}
	until(t, "what has gone to be closed", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.leaving) == 0
	})
}

func TestAnEndpointThatGoesEndsItsCallsFirst(t *testing.T) {
	a, b := startBackend(t, nil), startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address, closedAddress(t))).Pool("shop")
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error)
	go func() { done <- p.Invoke(ctx, &Call{Method: "/t.T/Hang", Request: []byte("x")}, new(Reply)) }()
	until(t, "the call to arrive", func() bool { return a.calls.Load() > 0 })
	if err := p.update([]discovery.Endpoint{{Address: b.address, Weight: 1}}); err != nil {
		t.Fatal(err)
	}
	if got, err := call(ctx, p, "x"); err != nil || got != b.address {
		t.Errorf("answered by %q, %v", got, err)
	}
	select {
	case err := <-done:
		t.Fatalf("the call under way ended: %v", err)
	default:
	}
	cancel()
	<-done
	until(t, "it to be closed", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.leaving) == 0
	})
}
