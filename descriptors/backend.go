package descriptors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/config"
)

const (
	// reflectTimeout bounds one conversation with a backend.
	reflectTimeout = 10 * time.Second
	// firstReflection is how long the first load waits for a backend; later it is asked in the background.
	firstReflection = 3 * time.Second
	// reflectRetry is how soon a backend that is up but gave no good answer is asked again, twice as late each time up to
	// reflectRetryMax: it may still be starting.
	reflectRetry    = time.Second
	reflectRetryMax = 30 * time.Second
)

// Backend is a pool of backends that reflection can ask. *upstream.Pool is one.
type Backend interface {
	Conn() grpc.ClientConnInterface
	// Watch calls ready whenever a connection to a backend has come up, until ctx ends.
	Watch(ctx context.Context, ready func())
}

// askUnheard asks the backends of which nothing has been heard, all at once and not for long. What they answer later is
// for Watch to notice.
func (l *Loader) askUnheard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstReflection)
	defer cancel()
	var asking sync.WaitGroup
	for i := range l.config.Descriptors {
		d := &l.config.Descriptors[i]
		if d.Reflection == nil {
			continue
		}
		l.mu.Lock()
		heard := l.reflected[d.Reflection.Upstream] != nil || l.reflectErr[d.Reflection.Upstream] != nil
		l.mu.Unlock()
		if !heard {
			asking.Go(func() { l.reflect(ctx, d) })
		}
	}
	asking.Wait()
}

// reflect asks the backend and keeps the answer. It reports whether Load has something new to say, and whether the
// backend could not be understood.
func (l *Loader) reflect(ctx context.Context, d *config.DescriptorSource) (changed, failed bool) {
	src, err := l.askBackend(ctx, d)
	l.mu.Lock()
	defer l.mu.Unlock()
	upstream := d.Reflection.Upstream
	before := l.reflectErr[upstream]
	l.reflectErr[upstream] = err
	if err != nil {
		return before == nil || before.Error() != err.Error(), true
	}
	if old := l.reflected[upstream]; old != nil && old.digest == src.digest && old.name == src.name {
		return before != nil, false
	}
	l.reflected[upstream] = src
	return true, false
}

func (l *Loader) askBackend(ctx context.Context, d *config.DescriptorSource) (*source, error) {
	name := sourceName(d)
	backend := l.backends(d.Reflection.Upstream)
	if backend == nil {
		return nil, fmt.Errorf("descriptors: %s: there is no upstream %s", name, d.Reflection.Upstream)
	}
	src, err := reflectSet(ctx, name, backend.Conn())
	if err != nil {
		return nil, err
	}
	// A backend's annotations are no more trusted than the rest: wrong ones leave out that backend, not the whole load.
	if err := src.check(ctx, l.rules); err != nil {
		return nil, err
	}
	return src, nil
}

// watchReflection asks the backend whenever a connection to it comes up, and every interval.
func (l *Loader) watchReflection(ctx context.Context, d *config.DescriptorSource) {
	backend := l.backends(d.Reflection.Upstream)
	if backend == nil {
		return
	}
	up := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		backend.Watch(ctx, func() {
			select {
			case up <- struct{}{}:
			default:
			}
		})
	})
	var tick <-chan time.Time
	if every := d.Reflection.Interval.Std(); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C
	}
	again := time.NewTimer(reflectRetry)
	again.Stop()
	defer again.Stop()
	for wait := reflectRetry; ; {
		select {
		case <-ctx.Done():
			return
		case <-up:
			wait = reflectRetry
		case <-tick:
		case <-again.C:
		}
		asking, cancel := context.WithTimeout(ctx, reflectTimeout)
		changed, failed := l.reflect(asking, d)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if failed {
			again.Reset(wait)
			wait = min(2*wait, reflectRetryMax)
		} else {
			again.Stop()
			wait = reflectRetry
		}
		if changed {
			l.notify()
		}
	}
}
