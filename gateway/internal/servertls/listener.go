package servertls

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Listener accepts connections whose handshake is done, each in a goroutine of its own meanwhile. Connections that fail,
// or that only came for an ACME challenge, are not accepted.
type Listener struct {
	net.Listener
	config  *tls.Config
	timeout time.Duration
	ready   chan *tls.Conn
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	failed  error // of the socket, once it fails; read after done
	done    chan struct{}
	work    sync.WaitGroup
}

// NewListener makes handshakes of at most timeout with what socket accepts.
func NewListener(socket net.Listener, s *Server, timeout time.Duration) *Listener {
	l := &Listener{Listener: socket, config: s.Config(), timeout: timeout, ready: make(chan *tls.Conn), done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.run) // ends with Close
	return l
}

func (l *Listener) run() {
	defer close(l.done)
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if temporary, ok := err.(interface{ Temporary() bool }); ok && temporary.Temporary() {
				// As after running out of file descriptors. net/http waits as long.
				select {
				case <-time.After(100 * time.Millisecond):
					continue
				case <-l.ctx.Done():
				}
			}
			l.failed = err
			return
		}
		l.work.Go(func() { l.shake(tls.Server(c, l.config)) })
	}
}

func (l *Listener) shake(c *tls.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil || !served(c.ConnectionState().NegotiatedProtocol) {
		c.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		c.Close()
	}
}

// served reports whether there is more to a connection than its handshake. Clients without ALPN speak HTTP/1.1.
func served(protocol string) bool {
	return protocol == "" || protocol == "h2" || protocol == "http/1.1"
}

// Accept implements net.Listener; what it returns is a *tls.Conn.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, l.failed
	}
}

// Close implements net.Listener: handshakes that are not done are given up.
func (l *Listener) Close() error {
	err := l.Listener.Close()
	l.cancel()
	l.work.Wait()
	return err
}
