package unary

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/crossgate/crossgate/fault"
)

const (
	// streamWindow is how much of one answer may be on its way. It bounds no memory, as the reader waits for nobody, but
	// makes a backend send in pieces that others' answers come between.
	streamWindow = 1 << 20
	connWindow   = 8 << 20
	// maxBlock bounds the header block of one answer as it is sent, compressed.
	maxBlock = MaxHeaderList
	// maxWaiting bounds the frames that wait for a peer that does not read; callers then go to another connection.
	maxWaiting = 4 << 20
	// writeTimeout is how long a peer may take to read what has been written, before the connection is given up.
	writeTimeout = 15 * time.Second
	// defaultTable is the size of a header table before the peer says otherwise (RFC 9113 section 6.5.2).
	defaultTable = 4096
)

// Options are what a connection needs to know of the backend.
type Options struct {
	Authority      string
	TLS            bool
	UserAgent      string
	MaxMessageSize int // of an answer, in bytes
}

// Conn is a connection to one backend. Its methods are safe for concurrent use. It ends by itself when the peer ends it
// or breaks the protocol: Usable then says false.
type Conn struct {
	net     net.Conn
	options Options
	usable  atomic.Bool
	done    chan struct{} // closed when nothing of the connection runs
	running sync.WaitGroup

	mu      sync.Mutex
	err     error // why the connection has ended
	streams map[uint32]*stream
	next    uint32
	last    bool      // the peer takes no new streams
	waiting []*stream // for a place, in their order
	blocked []*stream // with bytes that no window lets go, in their order

	out, spare []byte // frames to write, and the buffer that was written last
	writing    bool
	allowed    time.Time // what the socket's write deadline is

	// What the peer's settings say.
	maxStreams    int
	maxFrame      int
	maxHeaderList int
	initialWindow int64
	window        int64
	table         uint32
	tableChanged  bool
	inserted      bool
	constants     *constants
	block         []byte

	// The reader's.
	decoder  *hpack.Decoder
	current  *stream // whose header block is being decoded
	trailers bool    // and whether it is the last one
	fragment []byte
	partial  uint32 // the stream of a header block that goes on, 0 for none
	partEnds bool
	taken    int
	greeted  bool
	ready    chan struct{}
}

// Open begins to speak HTTP/2 and waits for the peer's settings, or until ctx ends. The connection is closed when that
// fails.
func Open(ctx context.Context, socket net.Conn, o Options) (*Conn, error) {
	c := &Conn{
		net: socket, options: o, done: make(chan struct{}), ready: make(chan struct{}), streams: make(map[uint32]*stream), next: 1,
		maxStreams: 1 << 30, maxFrame: defaultMaxFrame, initialWindow: 65535, window: 65535, table: defaultTable,
		constants: compileConstants(o.Authority, o.UserAgent),
	}
	c.decoder = hpack.NewDecoder(defaultTable, c.emit)
	c.decoder.SetMaxStringLength(MaxHeaderList)
	c.out = append(c.out, preface...)
	c.out = appendFrame(c.out, 18, frameSettings, 0, 0)
	c.out = appendSetting(c.out, settingPush, 0)
	c.out = appendSetting(c.out, settingInitialWindow, streamWindow)
	c.out = appendSetting(c.out, settingMaxHeaderList, MaxHeaderList)
	c.out = appendWindowUpdate(c.out, 0, connWindow-65535)
	c.running.Add(1)
	go c.read() // ends with the socket
	c.mu.Lock()
	c.flush()
	select {
	case <-c.ready:
		c.usable.Store(true)
		if err := c.ended(); err != nil {
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("waiting for the backend's HTTP/2 settings: %w", ctx.Err())
	case <-c.done:
		return nil, c.ended()
	}
}

// Usable reports whether new calls can be made.
func (c *Conn) Usable() bool { return c.usable.Load() }

// Done is closed when the connection has ended and nothing of it runs.
func (c *Conn) Done() <-chan struct{} { return c.done }

func (c *Conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and every call on it, and returns when nothing of it runs.
func (c *Conn) Close() {
	c.end(errClosed)
	<-c.done
}

var errClosed = errors.New("the connection was closed")

// end ends the connection once, for a reason.
func (c *Conn) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = why
	c.usable.Store(false)
	c.net.Close()
	for _, s := range c.streams {
		s.ended <- fault.ErrDisconnected
	}
	clear(c.streams)
	c.blocked, c.out = nil, nil
	c.letAllIn()
}

// refuseNew lets what is under way end, and takes no new calls. c.mu is held.
func (c *Conn) refuseNew() {
	c.last = true
	c.usable.Store(false)
	c.letAllIn()
}

// letAllIn wakes all that wait for a place: there will be none. c.mu is held.
func (c *Conn) letAllIn() {
	for _, s := range c.waiting {
		s.turn <- struct{}{}
	}
	c.waiting = nil
}

// closeIdle closes a connection that takes no new calls once its last one has ended. c.mu is held.
func (c *Conn) closeIdle() {
	if c.last && len(c.streams) == 0 {
		c.net.Close()
	}
}

// read reads frames until the connection ends.
func (c *Conn) read() {
	defer func() {
		c.running.Done()
		c.running.Wait()
		close(c.done)
	}()
	in := bufio.NewReaderSize(c.net, 2*defaultMaxFrame)
	for {
		if err := c.readFrame(in); err != nil {
			c.end(err)
			return
		}
	}
}
