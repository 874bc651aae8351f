package mirror

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream"
)

// Mirror copies a route's requests. Its methods are safe for concurrent use. A nil one copies nothing.
type Mirror struct {
	to      upstream.Backend
	share   config.Percent
	most    int // bytes of a body
	timeout time.Duration
	without map[string]bool // headers that copies do not have, in lower case
	counts  [results]prometheus.Counter

	queue      *queue
	concurrent int          // copies under way at a time
	room       int64        // for copies
	held       atomic.Int64 // copies that are being made, wait or are under way: those of this mirror

	running    context.Context // ends with Close
	stop       context.CancelFunc
	closed     bool // under the queue's lock
	background sync.WaitGroup
}

// send sends a copy and reports whether it was answered as by a backend that is well.
type send func(context.Context) bool

// Options are what a mirror needs besides its configuration.
type Options struct {
	// Backend gets the copies.
	Backend upstream.Backend
	// Credentials are the names of headers, in lower case, that copies have only where the configuration passes credentials.
	Credentials []string
	Metrics     *telemetry.RouteMetrics
	// Previous is what the route had before, nil for none. Copies of both count together: however often a configuration is loaded
	// while copies are stuck, there are never more of them than it allows.
	Previous *Mirror
}

// New returns a mirror. Nothing runs until there is something to copy.
func New(cfg *config.Mirror, o Options) *Mirror {
	m := &Mirror{
		to: o.Backend, share: cfg.Percent, most: int(cfg.MaxBodySize), timeout: cfg.Timeout.Std(), without: map[string]bool{},
		queue: &queue{}, concurrent: cfg.MaxConcurrent, room: int64(cfg.MaxConcurrent + cfg.MaxPending),
	}
	if o.Previous != nil {
		m.queue = o.Previous.queue
	}
	if cfg.Credentials == "strip" {
		for _, name := range o.Credentials {
			m.without[name] = true
		}
	}
	for r := range m.counts {
		m.counts[r] = o.Metrics.Mirrored(result(r).String())
	}
	m.running, m.stop = context.WithCancel(context.Background())
	return m
}

// result is what became of a copy.
type result uint8

const (
	answered result = iota
	failed
	dropped    // there was no room for it
	tooLarge   // the body is
	incomplete // the request's body was not read to its end
	results
)

func (r result) String() string {
	return [...]string{"answered", "failed", "dropped", "too_large", "incomplete"}[r]
}

// reserve reports whether there is to be a copy of a request with so many bytes of body, -1 for any number, and then holds
// room for it, which add or giveUp takes.
func (m *Mirror) reserve(size int64) bool {
	switch {
	case m.share < config.Whole && rand.N(config.Whole) >= m.share:
		return false
	case size > int64(m.most):
		m.counts[tooLarge].Inc()
		return false
	case m.queue.held.Add(1) > m.room:
		m.queue.held.Add(-1)
		m.counts[dropped].Inc()
		return false
	}
	m.held.Add(1)
	return true
}

// giveUp gives the room of a copy back that is no more.
func (m *Mirror) giveUp(why result) {
	m.counts[why].Inc()
	m.queue.held.Add(-1)
	m.held.Add(-1)
}

// send sends a copy, in a goroutine of its own.
func (m *Mirror) send(s send) {
	ctx, cancel := context.WithTimeout(m.running, m.timeout)
	defer cancel()
	if s(ctx) {
		m.giveUp(answered)
	} else {
		m.giveUp(failed)
	}
}

// Idle reports whether no copy is being made, waits or is under way.
func (m *Mirror) Idle() bool { return m.held.Load() == 0 }

// Close drops what waits, ends what is under way, and returns when nothing of it runs. There are no copies of later
// requests.
func (m *Mirror) Close() {
	m.queue.drop(m)
	m.stop()
	m.background.Wait()
}
