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

	"github.com/crossgate/crossgate/upstream/internal/unary"
)

// endpoint is one backend: connections for unary calls, connections of grpc-go for streams, and a transport for
// requests that pass through untouched, which is all that one of protocol http has. Each connects when it is first needed.
type endpoint struct {
	pool      *Pool
	address   string
	id        string // in cookies
	scheme    string
	lines     []*line
	conns     []*grpc.ClientConn
	turn      atomic.Uint32
	downUntil atomic.Int64 // Unix nanoseconds
	transport *http.Transport
	upgrades  *http.Transport // of protocol http: HTTP/1.1, which alone can be upgraded

	tracked bool         // requests are counted
	judged  bool         // and their outcomes
	active  atomic.Int64 // requests under way
	retired atomic.Bool  // the pool has let go of it

	// Below the pool's mutex.
	weight  int
	zone    string
	since   time.Time // when it began, or was well again
	sick    bool      // active checks say so
	ejected bool
	unwatch func() // ends its checks

	record record
}

const userAgent = "crossgate"

// connWindow is how much of all streams of a connection may be on its way. It holds nothing: grpc-go gives it back when
// it reads, whoever takes what was read.
const connWindow = 16 << 20

func (p *Pool) newEndpoint(address string) (*endpoint, error) {
	cfg, tls := &p.config, p.tls
	e := &endpoint{pool: p, address: address, id: idOf(p.name, address), scheme: "http", tracked: !p.plain, judged: cfg.OutlierDetection != nil, unwatch: func() {}}
	if cfg.Protocol == "http" {
		e.speakHTTP(cfg, tls)
		return e, nil
	}
	creds := insecure.NewCredentials()
	d := &dialer{net: net.Dialer{Timeout: cfg.ConnectTimeout.Std()}, timeout: cfg.ConnectTimeout.Std()}
	var protocols http.Protocols
	if tls == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		creds = credentials.NewTLS(tls.config)
		e.scheme = "https"
		d.tls = tls.config.Clone()
		d.tls.NextProtos = onlyHTTP2
	}
	e.transport = &http.Transport{
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
		e.lines = append(e.lines, &line{
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
			e.close()
			return nil, err
		}
		e.conns = append(e.conns, c)
	}
	return e, nil
}

// line returns the line whose turn it is, one that is up where there is one, and its connection if it is.
func (e *endpoint) line() (*line, *unary.Conn) {
	turn := e.turn.Add(1)
	for i := range e.lines {
		l := e.lines[(turn+uint32(i))%uint32(len(e.lines))]
		if c := l.ready(); c != nil {
			if i > 0 {
				e.lines[turn%uint32(len(e.lines))].connect()
			}
			return l, c
		}
	}
	return e.lines[turn%uint32(len(e.lines))], nil
}

// conn returns the connection whose turn it is, one that is up where there is one, and whether it is. Idle ones are
// told to connect.
func (e *endpoint) conn() (*grpc.ClientConn, bool) {
	turn := e.turn.Add(1)
	var next *grpc.ClientConn
	for i := range e.conns {
		c := e.conns[(turn+uint32(i))%uint32(len(e.conns))]
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
	for _, l := range e.lines {
		l.close()
	}
	for _, c := range e.conns {
		c.Close()
	}
	e.transport.CloseIdleConnections()
	if e.upgrades != nil {
		e.upgrades.CloseIdleConnections()
	}
}

// downFor is how long a backend that could not be reached is passed over.
const downFor = time.Second
