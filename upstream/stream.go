package upstream

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NewStream opens a stream of a method. Its messages are mem.Buffers: SendMsg takes a mem.Buffer that stays the
// caller's, RecvMsg a *mem.Buffer, nil before the call, whose result the caller frees. The stream is given up when ctx
// ends, which it must, or when RecvMsg has returned an error.
func (p *Pool) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error) {
	t := p.turn(ctx)
	return t.newStream(ctx, desc, method)
}

// newStream opens a stream at the next endpoint that can be reached, when the pool lets it in.
func (t *turn) newStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error) {
	g := t.pool.gate
	if g == nil {
		return t.open(ctx, desc, method, nil)
	}
	if err := g.enter(ctx, deadlineOf(ctx)); err != nil {
		return nil, err
	}
	s, err := t.open(ctx, desc, method, g)
	if err != nil {
		g.leave(0, unjudged)
	}
	return s, err
}

func (t *turn) open(ctx context.Context, desc *grpc.StreamDesc, method string, g *gate) (grpc.ClientStream, error) {
	var last error
	for {
		e, anyway := t.next(ctx)
		if e == nil {
			return nil, t.pool.unreachable(last)
		}
		c, ready := e.conn()
		if !anyway && (!ready || e.isDown()) {
			continue
		}
		r, ok := e.take()
		if !ok {
			continue
		}
		s, err := c.NewStream(ctx, desc, method)
		if err == nil {
			if !e.tracked {
				return stream{s, ctx}, nil
			}
			r.gate = g
			tracked := &trackedStream{stream: stream{s, ctx}, ride: r}
			tracked.stop = context.AfterFunc(ctx, func() { tracked.end(outcomeOfContext(ctx)) })
			return tracked, nil
		}
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			r.done(unjudged)
			return nil, callError(ctx, err)
		}
		e.failed()
		r.done(disconnected)
		last = err
	}
}

// stream is a grpc.ClientStream whose errors are fit to be shown.
type stream struct {
	grpc.ClientStream
	call context.Context // the caller's; grpc-go ends its own with the stream
}

func (s stream) RecvMsg(m any) error { return callError(s.call, s.ClientStream.RecvMsg(m)) }
func (s stream) SendMsg(m any) error { return callError(s.call, s.ClientStream.SendMsg(m)) }

// trackedStream is one that counts among the requests of its endpoint, until it has ended.
type trackedStream struct {
	stream
	ride  ride
	ended atomic.Bool
	stop  func() bool // waiting for the caller to give it up
}

func (s *trackedStream) RecvMsg(m any) error {
	err := s.stream.RecvMsg(m)
	switch {
	case errors.Is(err, io.EOF):
		s.stop()
		s.end(succeeded)
	case err != nil:
		s.stop()
		s.end(outcomeOf(s.call, err))
	}
	return err
}

func (s *trackedStream) end(o outcome) {
	if !s.ended.Swap(true) {
		s.ride.done(o)
	}
}
