package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// line is the place of one connection for unary calls: it connects when a call needs it, and anew when the connection
// has ended.
type line struct {
	dial    func(ctx context.Context) (net.Conn, error)
	options unary.Options
	timeout time.Duration // to connect
	current atomic.Pointer[unary.Conn]

	mu      sync.Mutex
	attempt *attempt // under way, or the last one
	failed  int      // attempts in a row
	again   time.Time
	closed  bool
	stop    context.CancelFunc
	running sync.WaitGroup
}

// attempt is one try to connect.
type attempt struct {
	over chan struct{} // closed when it is
	err  error
}

// Between attempts that fail in a row pass 100 ms, growing to 2 s: a backend that has come back is found soon, and one
// that is overwhelmed is left alone.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

var errLineClosed = errors.New("the upstream was closed")

// ready returns the connection if it takes calls, nil otherwise.
func (l *line) ready() *unary.Conn {
	if c := l.current.Load(); c != nil && c.Usable() {
		return c
	}
	return nil
}

// connect begins to connect unless that is under way or was tried just now. It returns the attempt to wait for, which
// may be over.
func (l *line) connect() *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.attempt
	switch {
	case l.closed:
		return over(errLineClosed)
	case l.ready() != nil:
		return over(nil)
	case a != nil && !a.isOver():
		return a
	case a != nil && a.err != nil && time.Now().Before(l.again):
		return a
	}
	a = &attempt{over: make(chan struct{})}
	l.attempt = a
	ctx, stop := context.WithTimeout(context.Background(), l.timeout)
	l.stop = stop
	l.running.Add(1)
	go func() { // ends with the attempt, which the timeout or close ends
		defer l.running.Done()
		defer stop()
		c, err := l.open(ctx)
		l.settle(a, c, err)
	}()
	return a
}

func (l *line) open(ctx context.Context) (*unary.Conn, error) {
	socket, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	return unary.Open(ctx, socket, l.options)
}

func (l *line) settle(a *attempt, c *unary.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.err = err
	defer close(a.over)
	if err != nil {
		l.again = time.Now().Add(min(firstPause<<min(l.failed, 8), lastPause))
		l.failed++
		return
	}
	l.failed = 0
	l.current.Store(c)
}

// wait returns the connection once an attempt is over.
func (l *line) wait(ctx context.Context, deadline time.Time) (*unary.Conn, error) {
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	a := l.connect()
	select {
	case <-a.over:
	default:
		select {
		case <-a.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	if c := l.ready(); c != nil {
		return c, nil
	}
	return nil, errors.New("the backend ended the connection")
}

func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	if l.stop != nil {
		l.stop()
	}
	l.mu.Unlock()
	l.running.Wait()
	if c := l.current.Load(); c != nil {
		c.Close()
	}
}

func over(err error) *attempt {
	a := &attempt{over: make(chan struct{}), err: err}
	close(a.over)
	return a
}

func (a *attempt) isOver() bool {
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}
