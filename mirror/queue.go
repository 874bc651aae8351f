package mirror

import (
	"sync"
	"sync/atomic"
)

// queue is the copies of a route: those of its mirror, and of the mirrors that it had in configurations before.
type queue struct {
	held atomic.Int64 // copies that are being made, wait or are under way

	mu       sync.Mutex
	waiting  []waiting
	underWay int
}

// waiting is a copy that waits, and whose it is.
type waiting struct {
	mirror *Mirror
	send   send
}

// add has a copy sent, now or when one of those before it has been. It does not wait.
func (m *Mirror) add(s send) {
	q := m.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.closed {
		m.giveUp(dropped)
		return
	}
	q.waiting = append(q.waiting, waiting{m, s})
	q.start()
}

// start begins what has waited longest while there may be more under way. The caller holds the lock.
func (q *queue) start() {
	for len(q.waiting) > 0 && q.underWay < q.waiting[0].mirror.concurrent {
		one := q.waiting[0]
		q.waiting[0] = waiting{}
		q.waiting = q.waiting[1:]
		q.underWay++
		one.mirror.background.Go(func() { // ends with the copy, or with Close
			one.mirror.send(one.send)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.underWay--
			q.start()
		})
	}
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
}

// drop drops what waits of a mirror, and what it would add.
func (q *queue) drop(m *Mirror) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m.closed = true
	var others []waiting
	for _, one := range q.waiting {
		if one.mirror == m {
			m.giveUp(dropped)
		} else {
			others = append(others, one)
		}
	}
	q.waiting = others
	q.start()
}
