package config

import (
	"errors"
	"time"
)

// SecurityHeaders are headers of answers that have a browser be careful with them. Each one that is left out is not
// sent. What a backend says itself stays, unless Override is set.
type SecurityHeaders struct {
	Pos Position `yaml:"-"`

	// Strict-Transport-Security (RFC 6797), on listeners with TLS only.
	HSTS *HSTS `yaml:"hsts"`
	// X-Content-Type-Options: nosniff, so that an answer is what its Content-Type says.
	NoSniff bool `yaml:"nosniff" default:"false"`
	// X-Frame-Options: who may show the answer in a frame. Content-Security-Policy with frame-ancestors says more, and where both are given browsers go by that.
	FrameOptions string `yaml:"frame_options" enum:"deny,same_origin"`
	// Content-Security-Policy, as "default-src 'self'; frame-ancestors 'none'".
	ContentSecurityPolicy string `yaml:"content_security_policy"`
	// Referrer-Policy: what a browser tells other pages about where it comes from.
	ReferrerPolicy string `yaml:"referrer_policy" enum:"no-referrer,no-referrer-when-downgrade,origin,origin-when-cross-origin,same-origin,strict-origin,strict-origin-when-cross-origin,unsafe-url"`
	// Permissions-Policy, as "camera=(), geolocation=(self)".
	PermissionsPolicy string `yaml:"permissions_policy"`
	// Cross-Origin-Opener-Policy: which windows share a browsing context with the answer.
	CrossOriginOpenerPolicy string `yaml:"cross_origin_opener_policy" enum:"unsafe-none,same-origin-allow-popups,same-origin,noopener-allow-popups"`
	// Cross-Origin-Embedder-Policy: what the answer may load from other origins.
	CrossOriginEmbedderPolicy string `yaml:"cross_origin_embedder_policy" enum:"unsafe-none,require-corp,credentialless"`
	// Cross-Origin-Resource-Policy: which pages may load the answer without CORS.
	CrossOriginResourcePolicy string `yaml:"cross_origin_resource_policy" enum:"same-site,same-origin,cross-origin"`
	// Whether these headers take the place of a backend's own.
	Override bool `yaml:"override" default:"false"`
}

// HSTS has a browser use TLS only, for every request to the host from then on.
type HSTS struct {
	Pos Position `yaml:"-"`

	// For how long. 0 takes it back.
	MaxAge Duration `yaml:"max_age" required:"true"`
	// Whether all names below the host are meant, too.
	IncludeSubdomains bool `yaml:"include_subdomains" default:"false"`
	// Whether the host may be put on the list that browsers are shipped with, from which it is hard to get off again.
	Preload bool `yaml:"preload" default:"false"`
}

// shortestPreload is what hstspreload.org asks for.
const shortestPreload = Duration(365 * 24 * time.Hour)

func (v *validator) securityHeaders(s *SecurityHeaders) {
	if s == nil {
		return
	}
	v.check(&s.ContentSecurityPolicy, s.Pos, "content_security_policy", checkHeaderValue("Content-Security-Policy", s.ContentSecurityPolicy))
	v.check(&s.PermissionsPolicy, s.Pos, "permissions_policy", checkHeaderValue("Permissions-Policy", s.PermissionsPolicy))
	if h := s.HSTS; h != nil && h.Preload && (h.MaxAge < shortestPreload || !h.IncludeSubdomains) {
		v.check(&h.Preload, h.Pos, "preload", errors.New("the list takes only hosts with include_subdomains and a max_age of 365d or more"))
	}
}
