package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/client"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/mirror"
	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/pace"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/transcoder/rpc"
	"github.com/crossgate/crossgate/transcoder/validation"
	"github.com/crossgate/crossgate/upstream"
	"github.com/crossgate/crossgate/wsbridge"
)

// parts are what a snapshot is compiled from.
type parts struct {
	config    *config.Config
	set       *descriptors.Set
	upstreams *upstream.Set
	releases  *release.Set
	auth      *auth.Providers
	stores    admission.Stores
	telemetry *telemetry.Telemetry
	node      *wsbridge.Node            // nil for a check
	sockets   *sockets                  // and so is this
	cache     *cache.Store              // and this
	codecs    map[int]*codec.Wire       // by depth; those of the snapshot before, where that has the same descriptors
	mirrored  map[string]*mirror.Mirror // by route; those of the snapshot before
}

// compiler turns routes into rules of one table.
type compiler struct {
	parts
	pace     *pace.Pace
	rules    []routing.Rule[*admission.Route]
	upgrades map[string]upgrade // by what they match
	bindings []Binding
	warnings []string
	bridged  []*wsbridge.Route
	mirrors  map[string]*mirror.Mirror // by route
	errs     config.Errors
	security *securityHeaders // of routes that have none of their own

	caches bool // a route keeps answers

	described  []*described // the gRPC routes
	documented []*docs      // the routes with their documentation

	validators  map[descriptors.Resolver]*validation.Compiler // by source
	brokenRules map[string]bool                               // that have been reported
}

// compile makes a snapshot. Its errors are config.Errors: all of them, with the places of both where two routes clash.
func compile(ctx context.Context, p parts) (*Snapshot, error) {
	p.stores.Shared = p.config.Limits
	if p.codecs == nil {
		p.codecs = map[int]*codec.Wire{}
	}
	c := &compiler{parts: p, pace: pace.Of(ctx), validators: map[descriptors.Resolver]*validation.Compiler{}, brokenRules: map[string]bool{}, mirrors: map[string]*mirror.Mirror{}}
	c.security = compileSecurityHeaders(p.config.SecurityHeaders)
	names := map[string]bool{}
	for i := range p.config.Routes {
		c.pace.Step()
		names[p.config.Routes[i].Name] = true
		c.route(&p.config.Routes[i])
	}
	for _, d := range c.documented {
		d.describe(c.described)
	}
	c.addUpgrades()
	table, err := routing.Compile(c.rules)
	if err != nil {
		c.errs.Add(config.Position{}, err)
	}
	if err := c.errs.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.bindings, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), slices.Compare(a.Hosts, b.Hosts))
	})
	return &Snapshot{
		config: p.config, set: p.set, codecs: p.codecs, upstreams: p.upstreams, releases: p.releases, auth: p.auth, signer: p.stores.Signer, table: table, admitter: admission.New(table),
		caches: c.caches, bindings: c.bindings, described: c.described, names: names, bridged: c.bridged, mirrors: c.mirrors, installed: time.Now(),
		security: c.security, loginCookies: c.auth.SessionCookies(),
		warnings: slices.Concat(c.warnings, p.set.Warnings, p.set.Pending),
	}, nil
}

func (c *compiler) route(cfg *config.Route) {
	policy, err := admission.CompilePolicy(cfg, c.auth, c.stores)
	if err != nil {
		c.errs.Add(cfg.Pos, err)
		return
	}
	r := &route{name: cfg.Name, cors: compileCORS(cfg.CORS), compression: compileCompression(&cfg.Compression), limits: limitPolicy(policy.Rules()), metrics: c.telemetry.Route(cfg.Name), security: c.security, login: policy.Auth.Login()}
	if cfg.SecurityHeaders != nil {
		r.security = compileSecurityHeaders(cfg.SecurityHeaders)
	}
	if err := r.divideBy(c.releases.Release(cfg.Release), c.upstreams); err != nil {
		c.errs.Add(cfg.Pos, fmt.Errorf("route %s: release %s: %w", cfg.Name, cfg.Release, err))
		return
	}
	switch {
	case cfg.GRPC != nil:
		c.grpc(cfg, policy, r)
	case cfg.WebSocket != nil:
		c.bridge(cfg, policy, r)
	case cfg.HTTP != nil:
		c.http(cfg, policy, r)
	case cfg.Redirect != nil:
		c.redirect(cfg, policy, r)
	case cfg.Login != nil:
		c.login(cfg, policy, r)
	case cfg.Docs != nil:
		c.docs(cfg, policy, r)
	case cfg.Client != nil:
		module := newStaticFile("text/javascript; charset=utf-8", client.Module())
		module.header["Cache-Control"] = []string{fmt.Sprintf("private, max-age=%d", int(cfg.Client.MaxAge.Std().Seconds()))}
		c.own(cfg, policy, &target{route: r, kind: "client", protocol: telemetry.REST, calls: "client", serve: module.serve}, []string{http.MethodGet})
	case cfg.Respond != nil:
		answer, err := compileRespond(cfg.Respond)
		if err != nil {
			c.errs.Add(cfg.Respond.Pos, err)
			return
		}
		c.own(cfg, policy, &target{route: r, kind: "respond", calls: "respond:" + strconv.Itoa(answer.status), serve: answer.serve}, nil)
	}
}

// own adds the one rule of a route that has a path of its own.
func (c *compiler) own(cfg *config.Route, policy *admission.Policy, t *target, methods []string) {
	template, err := templateOf(&cfg.Match)
	if err != nil {
		c.errs.Add(cfg.Match.Pos, err)
		return
	}
	if len(cfg.Match.Methods) > 0 {
		methods = cfg.Match.Methods
	}
	c.add(cfg, policy, t, methods, template, "")
}

// templateOf returns what the path of a route that has one of its own must match.
func templateOf(m *config.Match) (*routing.Template, error) {
	switch {
	case m.Path != "":
		return routing.ExactPath(m.Path)
	case m.Template != "":
		return routing.ParseTemplate(m.Template)
	}
	return routing.PathPrefix(cmp.Or(m.PathPrefix, "/"))
}

// add adds a rule; what it is for, in errors, and conditions besides the route's own may be left out.
func (c *compiler) add(cfg *config.Route, policy *admission.Policy, t *target, methods []string, template *routing.Template, what string, besides ...routing.Header) {
	origin := fmt.Sprintf("%s: route %s", cfg.Pos, cfg.Name)
	if what != "" {
		origin += ": " + what
	}
	path := template.String()
	if parts := template.Parts(); strings.HasSuffix(path, "/") && parts[len(parts)-1].Multi {
		path += "**"
	}
	c.rules = append(c.rules, routing.Rule[*admission.Route]{
		Hosts:    cfg.Match.Hosts,
		Methods:  methods,
		Template: template,
		Headers:  append(headerConditions(cfg.Match.Headers), besides...),
		Value:    &admission.Route{Policy: policy, Binding: path, Target: t},
		Origin:   origin,
	})
	c.bindings = append(c.bindings, Binding{
		Route: cfg.Name, Source: cfg.Pos.String(), Kind: t.kind, Method: cmp.Or(strings.Join(methods, ","), "*"), Hosts: cfg.Match.Hosts,
		Path: path, Target: t.calls, Upstream: t.upstream,
	})
}

func headerConditions(m map[string]string) []routing.Header {
	var list []routing.Header
	for name, value := range m {
		list = append(list, routing.Header{Name: http.CanonicalHeaderKey(name), Value: value})
	}
	slices.SortFunc(list, func(a, b routing.Header) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// grpc adds the rules of a route's services: each method's own path, and each of its HTTP bindings within the route's
// path.
func (c *compiler) grpc(cfg *config.Route, policy *admission.Policy, r *route) {
	pool := c.upstreams.Pool(cfg.GRPC.Upstream)
	if pool == nil {
		c.errs.Add(cfg.GRPC.Pos, fmt.Errorf("route %s: there is no upstream %q", cfg.Name, cfg.GRPC.Upstream))
		return
	}
	g := &grpcRoute{compiler: c, cfg: cfg, policy: policy, route: r, pool: pool, mirror: c.mirror(cfg),
		options: transcoder.Options{
			Codec: c.codec(cfg.GRPC.JSON.MaxDepth),
			JSON: codec.Options{
				ProtoNames:      cfg.GRPC.JSON.Names == "proto",
				EmitUnpopulated: cfg.GRPC.JSON.Unpopulated == "emit",
				EnumNumbers:     cfg.GRPC.JSON.Enums == "numbers",
				Int64Numbers:    cfg.GRPC.JSON.Int64 == "numbers",
				DiscardUnknown:  cfg.GRPC.JSON.Unknown == "ignore",
			},
			Streams: transcoder.StreamOptions{
				Framing: framings[cfg.GRPC.Streams.Framing], EventID: cfg.GRPC.Streams.EventID, KeepAlive: cfg.GRPC.Streams.KeepAlive.Std(),
			},
			IgnoreUnknownQuery: cfg.GRPC.UnknownQuery == "ignore",
			IgnoredQuery:       cfg.GRPC.IgnoredQuery,
			Forms:              formsOf[cfg.GRPC.Forms],
			ForwardHeaders:     cfg.GRPC.ForwardHeaders,
			ReturnHeaders:      cfg.GRPC.ReturnHeaders,
			MaxBodySize:        int64(cfg.MaxBodySize),
			Timeout:            cfg.Timeout.Std(),
		}}
	if g.kept = c.kept(cfg, r, append(slices.Clone(cfg.GRPC.ForwardHeaders), metadataPrefix+"*")); g.kept != nil {
		g.options.ReturnHeaders = slices.Concat(cfg.GRPC.ReturnHeaders, g.kept.policy.Headers())
	}
	g.rpc = rpc.Options{
		MaxMessage: int64(cfg.MaxBodySize), Timeout: cfg.Timeout.Std(), Codec: g.options.Codec, JSON: g.options.JSON,
	}
	g.description = &described{
		name: cfg.Name, hosts: cfg.Match.Hosts, conditions: len(cfg.Match.Headers),
		api: openapi.Route{JSON: g.options.JSON, Framing: g.options.Streams.Framing, Forms: g.options.Forms, Auth: policy.Auth, Limited: len(cfg.RateLimits) > 0},
	}
	c.described = append(c.described, g.description)
	seen := map[protoreflect.FullName]bool{}
	for _, pattern := range cfg.GRPC.Services {
		g.pattern(pattern, seen)
	}
	g.warnOfMethods()
}

// codec returns the codec of messages that nest at most so deeply, which is shared: a message type is compiled once for all routes
// with the same options.
func (c *compiler) codec(depth int) *codec.Wire {
	w := c.codecs[depth]
	if w == nil {
		w = &codec.Wire{Limits: codec.Limits{Depth: depth}}
		c.codecs[depth] = w
	}
	return w
}

var framings = map[string]transcoder.Framing{
	"ndjson": transcoder.Lines, "result": transcoder.Results, "array": transcoder.Array, "sse": transcoder.Events,
}

var formsOf = map[string]transcoder.Forms{"same_origin": transcoder.SameOriginForms, "accept": transcoder.AcceptForms}

type grpcRoute struct {
	*compiler
	cfg     *config.Route
	policy  *admission.Policy
	route   *route
	pool    *upstream.Pool
	mirror  *mirror.Mirror // nil for none
	kept    *kept          // nil for nothing
	rpc     rpc.Options
	options transcoder.Options

	description *described
}

func (g *grpcRoute) pattern(pattern string, seen map[protoreflect.FullName]bool) {
	matched := false
	for _, s := range g.set.Services() {
		if !descriptors.Selects(pattern, string(s.Descriptor.FullName())) {
			continue
		}
		matched = true
		if !seen[s.Descriptor.FullName()] {
			seen[s.Descriptor.FullName()] = true
			g.service(s)
		}
	}
	if matched || strings.HasSuffix(pattern, "*") || seen[protoreflect.FullName(pattern)] {
		return
	}
	// A service without descriptors can be called by native gRPC all the same.
	seen[protoreflect.FullName(pattern)] = true
	g.warnings = append(g.warnings, fmt.Sprintf("%s: route %s: no descriptor source has the service %s yet", g.cfg.GRPC.Pos, g.cfg.Name, pattern))
	template, err := routing.ParseTemplate("/" + pattern + "/*")
	if err != nil {
		g.errs.Add(g.cfg.GRPC.Pos, fmt.Errorf("route %s: services: %q is no service name", g.cfg.Name, pattern))
		return
	}
	h := rpc.NewUndescribed(g.rpc)
	if g.cfg.GRPC.Validate {
		h = nil // what is not described cannot be checked
	}
	t := &target{route: g.route, kind: "grpc", calls: "/" + pattern + "/*", upstream: g.cfg.GRPC.Upstream, streams: true, serve: g.route.divide(g.pool, func(p *upstream.Pool) func(*exchange) {
		if h == nil {
			return serveRPC(nil, nil)
		}
		return serveRPC(h.WithBackend(p.For(g.cfg, false), p.MaxMessageSize()), nil)
	})}
	g.add(g.cfg, g.policy, t, []string{http.MethodPost}, template, pattern)
}

func (g *grpcRoute) service(s *descriptors.Service) {
	for _, m := range s.Methods {
		g.pace.Step()
		name := string(m.Descriptor.FullName())
		options := g.options
		options.KeepUpdateMask = slices.ContainsFunc(g.cfg.GRPC.KeepUpdateMask, func(s string) bool { return descriptors.Selects(s, name) })
		var ok bool
		if options.Rules, ok = g.validation(m); !ok {
			continue
		}
		own, err := transcoder.CompileRPC(m, options)
		if err != nil {
			g.errs.Add(g.cfg.GRPC.Pos, err)
			continue
		}
		calls := g.rpc
		calls.Rules = options.Rules
		h, err := rpc.New(m, calls)
		if err != nil {
			g.errs.Add(g.cfg.GRPC.Pos, err)
			continue
		}
		template, err := routing.ExactPath(m.FullMethod)
		if err != nil {
			g.errs.Add(g.cfg.GRPC.Pos, err)
			continue
		}
		policy := g.policy.For(name)
		posted := g.posted(m)
		t := &target{route: g.route, kind: "rpc", calls: m.FullMethod, upstream: g.cfg.GRPC.Upstream, streams: streams(m)}
		t.serve = g.route.divide(g.pool, func(p *upstream.Pool) func(*exchange) {
			b := g.backend(m, p)
			calls := h.WithBackend(b, p.MaxMessageSize())
			serve := serveRPC(calls, own.WithBackend(b))
			if posted == nil || g.kept == nil {
				return serve
			}
			return g.kept.overCalls(p, calls, b, posted.timeout, g.kept.over(p, serve, posted))
		})
		methods := []string{http.MethodPost}
		if rpc.HasGet(m.Descriptor) {
			methods = append(methods, http.MethodGet)
		}
		g.add(g.cfg, policy, t, methods, template, name)
		before := len(g.description.api.Bindings)
		g.upgrade(m, descriptors.Binding{HTTPMethod: http.MethodPost, Template: m.FullMethod, Body: "*"}, options, template)
		for _, b := range m.Bindings {
			g.binding(m, b, options)
		}
		if len(g.description.api.Bindings) == before {
			// What has no path but its own is described by that.
			g.describe(m, descriptors.Binding{HTTPMethod: http.MethodPost, Template: m.FullMethod, Body: "*"}, nil)
		}
	}
}

// backend returns what a method's calls go to in a pool.
func (g *grpcRoute) backend(m *descriptors.Method, p *upstream.Pool) upstream.Backend {
	if streams(m) {
		once := *g.cfg
		once.Hedge = nil // a stream goes to one endpoint
		return p.For(&once, idempotent(m))
	}
	return g.mirror.Over(p.For(g.cfg, idempotent(m)))
}

// streams reports whether a method is more than one message each way.
func streams(m *descriptors.Method) bool {
	return m.Descriptor.IsStreamingClient() || m.Descriptor.IsStreamingServer()
}

// idempotent reports whether a method may be repeated: it says so itself, or has a binding by GET, which must be safe
// (AIP-131).
func idempotent(m *descriptors.Method) bool {
	o, _ := m.Descriptor.Options().(*descriptorpb.MethodOptions)
	return o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN ||
		slices.ContainsFunc(m.Bindings, func(b descriptors.Binding) bool { return b.HTTPMethod == http.MethodGet })
}

func (g *grpcRoute) binding(m *descriptors.Method, b descriptors.Binding, options transcoder.Options) {
	name := string(m.Descriptor.FullName())
	if !withinPath(&g.cfg.Match, b.Template) {
		return
	}
	methods := []string{b.HTTPMethod}
	if b.HTTPMethod == "*" {
		methods = nil
	}
	if want := g.cfg.Match.Methods; len(want) > 0 {
		if b.HTTPMethod == "*" {
			methods = want
		} else if !slices.Contains(want, b.HTTPMethod) {
			return
		}
	}
	method, err := transcoder.Compile(m, b, options)
	if err != nil {
		g.errs.Add(g.cfg.GRPC.Pos, fmt.Errorf("route %s: %w", g.cfg.Name, err))
		return
	}
	posted := g.posted(m)
	t := &target{route: g.route, kind: "rest", calls: m.FullMethod, upstream: g.cfg.GRPC.Upstream, streams: streams(m)}
	t.serve = g.route.divide(g.pool, func(p *upstream.Pool) func(*exchange) {
		serve := serveREST(method.WithBackend(g.backend(m, p)))
		if !t.streams {
			serve = g.kept.over(p, serve, posted)
		}
		return serve
	})
	g.add(g.cfg, g.policy.For(name), t, methods, method.Template(), name)
	g.upgrade(m, b, options, method.Template())
	g.describe(m, b, methods)
}

func (g *grpcRoute) describe(m *descriptors.Method, b descriptors.Binding, methods []string) {
	api := &g.description.api
	api.Bindings = append(api.Bindings, openapi.Binding{Method: m, Rule: b, HTTPMethods: methods})
}

// withinPath reports whether a binding lies below the route's path prefix, or is its exact path.
func withinPath(m *config.Match, template string) bool {
	if m.Path != "" {
		return template == m.Path
	}
	return strings.HasPrefix(template, m.PathPrefix)
}

func compileRespond(cfg *config.Respond) (*respond, error) {
	a := &respond{status: cfg.Status, body: []byte(cfg.Body), header: http.Header{"Content-Type": {cfg.ContentType}}}
	if cfg.File != "" {
		body, err := os.ReadFile(string(cfg.File))
		if err != nil {
			return nil, fmt.Errorf("respond: %w", err)
		}
		a.body = body
	}
	return a, nil
}
