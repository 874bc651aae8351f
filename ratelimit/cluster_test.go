package ratelimit

import (
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/redistest"
)

func TestTakesOfSeveralSlotsAreChargedAllOrNone(t *testing.T) {
	store := startNode(t, redistest.StartCluster(t).Client())
	two := Limit{Events: 2, Per: time.Hour, Burst: 2}
	take := func(slot string, l Limit) Take { return Take{Key: []byte(slot), Slot: slot, Limit: l, Cost: 1} }
	call := func(takes ...Take) []Decision {
		t.Helper()
		d, err := store.Take(t.Context(), nil, takes)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	names := []string{"a", "b", "c", "d", "e"} // of several masters
	for i := range 2 {
		var takes []Take
		for _, n := range names {
			takes = append(takes, take(n, two))
		}
		for _, d := range call(takes...) {
			if !d.Allowed || d.Remaining != 1-i {
				t.Fatalf("call %d: %+v", i, d)
			}
		}
	}
	// "a" is used up: what the others were charged comes back.
	d := call(take("a", two), take("fresh", two), take("quota", dailyQuota(2)), take("place", atOnce(1)))
	if d[0].Allowed || !d[1].Allowed || d[1].Remaining != 2 {
		t.Errorf("%+v", d)
	}
	for _, fresh := range []Take{take("fresh", two), take("quota", dailyQuota(2)), take("place", atOnce(1))} {
		fresh.Cost = 2
		eventually(t, "all of "+fresh.Slot+" is there", func() bool { return call(fresh)[0].Allowed })
	}
}
