package gateway

import (
	"context"
	"io"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream"
)

// Report is what a configuration makes.
type Report struct {
	Routes   int
	Bindings []Binding // sorted by route, path and method
	Warnings []string

	snapshot *Snapshot
}

// OpenAPI returns the OpenAPI document of the configuration's gRPC routes, or of those that a host reaches; host is "" for
// all.
func (r *Report) OpenAPI(host string) ([]byte, error) { return r.snapshot.openAPI(host) }

// Check compiles a configuration as serving it would, without listening and without Redis: descriptors of a backend's
// reflection are asked for, registered sets are not there. The error is a config.Errors.
func Check(ctx context.Context, path string) (*Report, error) {
	cfg, err := config.Load(ctx, path)
	if err != nil {
		return nil, err
	}
	t := telemetry.New(cfg.Log, io.Discard)
	defer t.Close()
	p := parts{config: cfg, telemetry: t}
	p.stores = admission.Stores{Memory: ratelimit.NewMemory(), Redis: ratelimit.NewMemory(), Leased: ratelimit.NewMemory()}
	var errs config.Errors
	if p.upstreams, err = upstream.Open(cfg.Upstreams, upstream.Options{}, nil); err != nil {
		errs.Add(config.Position{}, err)
	}
	defer p.upstreams.Close()
	if p.releases, err = release.Compile(cfg.Releases, nil); err != nil {
		errs.Add(config.Position{}, err)
	}
	p.stores.Upstream = callersOf(p.upstreams)
	if p.stores.Signer, err = auth.CompileSigner(cfg.IdentityTokens); err != nil {
		errs.Add(config.Position{}, err)
	}
	if p.auth, err = auth.Compile(cfg.Auth, auth.Options{}); err != nil {
		errs.Add(config.Position{}, err)
	}
	defer p.auth.Close()
	loader, err := descriptors.NewLoader(cfg, backendsOf(p.upstreams), nil, nil, func() {})
	if err == nil {
		p.set, err = loader.Load(ctx)
	}
	errs.Add(config.Position{}, err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	s, err := compile(ctx, p)
	if err != nil {
		return nil, err
	}
	return &Report{Routes: len(cfg.Routes), Bindings: s.bindings, Warnings: s.warnings, snapshot: s}, nil
}
