package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder"
)

// switchProtocols passes on an answer that makes another protocol of the connection, and then every byte of that, until
// one side is gone, both are silent for too long, or the gateway ends.
func (x *exchange) switchProtocols(answer *http.Response) *fault.Error {
	backend, ok := answer.Body.(io.ReadWriteCloser)
	if asked := x.upgrade; !ok || asked == "" || !strings.EqualFold(strings.Join(answer.Header["Upgrade"], ","), asked) {
		return fault.New(fault.UpstreamResponseInvalid, "the backend switched to a protocol that it was not asked for")
	}
	tunnels := x.handler.options.Tunnels
	if !tunnels.Enter() {
		return fault.ErrShuttingDown
	}
	defer tunnels.Leave()
	x.merge(answer)
	h := x.w.Header()
	h["Connection"], h["Upgrade"] = connectionUpgrade, []string{x.upgrade}
	x.w.WriteHeader(http.StatusSwitchingProtocols)
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return fault.New(fault.Internal, "the connection cannot be handed over")
	}
	if err := buffered.Flush(); err != nil {
		client.Close()
		return nil
	}
	if x.call.Upgraded != nil {
		x.call.Upgraded()
	}
	t := &tunnel{client: client, backend: backend, idle: x.handler.idle}
	defer context.AfterFunc(tunnels.Life(), t.close)()
	t.run(buffered.Reader)
	return nil
}

// tunnel is an upgraded connection.
type tunnel struct {
	client  net.Conn
	backend io.ReadWriteCloser
	idle    time.Duration
	last    atomic.Int64 // when something came, Unix nanoseconds
	once    sync.Once
}

// run copies both ways and returns when both have ended. One way's end is passed on, and the other goes on, where the
// connection can say that.
func (t *tunnel) run(fromClient io.Reader) {
	t.last.Store(time.Now().UnixNano())
	if t.idle > 0 {
		var watch *time.Timer
		var mu sync.Mutex // the timer may fire before it is assigned
		mu.Lock()
		watch = time.AfterFunc(t.idle, func() {
			mu.Lock()
			defer mu.Unlock()
			if left := t.idle - time.Since(time.Unix(0, t.last.Load())); left > 0 {
				watch.Reset(left)
			} else {
				t.close()
			}
		})
		mu.Unlock()
		defer watch.Stop()
	}
	up := make(chan struct{})
	go func() { // ends with the client's side, which close ends
		defer close(up)
		t.copy(t.backend, fromClient)
	}()
	t.copy(t.client, t.backend)
	<-up
	t.close()
}

// copy copies until the end of from, and then closes to for writing, or else all.
func (t *tunnel) copy(to io.Writer, from io.Reader) {
	buf := transcoder.NewPiece()
	defer buf.Release()
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			t.last.Store(time.Now().UnixNano())
			if _, err := to.Write(buf[:n]); err != nil {
				t.close()
				return
			}
		}
		if err == nil {
			continue
		}
		half, ok := to.(interface{ CloseWrite() error })
		if err != io.EOF || !ok || half.CloseWrite() != nil {
			t.close()
		}
		return
	}
}

func (t *tunnel) close() {
	t.once.Do(func() {
		t.client.Close()
		t.backend.Close()
	})
}
