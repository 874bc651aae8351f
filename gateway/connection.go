package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/crossgate/crossgate/gateway/internal/strict"
)

// watched accepts connections whose requests of HTTP/1.1 are held to the letter. Those that have agreed on HTTP/2 are
// handed on as they are: net/http knows them by their type.
type watched struct{ net.Listener }

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		return c, nil
	}
	return strict.New(c), nil
}

// tlsKey is the context key of the TLS state of a connection that net/http does not see is one of TLS.
type tlsKey struct{}

// withTLS keeps that state.
func withTLS(ctx context.Context, c net.Conn) context.Context {
	if w, ok := c.(*strict.Conn); ok {
		if t, ok := w.Conn.(*tls.Conn); ok {
			state := t.ConnectionState()
			return context.WithValue(ctx, tlsKey{}, &state)
		}
	}
	return ctx
}

// setTLS has a request say by which TLS it came, as net/http does.
func (l *listener) setTLS(r *http.Request) {
	if l.tls != nil && r.TLS == nil {
		r.TLS, _ = r.Context().Value(tlsKey{}).(*tls.ConnectionState)
	}
}
