package ratelimit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/crossgate/crossgate/ratelimit"
)

func Example() {
	limit := ratelimit.Limit{Events: 60, Per: time.Hour, Burst: 2}
	if err := limit.Check(); err != nil {
		fmt.Println(err)
		return
	}
	store := ratelimit.NewMemory()
	take := []ratelimit.Take{{Key: []byte("shop/192.0.2.1"), Limit: limit, Cost: 1}}
	var decisions []ratelimit.Decision
	for range 3 {
		var err error
		if decisions, err = store.Take(context.Background(), decisions[:0], take); err != nil {
			fmt.Println(err)
			return
		}
		d := decisions[0]
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter.Round(time.Minute))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 1m0s
}
