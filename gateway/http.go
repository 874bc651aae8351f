package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/proxy"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream"
)

// http adds the rule of a route that passes requests on to HTTP backends.
func (c *compiler) http(cfg *config.Route, policy *admission.Policy, r *route) {
	pool := c.upstreams.Pool(cfg.HTTP.Upstream)
	if pool == nil {
		c.errs.Add(cfg.HTTP.Pos, fmt.Errorf("route %s: there is no upstream %q", cfg.Name, cfg.HTTP.Upstream))
		return
	}
	template, err := templateOf(&cfg.Match)
	if err != nil {
		c.errs.Add(cfg.Match.Pos, err)
		return
	}
	m := c.mirror(cfg)
	h, err := proxy.Compile(cfg.HTTP, proxy.Options{
		Template: template, Prefix: cfg.Match.PathPrefix, Timeout: cfg.Timeout.Std(), MaxBody: int64(cfg.MaxBodySize),
		Tunnels: tunnels{c.sockets}, OwnCORS: cfg.CORS != nil,
	})
	if err != nil {
		c.errs.Add(cfg.HTTP.Pos, fmt.Errorf("route %s: %w", cfg.Name, err))
		return
	}
	kept := c.kept(cfg, r, nil)
	t := &target{
		route: r, kind: "http", protocol: telemetry.HTTP, calls: "http:" + cfg.HTTP.Upstream, upstream: cfg.HTTP.Upstream,
		serve: r.divide(pool, func(p *upstream.Pool) func(*exchange) {
			return kept.over(p, serveHTTP(h.WithBackend(m.Over(p.For(cfg, false))).Serve), nil)
		}),
	}
	c.own(cfg, policy, t, nil)
}

// redirect adds the rule of a route that sends clients elsewhere.
func (c *compiler) redirect(cfg *config.Route, policy *admission.Policy, r *route) {
	template, err := templateOf(&cfg.Match)
	if err != nil {
		c.errs.Add(cfg.Match.Pos, err)
		return
	}
	d, err := proxy.CompileRedirect(cfg.Redirect, template, cfg.Match.PathPrefix)
	if err != nil {
		c.errs.Add(cfg.Redirect.Pos, fmt.Errorf("route %s: %w", cfg.Name, err))
		return
	}
	t := &target{route: r, kind: "redirect", protocol: telemetry.HTTP, calls: "redirect:" + strconv.Itoa(d.Status()), serve: serveHTTP(d.Serve)}
	c.own(cfg, policy, t, nil)
}

// serveHTTP answers by what knows nothing of exchanges.
func serveHTTP(serve func(http.ResponseWriter, *http.Request, *proxy.Call) *fault.Error) func(*exchange) {
	return func(x *exchange) {
		call := &x.call
		*call = proxy.Call{
			Path: x.request.Path, Vars: x.ticket.Vars, User: x.user, RequestID: x.id, Route: x.target.route.name,
		}
		x.hops = slices.AppendSeq(x.hops[:0], hops(x.r, x.trusted))
		call.Trusted = len(x.hops) > 0 && contains(x.trusted, x.hops[0])
		if call.Trusted {
			call.Host, call.Scheme = seenBy(x.r.Header, len(x.hops))
		}
		slices.Reverse(x.hops)
		call.Hops = x.hops
		if x.r.Header["Upgrade"] != nil {
			call.Upgraded = x.leave // the connection outlives the snapshot
		}
		x.broken = true
		e := serve(&x.w, x.r, call)
		x.broken = false
		if e != nil {
			x.fail(e)
		}
	}
}

// tunnels are the upgraded connections among the gateway's sockets.
type tunnels struct{ *sockets }

func (t tunnels) Enter() bool           { return t.enter() }
func (t tunnels) Leave()                { t.leave() }
func (t tunnels) Life() context.Context { return t.life }
