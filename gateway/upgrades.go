package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/upstream"
)

// upgrade is a gRPC method that a WebSocket upgrade at a path calls.
type upgrade struct {
	cfg      *config.Route
	policy   *admission.Policy
	target   *target
	template *routing.Template
	method   string // full name
	rank     int
}

// upgradeRank orders the HTTP methods of bindings that share a path: an upgrade is always a GET (RFC 6455 section 4.1), and
// so says nothing of which it means.
func upgradeRank(httpMethod string) int {
	order := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if i := slices.Index(order, httpMethod); i >= 0 {
		return i
	}
	return len(order)
}

// upgrade has a method take WebSockets at the path of one of its bindings, where the route says so, unless another binding
// there goes before it.
func (g *grpcRoute) upgrade(d *descriptors.Method, b descriptors.Binding, options transcoder.Options, template *routing.Template) {
	cfg := g.cfg.GRPC.WebSocket
	if cfg == nil {
		return
	}
	// Pages cannot set headers, and so credentials may be in the query.
	options.IgnoredQuery = slices.Concat(options.IgnoredQuery, g.policy.Auth.QueryNames())
	s, err := transcoder.CompileSocket(d, b, options, transcoder.SocketOptions{
		PingInterval: cfg.PingInterval.Std(), PingTimeout: cfg.PingTimeout.Std(),
	})
	if err != nil {
		g.errs.Add(cfg.Pos, err)
		return
	}
	u := upgrade{cfg: g.cfg, policy: g.policy.For(string(d.Descriptor.FullName())), template: template, method: string(d.Descriptor.FullName()), rank: upgradeRank(b.HTTPMethod)}
	origins, metrics := admission.CompileOrigins(cfg.Origins), socketMetricsOf(g.route, telemetry.OverWebSocket)
	u.target = &target{
		route: g.route, kind: "websocket", protocol: telemetry.WebSocket, calls: d.FullMethod, upstream: g.cfg.GRPC.Upstream, streams: true,
		serve: g.route.divide(g.pool, func(p *upstream.Pool) func(*exchange) {
			return serveSocket(s.WithBackend(g.backend(d, p)), origins, metrics, g.sockets)
		}),
	}
	key := fmt.Sprintf("%q %q %s", g.cfg.Match.Hosts, headerConditions(g.cfg.Match.Headers), template.Pattern())
	if before, taken := g.upgrades[key]; taken && before.rank <= u.rank {
		return
	}
	if g.upgrades == nil {
		g.upgrades = map[string]upgrade{}
	}
	g.upgrades[key] = u
}

// addUpgrades adds the rules of the methods that take WebSockets.
func (c *compiler) addUpgrades() {
	list := make([]upgrade, 0, len(c.upgrades))
	for _, u := range c.upgrades {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b upgrade) int {
		return cmp.Or(strings.Compare(a.cfg.Name, b.cfg.Name), strings.Compare(a.template.String(), b.template.String()))
	})
	for _, u := range list {
		c.add(u.cfg, u.policy, u.target, []string{http.MethodGet}, u.template, u.method, routing.Header{Name: "Upgrade", Value: websocketName[0]})
	}
}
