package gateway

import (
	"maps"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/rpc"
	"github.com/crossgate/crossgate/upstream"
)

// kept is the cache of a route.
type kept struct{ policy *cache.Policy }

// kept compiles a route's cache, nil where it has none. forwarded are the request headers that backends get without saying so
// in Vary.
func (c *compiler) kept(cfg *config.Route, r *route, forwarded []string) *kept {
	if cfg.Cache == nil {
		return nil
	}
	o := cache.Options{Store: c.cache, Route: cfg.Name, Metrics: r.metrics.Cache(), Forwarded: forwarded}
	if cfg.HTTP != nil {
		for _, edits := range []map[string]string{cfg.HTTP.RequestHeaders.Set, cfg.HTTP.RequestHeaders.Add} {
			o.Computed = slices.AppendSeq(o.Computed, maps.Keys(edits))
		}
	}
	if f := cfg.ForwardIdentity; f != nil {
		o.Computed = append(slices.AppendSeq(o.Computed, maps.Keys(f.Headers)), f.TokenHeader)
	}
	for _, pool := range append(r.sides, c.upstreams.Pool(upstreamOf(cfg))) {
		if pool != nil && pool.Sticky() != nil {
			o.OwnCookies = append(o.OwnCookies, pool.Sticky().Cookie)
		}
	}
	if r.release != nil {
		if name, how := r.release.Cookie(); how != nil {
			o.OwnCookies = append(o.OwnCookies, name)
		}
	}
	c.caches = true
	return &kept{cache.Compile(cfg.Cache, o)}
}

// upstreamOf names a route's upstream.
func upstreamOf(cfg *config.Route) string {
	if cfg.HTTP != nil {
		return cfg.HTTP.Upstream
	}
	return cfg.GRPC.Upstream
}

// over returns what answers from what is kept of a pool's answers, and fetches the others by serve. Where k is nil that is serve
// itself. posted is for methods without side effects, nil for none.
func (k *kept) over(p *upstream.Pool, serve func(*exchange), posted *posted) func(*exchange) {
	if k == nil {
		return serve
	}
	return (&cached{k, p.Name(), serve, posted}).answer
}

// cached are the answers of one pool that are kept.
type cached struct {
	*kept
	upstream string
	serve    func(*exchange) // what fetches the others
	posted   *posted         // nil where what is asked by POST may have side effects
}

func (c *cached) answer(x *exchange) {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if c.posted != nil && x.protocol == rpc.None {
			c.posted.answer(c, x)
			return
		}
		fallthrough
	default:
		c.serve(x)
		c.invalidate(x)
		return
	}
	if x.r.Header["Upgrade"] != nil || x.protocol != rpc.None && x.protocol != rpc.ConnectGet {
		c.serve(x)
		return
	}
	if e := c.ask(x, &x.w, x.r, cache.Request{}); e != nil {
		x.fail(e)
	} else if x.w.status < http.StatusBadRequest {
		x.code = codes.OK // however the backend failed, where something stale stands in
	}
}

// ask asks the cache for the answer to r, which is the exchange's request or what has become of it. ask has what sets it apart
// from other requests.
func (c *cached) ask(x *exchange, w http.ResponseWriter, r *http.Request, ask cache.Request) *fault.Error {
	ask.Request, ask.Path, ask.Upstream, ask.Told = r, x.request.Path, c.upstream, x.told()
	if id := x.ticket.Identity; id.Authenticated() {
		ask.Identity = id.Provider + "\x00" + id.User + "\x00" + id.KeyID
	}
	if len(x.trusted) > 0 {
		for peer := range hops(x.r, x.trusted) {
			ask.Trusted = contains(x.trusted, peer)
			break
		}
	}
	x.ask, x.origin = ask, origin{x, c}
	e := c.policy.Serve(w, &x.ask, &x.origin)
	x.ask, x.origin = cache.Request{}, origin{}
	return e
}

// told reports whether admission tells the backend something about the caller that the caller does not say itself.
func (x *exchange) told() bool {
	return x.ticket.Forward != nil && len(x.ticket.Forward.Request) > 0 || x.ticket.Changes != nil && len(x.ticket.Changes.Request) > 0
}

// invalidate forgets what is kept of what a request has changed (RFC 9111 section 4.4).
func (c *cached) invalidate(x *exchange) {
	switch x.r.Method {
	case http.MethodOptions, http.MethodTrace:
		return
	}
	if status := x.w.status; status < 200 || status >= 400 || x.w.hijacked || x.protocol != rpc.None {
		return
	}
	ctx := x.r.Context()
	c.policy.Invalidate(ctx, x.r.Host, x.request.Path, x.r.URL.RawQuery)
	for _, name := range []string{"Location", "Content-Location"} {
		if to := first(x.w.Header()[name]); to != "" {
			c.policy.InvalidateReference(ctx, x.r.Host, x.request.Path, to)
		}
	}
}

// origin fetches for the cache what an exchange asks for.
type origin struct {
	exchange *exchange
	cached   *cached
}

// Fetch implements cache.Origin. What it serves from is an exchange of its own, whose answer is as the backend gives it:
// neither compressed nor with what the gateway says to this client.
func (o *origin) Fetch(w http.ResponseWriter, r *http.Request) {
	x := o.exchange
	y := exchanges.Get().(*exchange)
	ticket := y.ticket
	y.w = recorder{ResponseWriter: w}
	y.r, y.ticket, y.trusted, y.start, y.id, y.protocol, y.code = r, x.ticket, x.trusted, x.start, x.id, x.protocol, x.code
	y.request, y.user, y.binding, y.target = x.request, x.user, x.binding, x.target
	defer func() {
		x.broken, x.code = y.broken, y.code
		y.w, y.r, y.target, y.request, y.ticket = recorder{}, nil, nil, admission.Request{}, ticket
		exchanges.Put(y)
	}()
	o.cached.serve(y)
}

// Detach implements cache.Origin. The exchange that it makes has a hold of its own on the snapshot.
func (o *origin) Detach() (cache.Origin, func()) {
	x := o.exchange
	y := exchanges.Get().(*exchange)
	y.snap = x.snap
	y.snap.users[y.stripe].n.Add(1) // it is not idle, for x has a hold on it
	y.trusted, y.start, y.id, y.protocol, y.code = x.trusted, x.start, x.id, x.protocol, x.code
	y.request, y.user, y.binding, y.target = x.request, x.user, x.binding, x.target
	y.request.Header = nil
	t := x.ticket
	*y.ticket = admission.Ticket{Route: t.Route, Vars: slices.Clone(t.Vars), Identity: t.Identity, Client: t.Client}
	return &origin{y, o.cached}, func() {
		y.leave()
		*y.ticket = admission.Ticket{}
		y.target, y.request, y.broken = nil, admission.Request{}, false
		exchanges.Put(y)
	}
}
