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
	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// link is what leads to one backend: connections for unary calls, connections of grpc-go for streams, and a transport for
// requests that pass through untouched, which is all that one of protocol http has. Each connects when it is first needed.
// The endpoints of several pools have one link where a reload did not change what leads there.
type link struct {
	address   string
	scheme    string
	lines     []*line
	conns     []*grpc.ClientConn
	turn      atomic.Uint32
	downUntil atomic.Int64 // Unix nanoseconds
	transport *http.Transport
	upgrades  *http.Transport // of protocol http: HTTP/1.1, which alone can be upgraded

	holders atomic.Int32 // endpoints
}

const userAgent = "crossgate"

// connWindow is how much of all streams of a connection may be on its way. It holds nothing: grpc-go gives it back when
// it reads, whoever takes what was read.
const connWindow = 16 << 20

// newLink returns a link that one endpoint holds.
func newLink(cfg *config.Upstream, tls *clientTLS, address string) (*link, error) {
	k := &link{address: address, scheme: "http"}
	k.holders.Store(1)
	if cfg.Protocol == "http" {
		k.speakHTTP(cfg, tls)
		return k, nil
	}
	creds := insecure.NewCredentials()
	d := &dialer{net: net.Dialer{Timeout: cfg.ConnectTimeout.Std()}, timeout: cfg.ConnectTimeout.Std()}
	var protocols http.Protocols
	if tls == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		creds = credentials.NewTLS(tls.config)
		k.scheme = "https"
		d.tls = tls.config.Clone()
		d.tls.NextProtos = onlyHTTP2
	}
	k.transport = &http.Transport{
		Protocols:          &protocols,
		DialContext:        d.dial,
		DialTLSContext:     d.dialTLS,
		DisableCompression: true, // the body is the backend's, untouched
		// As of unary calls: callers of one method have one bound, whichever protocol they speak.
		MaxResponseHeaderBytes: unary.MaxHeaderList,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: int(cfg.StreamWindow)},
	}
	own := unary.Options{Authority: address, TLS: tls != nil, UserAgent: userAgent, MaxMessageSize: int(cfg.MaxMessageSize)}
	dial := d.dial
	if tls != nil {
		dial = d.dialTLS
		if name := tls.config.ServerName; name != "" {
			own.Authority = name
		}
	}
	for range cfg.Connections {
		k.lines = append(k.lines, &line{
			dial:    func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", address) },
			options: own, timeout: cfg.ConnectTimeout.Std(),
		})
		// passthrough: the dialer resolves names anew for each connection.
		c, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(creds),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
				MinConnectTimeout: cfg.ConnectTimeout.Std(),
			}),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(int(cfg.MaxMessageSize))),
			grpc.WithMaxHeaderListSize(unary.MaxHeaderList),
			// Left alone, grpc-go has windows grow, and with them what it holds for each slow client.
			grpc.WithInitialWindowSize(int32(cfg.StreamWindow)),
			grpc.WithInitialConnWindowSize(connWindow),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return d.dial(ctx, "tcp", address) }),
			grpc.WithNoProxy(),
			grpc.WithUserAgent(userAgent),
			grpc.WithIdleTimeout(0),
		)
		if err != nil {
			k.release()
			return nil, err
		}
		k.conns = append(k.conns, c)
	}
	return k, nil
}

// line returns the line whose turn it is, one that is up where there is one, and its connection if it is.
func (k *link) line() (*line, *unary.Conn) {
	turn := k.turn.Add(1)
	for i := range k.lines {
		l := k.lines[(turn+uint32(i))%uint32(len(k.lines))]
		if c := l.ready(); c != nil {
			if i > 0 {
				k.lines[turn%uint32(len(k.lines))].connect()
			}
			return l, c
		}
	}
	return k.lines[turn%uint32(len(k.lines))], nil
}

// conn returns the connection whose turn it is, one that is up where there is one, and whether it is. Idle ones are
// told to connect.
func (k *link) conn() (*grpc.ClientConn, bool) {
	turn := k.turn.Add(1)
	var next *grpc.ClientConn
	for i := range k.conns {
		c := k.conns[(turn+uint32(i))%uint32(len(k.conns))]
		switch c.GetState() {
		case connectivity.Ready:
			return c, true
		case connectivity.Idle:
			c.Connect()
		}
		if next == nil {
			next = c
		}
	}
	return next, false
}

func (k *link) failed() { k.downUntil.Store(time.Now().Add(downFor).UnixNano()) }

func (k *link) isDown() bool {
	until := k.downUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// reachable reports whether a request need not wait for the backend to be connected to. Of one of protocol http only the last
// failure is known.
func (k *link) reachable() bool {
	if k.upgrades != nil {
		return !k.isDown()
	}
	_, ready := k.conn()
	return ready && !k.isDown()
}

func (k *link) watch(ctx context.Context, ready func()) {
	c := k.conns[0]
	for {
		state := c.GetState()
		switch state {
		case connectivity.Ready:
			k.downUntil.Store(0)
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

// release closes the connections when the last endpoint lets go of them.
func (k *link) release() {
	if k.holders.Add(-1) > 0 {
		return
	}
	for _, l := range k.lines {
		l.close()
	}
	for _, c := range k.conns {
		c.Close()
	}
	if k.transport != nil {
		k.transport.CloseIdleConnections()
	}
	if k.upgrades != nil {
		k.upgrades.CloseIdleConnections()
	}
}

// downFor is how long a backend that could not be reached is passed over.
const downFor = time.Second
