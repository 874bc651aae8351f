package transcoder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

const (
	// batchSize is how much may wait for a client that is slower than the backend, beyond one message; then the backend
	// has to wait.
	batchSize = 64 << 10
	// lastWrite is how long a client has to take what is left to say to it once a call is over.
	lastWrite = 5 * time.Second
)

// batches hold frames on their way. A stream on which nothing waits holds none.
var batches = sync.Pool{New: func() any { return new([]byte) }}

// relay hands a backend's stream on. A goroutine receives and prints, and the handler's own writes: what has come by then
// goes out in one piece, and is flushed; nothing waits for a message that has not come.
type relay struct {
	method *Method
	w      http.ResponseWriter
	r      *http.Request
	rc     *http.ResponseController
	stream grpc.ClientStream
	in     *sender // where the requests come from, nil when all have been sent

	broken bool // a raw answer ended too early

	came  chan struct{} // something waits, or the stream has ended
	taken chan struct{} // what waited is being written

	mu      sync.Mutex
	frames  framer
	kind    []byte // the media type of a raw answer, as its first message has it
	waiting *[]byte
	err     error // why the stream ended, io.EOF when it ended well
	over    bool  // the stream itself has ended, and has its trailers; not what came by it alone, which could not be handed on
}

// relay writes nothing before the first message or the end, so that an error before it is a plain HTTP error. It returns
// when nothing of the stream runs; ctx is the call's, and cancel ends it.
func (m *Method) relay(ctx context.Context, cancel context.CancelFunc, w http.ResponseWriter, r *http.Request, stream grpc.ClientStream, in *sender) {
	y := &relay{
		method: m, w: w, r: r, rc: http.NewResponseController(w), stream: stream, in: in, frames: m.framer(r),
		came: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	received := make(chan struct{})
	go func() { // ends with the stream, which the cancel below ends
		defer close(received)
		y.ended(Guard(func() error { return y.receive(ctx) }))
	}()
	release := LimitWrites(ctx, y.rc)
	y.write()
	release()
	cancel()
	<-received
	y.drop()
	if y.broken {
		// What a raw answer is cannot say that it ends too early, but the connection can.
		panic(http.ErrAbortHandler)
	}
}

// LimitWrites bounds how long a client that reads nothing can hold on to a call that is over: from the end of ctx it has
// five seconds to take what is left. release must be called before the handler returns.
func LimitWrites(ctx context.Context, rc *http.ResponseController) (release func()) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = rc.SetWriteDeadline(time.Now().Add(lastWrite))
	})
	return func() {
		if !stop() {
			<-fired
		}
	}
}

// receive takes messages until the stream ends, and waits while enough of them wait. It returns why the stream has ended.
func (y *relay) receive(ctx context.Context) error {
	for {
		var message mem.Buffer
		if err := y.stream.RecvMsg(&message); err != nil {
			y.over = true // read once ended has been called
			return err
		}
		err := y.add(message.ReadOnlyData())
		message.Free()
		if err != nil {
			return err
		}
		wake(y.came)
		for y.full() {
			select {
			case <-y.taken:
			case <-ctx.Done():
				// Receiving tells why.
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
}

func (y *relay) ended(err error) {
	y.mu.Lock()
	y.err = err
	y.mu.Unlock()
	wake(y.came)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add prints a message behind those that wait.
func (y *relay) add(wire []byte) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.waiting == nil {
		y.waiting = batches.Get().(*[]byte)
	}
	first := !y.frames.any
	if raw := y.method.rawOut; raw != nil {
		kind, data, err := raw.parse(wire)
		if err != nil {
			return err
		}
		if first {
			y.frames.any, y.kind = true, bytes.Clone(kind)
		}
		*y.waiting = append(*y.waiting, data...)
		return nil
	}
	frame, err := y.method.response.AppendJSON(y.frames.open(*y.waiting, wire), wire)
	if err != nil {
		y.frames.any = !first
		return fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	*y.waiting = y.frames.close(frame)
	return nil
}

func (y *relay) full() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.waiting != nil && len(*y.waiting) >= batchSize
}

// take returns what waits, nil for nothing, and why the stream has ended if nothing more will come.
func (y *relay) take() (batch *[]byte, end error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.waiting != nil && len(*y.waiting) > 0 {
		batch, y.waiting = y.waiting, nil
		wake(y.taken)
		return batch, nil
	}
	return nil, y.err
}

func giveBack(batch *[]byte) {
	if cap(*batch) <= keepable {
		*batch = (*batch)[:0]
		batches.Put(batch)
	}
}

// drop lets go of what nobody will write.
func (y *relay) drop() {
	if y.waiting != nil {
		giveBack(y.waiting)
		y.waiting = nil
	}
}

// write writes until the stream has ended or the client is gone.
func (y *relay) write() {
	silence := y.keepAlive()
	defer silence.Stop()
	started := false
	for {
		batch, end := y.take()
		switch {
		case batch != nil:
			if !started {
				started = true
				y.begin()
			}
			if _, err := y.w.Write(*batch); err != nil {
				return // with the batch: HTTP/2's server may still be reading it
			}
			giveBack(batch)
			if y.rc.Flush() != nil {
				return
			}
			silence.Reset()
			// What has come meanwhile goes next.
		case end != nil:
			y.end(end, started)
			return
		default:
			select {
			case <-y.came:
			case <-silence.C():
				if !started {
					// The backend's header has not come, and to ask for it would be to wait for it.
					started = true
					y.beginWith(nil)
				}
				if _, err := io.WriteString(y.w, keepAlive); err != nil || y.rc.Flush() != nil {
					return
				}
				silence.Reset()
			}
		}
		if started && y.r.Method == http.MethodHead {
			return
		}
	}
}

// silence is a timer that runs out when nothing has been written for a while. The zero silence never does.
type silence struct {
	timer *time.Timer
	after time.Duration
}

// keepAlive starts the timer for a comment, which only events have.
func (y *relay) keepAlive() silence {
	after := y.method.options.Streams.KeepAlive
	if y.frames.framing != Events || y.method.rawOut != nil || after <= 0 {
		return silence{}
	}
	return silence{time.NewTimer(after), after}
}

func (s silence) C() <-chan time.Time {
	if s.timer == nil {
		return nil
	}
	return s.timer.C
}

func (s silence) Reset() {
	if s.timer != nil {
		s.timer.Reset(s.after)
	}
}

func (s silence) Stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (y *relay) begin() {
	md, err := y.stream.Header()
	if err != nil {
		md = nil
	}
	y.beginWith(md)
}

func (y *relay) beginWith(md metadata.MD) {
	h := y.w.Header()
	y.method.back.header(h, md)
	if raw := y.method.rawOut; raw != nil {
		raw.header(h, y.kind)
	} else {
		y.frames.framing.header(h)
	}
	y.w.WriteHeader(http.StatusOK)
}

// trailer returns the backend's trailers, none before they have come.
func (y *relay) trailer() metadata.MD {
	if !y.over {
		return nil
	}
	return y.stream.Trailer()
}

// end tells the client how the stream ended: err is io.EOF when it ended well.
func (y *relay) end(err error, started bool) {
	if err = y.in.cause(err); !started && !errors.Is(err, io.EOF) {
		h := y.w.Header()
		if md, headerErr := y.stream.Header(); headerErr == nil {
			y.method.back.header(h, md)
		}
		y.method.back.named(h, y.trailer())
		y.method.fail(y.w, y.r, err)
		return
	}
	withTrailers := y.r.ProtoMajor > 1 || takesTrailers(y.r)
	if !started {
		y.begin()
		if withTrailers {
			// An empty body whose length net/http finds out would have no trailers.
			_ = y.rc.Flush()
		}
	}
	var last []byte
	s := status.New(codes.OK, "")
	switch ended := errors.Is(err, io.EOF); {
	case y.method.rawOut != nil:
		if y.broken = !ended; y.broken {
			return
		}
	case ended:
		last = y.frames.end(nil)
	default:
		s = status.Convert(AsStatus(err))
		last = y.frames.failure(nil, AppendStatus(nil, s, y.method.options.JSON.Resolver))
	}
	if len(last) > 0 && y.r.Method != http.MethodHead {
		if _, err := y.w.Write(last); err != nil {
			return
		}
	}
	if withTrailers {
		h := y.w.Header()
		trailers(h, y.trailer())
		SetGRPCStatus(h, http.TrailerPrefix, s)
	}
}
