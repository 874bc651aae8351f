package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"
)

// dialer makes connections to backends. TCP keep-alive, on by default in net.Dialer, finds peers that are gone without
// a word; HTTP/2 pings would be taken for abuse by servers with grpc-go's default of one in five minutes.
type dialer struct {
	net     net.Dialer
	tls     *tls.Config
	timeout time.Duration // of the whole: name, TCP and TLS
}

// connectError says that a connection was not made, so nothing was sent.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, &connectError{err}
	}
	return c, nil
}

// onlyHTTP2 are the protocols offered by ALPN where nothing else will do.
var onlyHTTP2 = []string{"h2"}

func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	c, err := (&tls.Dialer{NetDialer: &d.net, Config: d.tls}).DialContext(ctx, network, address)
	if err != nil {
		return nil, &connectError{err}
	}
	if p := c.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "h2" && slices.Equal(d.tls.NextProtos, onlyHTTP2) {
		c.Close()
		return nil, &connectError{fmt.Errorf("the backend did not agree to speak HTTP/2 by ALPN: %q", p)}
	}
	return c, nil
}
