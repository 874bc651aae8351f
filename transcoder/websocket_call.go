package transcoder

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// socketCall is one call over a WebSocket. A goroutine reads the client's frames and sends them to the backend; the
// handler's own receives from the backend and writes. Neither reads on while what it has read is not taken, so that a slow
// side slows the other.
type socketCall struct {
	*Socket
	given  SocketCall
	conn   *websocket.Conn
	params []codec.Param
	ctx    context.Context // of the call; its cause is why the call was ended
	cancel context.CancelCauseFunc

	stream   grpc.ClientStream
	first    chan []byte // the request of a method that takes one message
	complete bool        // no more requests are taken; the reader's
	ended    bool        // the client has ended its requests; the reader's

	binary atomic.Bool // answers are protobuf
	fixed  bool        // by the subprotocol, whatever the client sends

	reading atomic.Bool  // the reader waits for the client
	heard   atomic.Int64 // frames that came
}

// serve returns the code that the connection was closed with.
func (c *socketCall) serve() websocket.StatusCode {
	stop := context.AfterFunc(c.given.Life, func() { c.cancel(fault.ErrShuttingDown) })
	defer stop()
	var running sync.WaitGroup
	err := c.open(&running)
	if err == nil {
		err = c.relay()
	}
	if cause := context.Cause(c.ctx); status.Code(err) == codes.Canceled && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	c.cancel(nil)
	code, reason := closing(err)
	if errors.Is(err, fault.ErrClientGone) {
		_ = c.conn.CloseNow()
	} else {
		_ = c.conn.Close(code, reason)
	}
	running.Wait()
	return code
}

// open calls the backend. Where the method takes one message that comes first, so that a broken one calls nothing.
func (c *socketCall) open(running *sync.WaitGroup) error {
	read := func() { c.cancel(Guard(c.read)) } // ends with the connection, which serve closes
	running.Go(c.keepAlive)
	if c.desc.ClientStreams && !c.complete {
		if err := c.newStream(); err != nil {
			return err
		}
		running.Go(read)
		return nil
	}
	running.Go(read)
	select {
	case wire := <-c.first:
		if err := c.newStream(); err != nil {
			return err
		}
		// io.EOF says that the call has ended, for a reason that receiving tells.
		if err := send(c.stream, wire); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return c.stream.CloseSend()
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c *socketCall) newStream() (err error) {
	c.stream, err = c.method.options.Backend.NewStream(c.ctx, c.desc, c.method.method.FullMethod)
	return err
}

// read takes the client's frames until the connection ends. Its error is why the call must end.
func (c *socketCall) read() error {
	for {
		c.reading.Store(true)
		// Without a deadline: to end a read is to close the connection, and that is serve's.
		kind, frame, err := c.conn.Reader(context.Background())
		if err != nil {
			return fault.ErrClientGone
		}
		data, err := readFrame(frame, c.method.options.MaxBodySize)
		c.reading.Store(false)
		c.heard.Add(1)
		if err != nil {
			return err
		}
		if err := c.take(kind, data); err != nil {
			return err
		}
	}
}

func readFrame(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, fault.ErrClientGone
	case int64(len(data)) > limit:
		return nil, errTooLarge
	}
	return data, nil
}

// take handles one frame: a message, or the empty text that ends the requests.
func (c *socketCall) take(kind websocket.MessageType, data []byte) error {
	end := kind == websocket.MessageText && len(data) == 0
	switch {
	case c.ended && !end:
		return errAfterEnd
	case end && !c.complete && !c.desc.ClientStreams:
		return errOneMessage
	case end:
		return c.endRequests()
	case c.complete && !c.method.hasBody:
		return errNoMessage
	case c.complete && !c.desc.ClientStreams:
		return errOneMessage
	}
	c.given.Metrics.MessageIn()
	if err := c.given.Admit(c.ctx); err != nil {
		return err
	}
	if !c.fixed {
		c.binary.Store(kind == websocket.MessageBinary)
	}
	wire, err := c.decode(kind, data)
	if err == nil {
		err = c.method.options.Rules.Check(wire)
	}
	if err != nil {
		return err
	}
	if !c.desc.ClientStreams {
		c.complete = true
		c.first <- wire
		return nil
	}
	if err := send(c.stream, wire); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (c *socketCall) endRequests() error {
	again := c.ended
	c.ended = true
	if again || c.complete {
		return nil
	}
	c.complete = true
	return c.stream.CloseSend()
}

// decode makes wire bytes of a frame. A binary frame is the whole message, which variables of the path and the query are
// set in.
func (c *socketCall) decode(kind websocket.MessageType, data []byte) ([]byte, error) {
	switch {
	case kind == websocket.MessageText && !utf8.Valid(data):
		return nil, errNotText
	case kind == websocket.MessageText:
		params := c.params
		if mask := c.method.mask; mask != nil {
			var err error
			if params, err = mask.fill(slices.Clip(params), 0, data); err != nil {
				return nil, err
			}
		}
		return asMessage(c.method.request.AppendWire(nil, data, params))
	case len(c.params) == 0:
		return data, nil
	}
	text, err := c.printer.AppendJSON(nil, data)
	if err != nil {
		return nil, fault.New(fault.InvalidRequest, "the frame is no "+string(c.method.method.Descriptor.Input().FullName()))
	}
	return asMessage(c.whole.AppendWire(nil, text, c.params))
}

// asMessage makes of no bytes an empty message, which is a message.
func asMessage(wire []byte, err error) ([]byte, error) {
	if wire == nil {
		wire = []byte{}
	}
	return wire, err
}

// relay hands the backend's messages on, one frame each, until the call has ended; nil is a good end.
func (c *socketCall) relay() error {
	// A client that takes nothing must not hold on to a call that is over.
	writing, stop := context.WithCancel(context.Background())
	defer stop()
	release := context.AfterFunc(c.ctx, func() {
		select {
		case <-time.After(lastWrite):
			stop()
		case <-writing.Done():
		}
	})
	defer release()
	for answers := 0; ; answers++ {
		var message mem.Buffer
		err := c.stream.RecvMsg(&message)
		switch {
		case errors.Is(err, io.EOF) && answers == 0 && !c.desc.ServerStreams:
			return errNoAnswer
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		err = c.write(writing, message.ReadOnlyData())
		message.Free()
		if err != nil {
			return err
		}
		c.given.Metrics.MessageOut()
	}
}

func (c *socketCall) write(ctx context.Context, wire []byte) error {
	if c.binary.Load() {
		return gone(c.conn.Write(ctx, websocket.MessageBinary, wire))
	}
	buffer := batches.Get().(*[]byte)
	defer giveBack(buffer)
	text, err := c.method.response.AppendJSON(*buffer, wire)
	if err != nil {
		return fault.New(fault.UpstreamAnswerInvalid, err.Error())
	}
	*buffer = text
	return gone(c.conn.Write(ctx, websocket.MessageText, text))
}

func gone(err error) error {
	if err != nil {
		return fault.ErrClientGone
	}
	return nil
}

// keepAlive pings the client, and ends the call of one that does not answer. While a frame of the client's waits for the
// backend nothing is read, a pong neither, and so nothing is concluded.
func (c *socketCall) keepAlive() {
	if c.options.PingInterval <= 0 {
		return
	}
	tick := time.NewTicker(c.options.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		heard := c.heard.Load()
		ctx, stop := context.WithTimeout(c.ctx, c.options.PingTimeout)
		err := c.conn.Ping(ctx)
		stop()
		if err != nil && c.reading.Load() && c.heard.Load() == heard {
			c.cancel(fault.ErrClientGone)
			return
		}
	}
}
