package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/crossgate/crossgate/upstream/internal/health"
)

// watchHealth asks an endpoint whether it is well until it, or the pool, is closed.
func (p *Pool) watchHealth(e *endpoint) {
	cfg := p.config.HealthCheck
	if cfg == nil {
		return
	}
	check, end := e.check()
	ctx, stop := context.WithCancel(p.running)
	e.unwatch = stop
	o := health.Options{Interval: cfg.Interval.Std(), Timeout: cfg.Timeout.Std(), Unhealthy: cfg.Unhealthy, Healthy: cfg.Healthy}
	p.background.Go(func() { // ends with ctx
		defer end()
		health.Run(ctx, check, o, e.checks, func(why error) { p.setHealth(e, why) })
	})
}

// setHealth notes what checks have found.
func (p *Pool) setHealth(e *endpoint, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.sick = why != nil
	if e.sick {
		p.log(slog.LevelWarn, "an endpoint is unhealthy", "endpoint", e.address, "error", why)
	} else {
		e.since = time.Now()
		p.log(slog.LevelInfo, "an endpoint is healthy again", "endpoint", e.address)
	}
	p.rebuild()
}

// check returns how the endpoint is asked, and what lets go of what that needs.
func (e *endpoint) check() (check health.Check, end func()) {
	cfg := e.pool.config.HealthCheck
	if cfg.Type == "grpc" {
		return health.GRPC(e.conns[0], cfg.Service), func() {}
	}
	address := e.address
	if cfg.Port != 0 {
		host, _, _ := net.SplitHostPort(address)
		address = net.JoinHostPort(host, strconv.Itoa(cfg.Port))
	}
	var config *tls.Config
	scheme := "http"
	if e.pool.tls != nil {
		config, scheme = e.pool.tls.config, "https"
	}
	if cfg.Type == "tcp" {
		return health.TCP(func(ctx context.Context) (net.Conn, error) {
			if config != nil {
				return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}), func() {}
	}
	// A transport of its own: the one of requests may speak HTTP/2 without TLS, which a server of checks seldom does.
	t := &http.Transport{TLSClientConfig: config.Clone(), MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: true}
	return health.HTTP(t, scheme+"://"+address+cfg.Path, cmp.Or(cfg.Host, address)), t.CloseIdleConnections
}
