package upstream

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/crossgate/crossgate/config"
)

// endpoint is one backend: connections of grpc-go for calls made of messages, and an HTTP/2 transport for calls that
// pass through untouched.
type endpoint struct {
	address   string
	scheme    string
	conns     []*grpc.ClientConn
	turn      atomic.Uint32
	downUntil atomic.Int64 // Unix nanoseconds
	transport *http.Transport
}

func newEndpoint(address string, cfg *config.Upstream, tls *clientTLS) (*endpoint, error) {
	e := &endpoint{address: address, scheme: "http"}
	creds := insecure.NewCredentials()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	dialer := net.Dialer{Timeout: cfg.ConnectTimeout.Std()}
	e.transport = &http.Transport{
		Protocols:          &protocols,
		DialContext:        dialer.DialContext,
		DisableCompression: true, // the body is the backend's, untouched
	}
	if tls != nil {
		creds = credentials.NewTLS(tls.config)
		e.scheme = "https"
		protocols = http.Protocols{}
		protocols.SetHTTP2(true)
		e.transport.TLSClientConfig = tls.config.Clone()
		e.transport.TLSHandshakeTimeout = cfg.ConnectTimeout.Std()
	}
	for range cfg.Connections {
		// passthrough: the dialer resolves names anew for each connection.
		c, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(creds),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
				MinConnectTimeout: cfg.ConnectTimeout.Std(),
			}),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(int(cfg.MaxMessageSize))),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(),
			grpc.WithNoProxy(),
			grpc.WithIdleTimeout(0),
		)
		if err != nil {
			e.close()
			return nil, err
		}
		e.conns = append(e.conns, c)
	}
	return e, nil
}

// conn returns the connection whose turn it is.
func (e *endpoint) conn() *grpc.ClientConn {
	if len(e.conns) == 1 {
		return e.conns[0]
	}
	return e.conns[e.turn.Add(1)%uint32(len(e.conns))]
}

func (e *endpoint) failed() { e.downUntil.Store(time.Now().Add(downFor).UnixNano()) }

func (e *endpoint) isDown() bool {
	until := e.downUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

func (e *endpoint) watch(ctx context.Context, ready func()) {
	c := e.conns[0]
	for {
		state := c.GetState()
		switch state {
		case connectivity.Ready:
			e.downUntil.Store(0)
			ready()
		case connectivity.Idle:
			c.Connect()
		case connectivity.Shutdown:
			return
		}
		if !c.WaitForStateChange(ctx, state) {
			return
		}
	}
}

func (e *endpoint) close() {
	for _, c := range e.conns {
		c.Close()
	}
	e.transport.CloseIdleConnections()
}
