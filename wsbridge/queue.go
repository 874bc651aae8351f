package wsbridge

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// frame is one WebSocket message to be written. Its bytes may be shared with other sessions.
type frame struct {
	payload []byte
	binary  bool
}

// queue is what waits for one client. A goroutine writes only while something waits: an idle session has none.
type queue struct {
	mu      sync.Mutex
	frames  []frame
	bytes   int
	writing bool
	closed  bool
}

// send queues a frame. It never waits: a client for which more than the route's queue_size waits is closed.
func (s *session) send(f frame) {
	q := &s.queue
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	if q.bytes+len(f.payload) > s.route.queueSize && len(q.frames) > 0 {
		q.closed = true
		q.frames, q.bytes = nil, 0
		q.mu.Unlock()
		s.node.spawn(func() { s.end(CloseSlowConsumer, "too slow: more waits than the queue holds") })
		return
	}
	q.frames = append(q.frames, f)
	q.bytes += len(f.payload)
	start := !q.writing
	q.writing = true
	q.mu.Unlock()
	if start {
		s.node.spawn(s.write)
	}
}

// write writes what waits, and ends when nothing does.
func (s *session) write() {
	q := &s.queue
	var batch []frame
	for {
		q.mu.Lock()
		if len(q.frames) == 0 || q.closed {
			q.writing = false
			// Room for a few frames is kept, not what a burst took.
			if cap(q.frames) > 16 {
				q.frames = nil
			}
			q.mu.Unlock()
			return
		}
		batch, q.frames = q.frames, batch[:0]
		q.mu.Unlock()
		for i, f := range batch {
			kind := websocket.MessageText
			if f.binary {
				kind = websocket.MessageBinary
			}
			ctx, cancel := context.WithTimeout(context.Background(), s.route.pingTimeout)
			err := s.conn.Write(ctx, kind, f.payload)
			cancel()
			if err != nil {
				// A write that timed out has broken the connection: the reader ends the session.
				s.stopQueue()
				s.lost(CloseSlowConsumer)
				break
			}
			s.metrics.MessageOut()
			q.mu.Lock()
			q.bytes -= len(f.payload)
			q.mu.Unlock()
			batch[i] = frame{}
		}
	}
}

// stopQueue drops what waits and takes nothing more.
func (s *session) stopQueue() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.closed = true
	s.queue.frames, s.queue.bytes = nil, 0
}

// flushed waits until nothing waits for the client, or ctx ends.
func (s *session) flushed(ctx context.Context) {
	for {
		s.queue.mu.Lock()
		idle := s.queue.closed || !s.queue.writing
		s.queue.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
