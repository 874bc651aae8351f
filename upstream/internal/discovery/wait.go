package discovery

import (
	"context"
	"errors"
	"time"
)

var errNone = errors.New("there are no endpoints")

const (
	// lookAgain is how often a file is read without a reason.
	lookAgain = 30 * time.Second
	// soonest is how soon a question is asked again whose answer says so, or has failed.
	soonest = time.Second
)

// wait waits until it is time, or sooner has a value; false when ctx has ended.
func wait(ctx context.Context, d time.Duration, sooner <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-sooner:
		return true
	case <-ctx.Done():
		return false
	}
}
