package gateway

import (
	"fmt"
	"strings"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/mirror"
)

// mirror returns what copies a route's requests, nil for nothing.
func (c *compiler) mirror(cfg *config.Route) *mirror.Mirror {
	if cfg.Mirror == nil {
		return nil
	}
	pool := c.upstreams.Pool(cfg.Mirror.Upstream)
	if pool == nil {
		c.errs.Add(cfg.Mirror.Pos, fmt.Errorf("route %s: there is no upstream %q", cfg.Name, cfg.Mirror.Upstream))
		return nil
	}
	credentials := c.auth.CredentialHeaders()
	if f := cfg.ForwardIdentity; f != nil && f.TokenHeader != "" {
		credentials = append(credentials, strings.ToLower(f.TokenHeader))
	}
	m := mirror.New(cfg.Mirror, mirror.Options{
		Backend: pool, Credentials: credentials, Metrics: c.telemetry.Route(cfg.Name), Previous: c.mirrored[cfg.Name],
	})
	c.mirrors[cfg.Name] = m
	return m
}
