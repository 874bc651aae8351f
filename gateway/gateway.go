package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/wsbridge"
)

// Options are what a gateway starts from.
type Options struct {
	// ConfigPath is a configuration file or a folder of them, read again on a reload and watched.
	ConfigPath string
	// Config is a configuration that does not change, in place of ConfigPath.
	Config *config.Config
	// Log gets the process log and the access log. It must allow concurrent writes.
	Log io.Writer
	// Version is what metrics and GET /v1/status say.
	Version string
}

// Gateway is a running gateway. Its methods are safe for concurrent use.
type Gateway struct {
	options   Options
	telemetry *telemetry.Telemetry
	noRoute   *telemetry.RouteMetrics
	redis     *redisLink
	registry  *descriptors.Registry
	stores    admission.Stores
	limits    *ratelimit.Redis
	leases    *ratelimit.Leased
	node      *wsbridge.Node
	releases  *release.Controller
	sockets   *sockets
	cache     *cache.Store
	listeners []*listener
	admin     *admin
	started   time.Time

	snapshot atomic.Pointer[Snapshot]
	problem  atomic.Pointer[string] // why the newest configuration is not in force; nil when it is

	// rebuilding is held while a snapshot is compiled and installed: one at a time.
	rebuilding sync.Mutex
	loader     *descriptors.Loader
	watcher    *descriptors.FileWatcher // of the configuration's files
	watched    []string

	changed    chan struct{} // a descriptor source has changed
	edited     chan struct{} // a configuration file has changed
	closed     chan struct{}
	background sync.WaitGroup
	draining   atomic.Bool
	shutdown   sync.Once
	drainError error
}

// Start compiles the configuration, binds every listener and serves. The error is a config.Errors where the configuration
// is at fault; nothing runs then.
func Start(ctx context.Context, o Options) (*Gateway, error) {
	cfg := o.Config
	if cfg == nil {
		var err error
		if cfg, err = config.Load(ctx, o.ConfigPath); err != nil {
			return nil, err
		}
	}
	if len(cfg.Listeners) == 0 {
		return nil, config.Errors{config.Errorf(config.Position{File: o.ConfigPath}, "listeners: at least one is needed to serve")}
	}
	g := &Gateway{
		options:   o,
		started:   time.Now(),
		telemetry: telemetry.New(cfg.Log, o.Log),
		changed:   make(chan struct{}, 1),
		edited:    make(chan struct{}, 1),
		closed:    make(chan struct{}),
		sockets:   newSockets(),
	}
	if err := g.start(ctx, cfg); err != nil {
		g.close()
		return nil, err
	}
	g.telemetry.Logger.Info("crossgate is up", "listeners", addresses(g.listeners), "admin", g.admin.String(), "redis", g.redis.addr(),
		"routes", len(cfg.Routes), "services", len(g.snapshot.Load().set.Services()))
	return g, nil
}

func (g *Gateway) start(ctx context.Context, cfg *config.Config) error {
	g.noRoute = g.telemetry.Route(telemetry.NoRoute)
	var err error
	if g.redis, err = openRedis(cfg.Redis); err != nil {
		return err
	}
	g.cache = cache.NewStore(int64(cfg.Cache.MaxMemory), g.telemetry)
	g.cache.Share(g.redis.first(), g.redis.prefix)
	g.registry = descriptors.NewRegistry(g.redis.first(), g.redis.prefix, cfg.Admin.DescriptorVersions)
	memory := ratelimit.NewMemory()
	g.limits = ratelimit.NewRedis(g.redis.first(), g.redis.prefix, g.redis.patience)
	g.leases = ratelimit.NewLeased(g.limits, memory)
	revocations := new(auth.Revocations)
	g.stores = admission.Stores{
		Revoked:  revocations,
		Overload: admission.NewOverload(g.telemetry.RequestsInFlight),
		Memory:   memory,
		Redis:    ratelimit.NewDistributed(g.limits, memory),
		Leased:   g.leases,
	}
	g.node = wsbridge.NewNode(wsbridge.Options{
		Redis: g.redis.servers, Prefix: g.redis.prefix, Logger: g.telemetry.Logger, Metrics: busMetrics{g.telemetry},
		Revocations: revocations,
	})
	g.releases = release.NewController(release.Options{
		Redis: g.redis.first(), Prefix: g.redis.prefix, Node: g.node.Name(), Telemetry: g.telemetry,
	})
	if err := g.rebuild(ctx, cfg); err != nil {
		return err
	}
	var errs config.Errors
	for _, c := range cfg.Listeners {
		l, err := g.listen(ctx, c)
		if err != nil {
			errs.Add(c.Pos, err)
			continue
		}
		g.listeners = append(g.listeners, l)
	}
	if g.admin, err = g.listenAdmin(ctx, cfg.Admin); err != nil {
		errs.Add(cfg.Admin.Pos, err)
	}
	if err := errs.Err(); err != nil {
		return err
	}
	for _, l := range g.listeners {
		l.serve()
	}
	g.admin.serve()
	g.background.Go(g.follow)
	return nil
}

// Addresses returns where the listeners listen, in the order of the configuration.
func (g *Gateway) Addresses() []net.Addr { return addresses(g.listeners) }

func addresses(listeners []*listener) []net.Addr {
	list := make([]net.Addr, len(listeners))
	for i, l := range listeners {
		list[i] = l.socket.Addr()
	}
	return list
}

// AdminAddress returns where the admin listener listens, nil when it is off.
func (g *Gateway) AdminAddress() net.Addr { return g.admin.addr() }

// RedisAddress returns the address of the Redis that services join, host:port.
func (g *Gateway) RedisAddress() string { return g.redis.addr() }

// ready says why the gateway should get no traffic, nil when it should.
func (g *Gateway) ready() error {
	if g.draining.Load() {
		return errors.New("draining")
	}
	if g.snapshot.Load() == nil {
		return errors.New("starting")
	}
	return nil
}

// Shutdown drains: readiness fails, listeners close, clients are told to go elsewhere, and what is in flight gets the
// configuration's drain.timeout to finish. It returns what was cut off as an error. Later calls return the same.
func (g *Gateway) Shutdown() error {
	g.shutdown.Do(func() {
		cfg := g.snapshot.Load().config.Drain
		g.draining.Store(true)
		g.telemetry.Logger.Info("draining", "timeout", cfg.Timeout.Std().String())
		time.Sleep(cfg.Delay.Std())
		ctx, cancel := context.WithTimeout(context.Background(), cfg.Timeout.Std())
		defer cancel()
		errs := make([]error, len(g.listeners))
		var draining sync.WaitGroup
		draining.Go(func() { g.node.Drain(ctx, min(cfg.ReconnectSpread.Std(), cfg.Timeout.Std()/2)) })
		draining.Go(func() { g.sockets.drain(ctx) })
		for i, l := range g.listeners {
			draining.Go(func() { errs[i] = l.shutdown(ctx) })
		}
		draining.Wait()
		g.drainError = errors.Join(errs...)
		g.close()
	})
	return g.drainError
}

// close stops everything at once and waits for it. It works on a gateway that has started in part.
func (g *Gateway) close() {
	close(g.closed)
	for _, l := range g.listeners {
		l.close()
	}
	g.sockets.close()
	g.admin.close()
	g.background.Wait()
	if g.watcher != nil {
		g.watcher.Close()
	}
	if g.loader != nil {
		g.loader.Close()
	}
	if g.releases != nil {
		g.releases.Close()
	}
	if g.node != nil {
		g.node.Close()
	}
	if g.cache != nil {
		g.cache.Close()
	}
	if s := g.snapshot.Load(); s != nil {
		s.close()
	}
	if g.stores.Overload != nil {
		g.stores.Overload.Close()
	}
	if g.limits != nil {
		g.leases.Close()
		g.limits.Close()
	}
	if g.redis != nil {
		g.redis.close()
	}
	g.telemetry.Close()
}

// busMetrics counts for the node of the WebSocket bridge.
type busMetrics struct{ t *telemetry.Telemetry }

func (m busMetrics) BusState(up bool) {
	if up {
		m.t.BusUp.Set(1)
		return
	}
	m.t.BusUp.Set(0)
	m.t.BusBreaks.Inc()
}

func (m busMetrics) Present(change int) { m.t.Present.Add(float64(change)) }

func (m busMetrics) PresenceSwept(connections int) { m.t.PresenceSwept.Add(float64(connections)) }

func (m busMetrics) PresenceFailed() { m.t.PresenceFails.Inc() }

func (m busMetrics) BusDropped(reason string) { m.t.BusDrops.WithLabelValues(reason).Inc() }
