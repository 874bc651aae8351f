package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/pace"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/upstream"
)

// rebuildTimeout bounds reading and compiling.
const rebuildTimeout = 30 * time.Second

// Reload reads the configuration again and installs what it makes. When it does not compile the error says why, is
// logged, and what was in force stays.
func (g *Gateway) Reload(ctx context.Context) error {
	ctx, end := g.beginRebuild(ctx)
	defer end()
	cfg := g.snapshot.Load().config
	if g.options.Config == nil {
		var err error
		if cfg, err = config.Load(ctx, g.options.ConfigPath); err != nil {
			return g.refused(err)
		}
	}
	install, err := g.loadCertificates()
	if err != nil {
		return g.refused(err)
	}
	if err := g.rebuildLocked(ctx, cfg); err != nil {
		return g.refused(err)
	}
	install()
	return nil
}

// beginRebuild waits until no other rebuild runs. It returns the context of this one, beside which requests are served, and what
// ends it.
func (g *Gateway) beginRebuild(ctx context.Context) (paced context.Context, end func()) {
	g.rebuilding.Lock()
	paced, done := pace.Begin(ctx)
	return paced, func() {
		done()
		g.rebuilding.Unlock()
	}
}

// loadCertificates reads the listeners' certificates again, and returns what puts them in force.
func (g *Gateway) loadCertificates() (install func(), err error) {
	var installs []func()
	for _, l := range g.listeners {
		if l.tls == nil {
			continue
		}
		next, err := l.tls.Load()
		if err != nil {
			return nil, err
		}
		installs = append(installs, func() { l.tls.Install(next) })
	}
	return func() {
		for _, install := range installs {
			install()
		}
	}, nil
}

func (g *Gateway) refused(err error) error {
	g.telemetry.Reloaded(false)
	text := err.Error()
	g.problem.Store(&text)
	g.telemetry.Logger.Error("configuration refused; the old one stays in force", "error", text)
	return err
}

// follow rebuilds when something has changed, until the gateway closes.
func (g *Gateway) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with follow
		select {
		case <-g.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-g.closed:
			return
		case <-g.edited:
			_ = g.Reload(ctx) // logged
		case <-g.changed:
			paced, end := g.beginRebuild(ctx)
			if err := g.install(paced); err != nil {
				_ = g.refused(err)
			}
			end()
		}
	}
}

func (g *Gateway) rebuild(ctx context.Context, cfg *config.Config) error {
	g.rebuilding.Lock()
	defer g.rebuilding.Unlock()
	return g.rebuildLocked(ctx, cfg)
}

// rebuildLocked compiles a configuration from its sources, and installs it.
func (g *Gateway) rebuildLocked(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildTimeout)
	defer cancel()
	old := g.snapshot.Load()
	if old != nil {
		if err := unchangeable(old.config, cfg); err != nil {
			return err
		}
	}
	p, err := g.open(cfg, old)
	if err != nil {
		return err
	}
	loader, err := descriptors.NewLoader(cfg, backendsOf(p.upstreams), g.registry, g.loader, notify(g.changed))
	if err != nil {
		p.close()
		return err
	}
	s, err := p.load(ctx, loader, old)
	if err != nil {
		loader.Close()
		p.close()
		return err
	}
	if g.loader != nil {
		g.loader.Close()
	}
	g.loader = loader
	g.swap(s)
	g.telemetry.Configure(cfg.Log)
	g.cache.Configure(&cfg.Cache)
	g.stores.Overload.Configure(cfg.Overload.MaxConcurrency, cfg.Overload.QueueDelay.Std())
	return g.watchConfig(watchedFiles(cfg))
}

// open makes what a snapshot holds open: pools and key sets, those of old where nothing about them has changed.
func (g *Gateway) open(cfg *config.Config, old *Snapshot) (*parts, error) {
	var oldUpstreams *upstream.Set
	var oldReleases *release.Set
	var oldAuth *auth.Providers
	if old != nil {
		oldUpstreams, oldReleases, oldAuth = old.upstreams, old.releases, old.auth
	}
	p := &parts{config: cfg, stores: g.stores, telemetry: g.telemetry, node: g.node, sockets: g.sockets, cache: g.cache}
	var errs config.Errors
	var err error
	if p.upstreams, err = upstream.Open(cfg.Upstreams, g.pools(), oldUpstreams); err != nil {
		errs.Add(config.Position{}, err)
	}
	if p.releases, err = release.Compile(cfg.Releases, oldReleases); err != nil {
		errs.Add(config.Position{}, err)
	}
	p.stores.Upstream = callersOf(p.upstreams)
	if p.stores.Signer, err = auth.CompileSigner(cfg.IdentityTokens); err != nil {
		errs.Add(config.Position{}, err)
	}
	if p.auth, err = auth.Compile(cfg.Auth, auth.Options{
		Previous: oldAuth, Logger: g.telemetry.Logger, Telemetry: g.telemetry, Redis: g.redis.first(), Prefix: g.redis.prefix, Revoke: g.revoke,
	}); err != nil {
		errs.Add(config.Position{}, err)
	}
	if err := errs.Err(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// revokeTime is how long a revocation may take.
const revokeTime = 5 * time.Second

// revoke has every node refuse a credential, and close the WebSockets that were opened with it.
func (g *Gateway) revoke(one auth.Revocation) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeTime)
	defer cancel()
	if _, err := g.node.Revoke(ctx, one); err != nil {
		g.telemetry.Logger.Warn("nodes could not be told that a session has ended; they believe it for its cache_time", "error", err)
	}
}

// pools is what upstreams need besides their configuration.
func (g *Gateway) pools() upstream.Options {
	return upstream.Options{Redis: g.redis.first(), Prefix: g.redis.prefix, Telemetry: g.telemetry}
}

// load compiles with what the loader's sources have, and with what old, which may be nil, has compiled of them. They are watched
// first, so that no change falls between.
func (p *parts) load(ctx context.Context, loader *descriptors.Loader, old *Snapshot) (*Snapshot, error) {
	if err := loader.Watch(); err != nil {
		return nil, err
	}
	var err error
	if p.set, err = loader.Load(ctx); err != nil {
		return nil, err
	}
	p.reuse(old)
	return compile(ctx, *p)
}

// reuse takes over what a snapshot has compiled of the same descriptors, and its copies that are under way.
func (p *parts) reuse(old *Snapshot) {
	if old == nil {
		return
	}
	p.mirrored = old.mirrors
	if old.set == p.set {
		p.codecs = maps.Clone(old.codecs)
	}
}

func (p *parts) close() {
	p.upstreams.Close()
	p.auth.Close()
}

// install compiles the configuration in force with the descriptors as they are now. The caller holds rebuilding.
func (g *Gateway) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildTimeout)
	defer cancel()
	set, err := g.loader.Load(ctx)
	if err != nil {
		return err
	}
	if set == g.snapshot.Load().set && g.problem.Load() == nil {
		return nil // a source has said that it may have changed, and has not
	}
	s, err := g.compileSet(ctx, set)
	if err != nil {
		return err
	}
	g.swap(s)
	return nil
}

// compileSet compiles the configuration in force with other descriptors. What it holds open is carried over.
func (g *Gateway) compileSet(ctx context.Context, set *descriptors.Set) (*Snapshot, error) {
	old := g.snapshot.Load()
	p, err := g.open(old.config, old)
	if err != nil {
		return nil, err
	}
	p.set = set
	p.reuse(old)
	s, err := compile(ctx, *p)
	if err != nil {
		p.close()
	}
	return s, err
}

// swap puts a snapshot in force.
func (g *Gateway) swap(s *Snapshot) {
	g.releases.Install(s.releases)
	if s.caches {
		g.cache.Follow()
	}
	old := g.snapshot.Swap(s)
	g.problem.Store(nil)
	perSource := map[string]int{}
	for _, service := range s.set.Services() {
		perSource[service.Source]++
	}
	g.telemetry.DescribeServices(perSource)
	g.telemetry.Retain(s.names)
	g.telemetry.Reloaded(true)
	for _, w := range s.warnings {
		g.telemetry.Logger.Warn("configuration", "warning", w)
	}
	if old != nil {
		g.telemetry.Logger.Info("a new snapshot is in force", "routes", len(s.config.Routes), "services", len(s.set.Services()))
		g.retire(old)
	}
}

// watchedFiles returns the files whose change is a change of the configuration.
func watchedFiles(cfg *config.Config) []string {
	files := slices.Clone(cfg.Files)
	for _, l := range cfg.Listeners {
		if l.TLS != nil {
			files = append(files, l.TLS.Files()...)
		}
	}
	return files
}

// watchConfig follows the files of the configuration.
func (g *Gateway) watchConfig(files []string) error {
	if slices.Equal(files, g.watched) {
		return nil
	}
	w, err := descriptors.WatchFiles(files, notify(g.edited))
	if err != nil {
		return err
	}
	if g.watcher != nil {
		// Not from here: a change may be being reported to this very goroutine's channel.
		old := g.watcher
		g.background.Go(old.Close)
	}
	g.watcher, g.watched = w, files
	return nil
}

// notify returns a function that leaves a note in a channel, unless there is one.
func notify(c chan struct{}) func() {
	return func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// backendsOf finds pools for reflection. A nil pool must not become a Backend that is not nil.
func backendsOf(s *upstream.Set) func(string) descriptors.Backend {
	return func(name string) descriptors.Backend {
		if p := s.Pool(name); p != nil {
			return p
		}
		return nil
	}
}

// unchangeable refuses what only a restart can change.
func unchangeable(old, next *config.Config) error {
	var errs config.Errors
	if !config.Same(old.Listeners, next.Listeners) {
		pos := config.Position{}
		if len(next.Listeners) > 0 {
			pos = next.Listeners[0].Pos
		}
		errs.Add(pos, fmt.Errorf("listeners: a change needs a restart"))
	}
	if !config.Same(old.Admin, next.Admin) {
		errs.Add(next.Admin.Pos, fmt.Errorf("admin: a change needs a restart"))
	}
	if !config.Same(old.Redis, next.Redis) {
		pos := config.Position{}
		if next.Redis != nil {
			pos = next.Redis.Pos
		}
		errs.Add(pos, fmt.Errorf("redis: a change needs a restart"))
	}
	return errs.Err()
}
