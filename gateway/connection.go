package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/gateway/internal/strict"
)

// watched accepts connections whose requests of HTTP/1.1 are held to the letter. Those that have agreed on HTTP/2 are
// handed on as they are: net/http knows them by their type.
type watched struct {
	net.Listener
	stall time.Duration
}

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		return c, nil
	}
	return strict.New(c, l.stall), nil
}

// impatient accepts connections that end when their peer confirms nothing for some time.
type impatient struct {
	net.Listener
	after time.Duration
}

func (l impatient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		giveUp(c, l.after)
	}
	return c, err
}

// connection is what the requests of a connection share.
type connection struct {
	socket net.Conn
	tls    *tls.ConnectionState // nil for none
	// certificate is the client's, in DER, where it has shown a good one.
	certificate string
	resets      resets
}

// connectionKey is the context key of a request's *connection.
type connectionKey struct{}

// withConnection is the server's ConnContext.
func (l *listener) withConnection(ctx context.Context, socket net.Conn) context.Context {
	c := &connection{socket: socket}
	w, watched := socket.(*strict.Conn)
	if watched {
		socket = w.Conn
	}
	if t, ok := socket.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.tls = &state
		if len(state.VerifiedChains) > 0 {
			c.certificate = string(state.PeerCertificates[0].Raw)
		}
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

func socketOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

// setTLS has a request say by which TLS it came, as net/http does, and returns the client's certificate.
func (l *listener) setTLS(r *http.Request) (certificate string) {
	if l.tls == nil {
		return ""
	}
	c := socketOf(r)
	// net/http does not see it, or believes an HTTP/2 client that says that there is none.
	r.TLS = c.tls
	return c.certificate
}

// unreadTime is how long the rest of a body that nobody has read is waited for.
const unreadTime = time.Second

// unread bounds how long net/http waits for the rest of a body that the handler has not read, so that a refused client
// cannot hold on to its connection. net/http reads some of it, to go on with the connection.
func (l *listener) unread(r *http.Request) {
	if r.ProtoMajor != 1 || r.ContentLength == 0 {
		return
	}
	if c := socketOf(r); c != nil {
		if w, ok := c.socket.(*strict.Conn); ok && w.InBody() {
			_ = w.SetReadDeadline(time.Now().Add(unreadTime)) // fails where the connection is gone
		}
	}
}

// givenUp notes that the client has given a request up before it was answered. One that does nothing else, to have work
// done that nobody waits for (CVE-2023-44487), is disconnected.
func (l *listener) givenUp(r *http.Request) {
	if r.ProtoMajor != 2 {
		return
	}
	if c := socketOf(r); c != nil && !c.resets.allow(time.Now(), l.config.MaxStreamResets) {
		l.gateway.telemetry.Logger.Warn("disconnected a client that gives up its streams", "client", r.RemoteAddr)
		c.socket.Close()
	}
}

// resets is when the streams that were given up so far would be done with at the rate that is allowed (GCRA), in
// nanoseconds of Unix time.
type resets struct{ at atomic.Int64 }

// allow counts one more, and reports whether it is within the rate; as many as the rate names may come at once.
func (s *resets) allow(now time.Time, rate config.Rate) bool {
	each := int64(rate.Per) / int64(rate.Events)
	for {
		old := s.at.Load()
		next := max(old, now.UnixNano()) + each
		if s.at.CompareAndSwap(old, next) {
			return next-now.UnixNano() <= int64(rate.Per)
		}
	}
}
