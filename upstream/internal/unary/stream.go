package unary

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
)

// stream is one call under way. All of it but the channels is the connection's, below its mutex, until the stream has
// ended. It is pooled.
type stream struct {
	id    uint32 // 0 until it has a place among the connection's streams
	reply *Reply
	ended chan error    // has one value, once the stream is none of the connection's any more
	turn  chan struct{} // has a value when a place is free
	timer *time.Timer

	// What is left to be sent: prefix and message as one, from an offset.
	prefix  [prefixSize]byte
	request []byte
	sent    int
	window  int64

	answer   response
	length   [prefixSize]byte
	received progress
	have     int // bytes of the prefix, then of the message
	size     int // of the message
	taken    int // bytes that the peer has not been told of
}

// prefixSize is that of the prefix of a message: whether it is compressed, and its length in four bytes
// (PROTOCOL-HTTP2.md, Length-Prefixed-Message).
const prefixSize = 5

// progress is how much of the answer's message is there.
type progress uint8

const (
	nothing   progress = iota
	announced          // the prefix
	whole
)

var streams = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &stream{ended: make(chan error, 1), turn: make(chan struct{}, 1), timer: t}
}}

func newStream(call *Call, reply *Reply) *stream {
	s := streams.Get().(*stream)
	s.reply, s.request = reply, call.Request
	n := len(call.Request)
	s.prefix = [prefixSize]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	return s
}

// release gives s back, whose channels are empty and which no connection knows.
func (s *stream) release() {
	s.timer.Stop()
	*s = stream{ended: s.ended, turn: s.turn, timer: s.timer}
	streams.Put(s)
}

// errNotSent says that the backend has not begun with a call, so that it may be sent again.
var errNotSent = errors.New("the backend did not begin with the call")

// NotSent reports whether the backend has not begun with a call that ended with err, so that it may go to another.
func NotSent(err error) bool { return errors.Is(err, errNotSent) }

func contextError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.ErrDeadline
	}
	return fault.ErrClientGone
}

var errCanceled = invalid(codes.Canceled, "the backend canceled the call")

// deadlineSlack is how much sooner than ours a backend's clock may find that the same deadline has passed. It then
// resets the stream.
const deadlineSlack = 20 * time.Millisecond

// Invoke makes a call and waits for its answer, its deadline, or the end of ctx. The error is a gRPC status, or one
// that NotSent knows. reply is empty before.
func (c *Conn) Invoke(ctx context.Context, call *Call, reply *Reply) error {
	s := newStream(call, reply)
	defer s.release()
	var timeout <-chan time.Time
	now := time.Time{}
	if !call.Deadline.IsZero() {
		now = time.Now()
		left := call.Deadline.Sub(now)
		if left <= 0 {
			return fault.ErrDeadline
		}
		s.timer.Reset(left)
		timeout = s.timer.C
	}
	if err := c.place(ctx, s, timeout); err != nil {
		return err
	}
	if err := c.send(s, call, now); err != nil {
		return err
	}
	err := c.wait(ctx, s, timeout)
	if errors.Is(err, errCanceled) && timeout != nil && time.Until(call.Deadline) < deadlineSlack {
		return fault.ErrDeadline
	}
	return err
}

// wait returns how a call ended that was sent.
func (c *Conn) wait(ctx context.Context, s *stream, timeout <-chan time.Time) error {
	select {
	case err := <-s.ended:
		return err
	case <-ctx.Done():
		return c.abandon(s, contextError(ctx.Err()))
	case <-timeout:
		return c.abandon(s, fault.ErrDeadline)
	}
}

// abandon ends a stream that its caller no longer waits for, unless it has ended just so.
func (c *Conn) abandon(s *stream, why error) error {
	c.mu.Lock()
	if c.streams[s.id] != s {
		c.mu.Unlock()
		return <-s.ended
	}
	c.forget(s)
	c.out = appendReset(c.out, s.id, codeCancel)
	c.flush()
	return why
}

// data takes a part of the answer's message. It reports false when the call has failed by it, and why.
func (s *stream) data(p []byte, most int) (ok bool, why error) {
	if s.received == nothing {
		n := copy(s.length[s.have:], p)
		s.have += n
		p = p[n:]
		if s.have < prefixSize {
			return true, nil
		}
		size := uint32(s.length[1])<<24 | uint32(s.length[2])<<16 | uint32(s.length[3])<<8 | uint32(s.length[4])
		switch {
		case s.length[0] != 0:
			return false, fault.Errorf(fault.UpstreamAnswerInvalid, "the backend compressed its answer with %q, which it was not asked to", s.answer.compressed)
		case int64(size) > int64(most):
			return false, fault.ErrAnswerTooLarge
		}
		s.received, s.size = announced, int(size)
		// What a backend declares reserves no more memory than it has sent, but for a first piece.
		if first := min(s.size, 64<<10); cap(s.reply.body) < first {
			s.reply.body = make([]byte, 0, first)
		}
	}
	if len(p) > s.size-len(s.reply.body) {
		return false, fault.New(fault.UpstreamAnswerInvalid, "the backend answered with more than one message")
	}
	s.reply.body = append(s.reply.body, p...)
	if len(s.reply.body) == s.size {
		s.received = whole
	}
	return true, nil
}
