package upstream

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/fault"
)

var errSilent = fault.New(fault.DeadlineExceeded, "the stream was silent for longer than the route's stream_idle_timeout")

// idleWatch gives a stream up that is silent for too long. A nil one never does.
type idleWatch struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context // the stream's
}

// watchIdle returns the context of a stream that may be silent for so long; 0 for ever.
func watchIdle(ctx context.Context, limit time.Duration) (context.Context, *idleWatch) {
	if limit == 0 {
		return ctx, nil
	}
	w := &idleWatch{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, func() { w.cancel(errSilent) })
	return w.ctx, w
}

// moved notes that something has come or gone.
func (w *idleWatch) moved() {
	if w != nil && w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
}

func (w *idleWatch) stop() {
	if w != nil {
		w.timer.Stop()
		w.cancel(nil)
	}
}

// explain says that silence is what ended a stream, where it is.
func (w *idleWatch) explain(err error) error {
	if w != nil && err != nil && errors.Is(context.Cause(w.ctx), errSilent) {
		return errSilent
	}
	return err
}

// idleStream is a stream that may not be silent for too long.
type idleStream struct {
	grpc.ClientStream
	watch *idleWatch
}

func (s *idleStream) SendMsg(m any) error {
	s.watch.moved()
	return s.ClientStream.SendMsg(m)
}

func (s *idleStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		err = s.watch.explain(err)
		s.watch.stop()
		return err
	}
	s.watch.moved()
	return nil
}

// idleBody is the body of an answer that may not be silent for too long.
type idleBody struct {
	io.ReadCloser
	watch *idleWatch
}

func (b *idleBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.moved()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.watch.explain(err)
	}
	return n, err
}

func (b *idleBody) Close() error {
	err := b.ReadCloser.Close()
	b.watch.stop()
	return err
}
