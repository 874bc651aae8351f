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

	room int64        // for copies
	held atomic.Int64 // copies that are being made, wait or are under way

	running context.Context // ends with Close
	stop    context.CancelFunc

	mu         sync.Mutex
	waiting    []send
	idle       int // goroutines that may still be started
	closed     bool
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
}

// New returns a mirror. Nothing runs until there is something to copy.
func New(cfg *config.Mirror, o Options) *Mirror {
	m := &Mirror{
		to: o.Backend, share: cfg.Percent, most: int(cfg.MaxBodySize), timeout: cfg.Timeout.Std(), without: map[string]bool{},
		room: int64(cfg.MaxConcurrent + cfg.MaxPending), idle: cfg.MaxConcurrent,
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
	case m.held.Add(1) > m.room:
		m.held.Add(-1)
		m.counts[dropped].Inc()
		return false
	}
	return true
}

// giveUp gives the room of a copy back that is not made.
func (m *Mirror) giveUp(why result) {
	m.counts[why].Inc()
	m.held.Add(-1)
}

// add has a copy sent, now or when one of those before it has been. It does not wait.
func (m *Mirror) add(s send) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		m.giveUp(dropped)
	case m.idle > 0:
		m.idle--
		m.background.Go(func() { m.work(s) }) // ends when nothing waits, or with Close
	default:
		m.waiting = append(m.waiting, s)
	}
}

// work sends a copy, and then those that wait.
func (m *Mirror) work(s send) {
	for s != nil {
		ctx, cancel := context.WithTimeout(m.running, m.timeout)
		ok := s(ctx)
		cancel()
		if ok {
			m.giveUp(answered)
		} else {
			m.giveUp(failed)
		}
		s = m.next()
	}
}

// next returns the copy that has waited longest, nil when none does and the goroutine is to end.
func (m *Mirror) next() send {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		m.waiting = nil
		m.idle++
		return nil
	}
	s := m.waiting[0]
	m.waiting[0] = nil
	m.waiting = m.waiting[1:]
	return s
}

// Idle reports whether no copy is being made, waits or is under way.
func (m *Mirror) Idle() bool { return m.held.Load() == 0 }

// Close drops what waits, ends what is under way, and returns when nothing of it runs. There are no copies of later
// requests.
func (m *Mirror) Close() {
	m.mu.Lock()
	m.closed = true
	for range m.waiting {
		m.giveUp(dropped)
	}
	m.waiting = nil
	m.mu.Unlock()
	m.stop()
	m.background.Wait()
}
