package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/gateway/internal/servertls"
	"github.com/crossgate/crossgate/telemetry"
)

// maxReadFrameSize is the largest HTTP/2 frame taken: what every peer may send (RFC 9113 section 4.2), and so what a
// connection's buffer need not exceed.
const maxReadFrameSize = 16 << 10

// listener is one configured address: HTTP/1.1 and h2c on plain TCP, HTTP/1.1 and HTTP/2 by ALPN over TLS.
type listener struct {
	gateway *Gateway
	config  config.Listener
	trusted []netip.Prefix
	tls     *servertls.Server // nil without
	socket  net.Listener
	server  *http.Server
	fresh   fresh
	done    sync.WaitGroup
}

// listen binds the address; nothing is accepted until serve.
func (g *Gateway) listen(ctx context.Context, cfg config.Listener) (*listener, error) {
	l := &listener{gateway: g, config: cfg}
	for _, p := range cfg.TrustedProxies {
		l.trusted = append(l.trusted, netip.Prefix(p))
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	l.server = &http.Server{
		Handler:           l,
		Protocols:         &protocols,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout.Std(),
		IdleTimeout:       cfg.IdleTimeout.Std(),
		MaxHeaderBytes:    int(cfg.MaxHeaderSize),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: cfg.MaxConcurrentStreams, MaxReadFrameSize: maxReadFrameSize, WriteByteTimeout: cfg.WriteTimeout.Std()},
		ConnContext:       l.withConnection,
		ConnState:         l.fresh.follow,
		ErrorLog:          newServerLog(g.telemetry.Logger),
	}
	if cfg.TLS == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		var failures *telemetry.Source
		if cfg.TLS.ACME != nil {
			failures = g.telemetry.Source(telemetry.Certificates, cfg.Address)
		}
		var err error
		if l.tls, err = servertls.New(cfg.TLS, failures); err != nil {
			return nil, err
		}
		l.server.TLSConfig = l.tls.Config()
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, config.Errorf(cfg.Pos, "listener %s: %w", cfg.Address, err)
	}
	if l.socket = (impatient{socket, cfg.WriteTimeout.Std()}); l.tls != nil {
		l.socket = servertls.NewListener(l.socket, l.tls, cfg.ReadHeaderTimeout.Std())
	}
	return l, nil
}

// serve accepts connections in a goroutine that ends with shutdown or close, which wait for it.
func (l *listener) serve() {
	l.done.Add(1)
	go func() {
		defer l.done.Done()
		if err := l.server.Serve(watched{l.socket, l.config.WriteTimeout.Std()}); !errors.Is(err, http.ErrServerClosed) {
			l.gateway.telemetry.Logger.Error("listener ended", "address", l.socket.Addr().String(), "error", err)
		}
	}()
}

// shutdown stops accepting, sends GOAWAY, and waits until what is in flight has ended or ctx does.
func (l *listener) shutdown(ctx context.Context) error {
	stop := time.AfterFunc(freshTime, l.fresh.hurry) // once no more are accepted
	defer stop.Stop()
	err := l.server.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("listener %s: requests were still in flight at the end of the drain time: %w", l.socket.Addr(), err)
	}
	l.close()
	return err
}

// close ends every connection and waits until nothing is accepted any more.
func (l *listener) close() {
	l.server.Close()
	l.socket.Close()
	l.done.Wait()
}
