package gateway

import (
	"net/http"
	"strconv"

	"github.com/crossgate/crossgate/config"
)

// securityHeaders are what answers get besides what they have. A nil *securityHeaders is none.
type securityHeaders struct {
	plain    []securityHeader // without TLS
	secure   []securityHeader // plain and Strict-Transport-Security, which has no meaning elsewhere (RFC 6797 section 7.2)
	override bool
}

type securityHeader struct {
	name   string
	values []string // shared by all answers: net/http only reads it
}

func compileSecurityHeaders(c *config.SecurityHeaders) *securityHeaders {
	if c == nil {
		return nil
	}
	s := &securityHeaders{override: c.Override}
	add := func(name, value string) {
		if value != "" {
			s.plain = append(s.plain, securityHeader{name, []string{value}})
		}
	}
	if c.NoSniff {
		add("X-Content-Type-Options", "nosniff")
	}
	add("X-Frame-Options", frameOptions[c.FrameOptions])
	add("Content-Security-Policy", c.ContentSecurityPolicy)
	add("Referrer-Policy", c.ReferrerPolicy)
	add("Permissions-Policy", c.PermissionsPolicy)
	add("Cross-Origin-Opener-Policy", c.CrossOriginOpenerPolicy)
	add("Cross-Origin-Embedder-Policy", c.CrossOriginEmbedderPolicy)
	add("Cross-Origin-Resource-Policy", c.CrossOriginResourcePolicy)
	s.secure = s.plain
	if h := c.HSTS; h != nil {
		s.secure = append(s.plain[:len(s.plain):len(s.plain)], securityHeader{"Strict-Transport-Security", []string{hsts(h)}})
	}
	if len(s.secure) == 0 {
		return nil
	}
	return s
}

var frameOptions = map[string]string{"deny": "DENY", "same_origin": "SAMEORIGIN"}

// hsts renders the field (RFC 6797 section 6.1).
func hsts(h *config.HSTS) string {
	value := "max-age=" + strconv.FormatInt(int64(h.MaxAge.Std().Seconds()), 10)
	if h.IncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}

// apply adds the headers to an answer whose other headers are there.
func (s *securityHeaders) apply(h http.Header, overTLS bool) {
	list := s.plain
	if overTLS {
		list = s.secure
	}
	for i := range list {
		if e := &list[i]; s.override || h[e.name] == nil {
			h[e.name] = e.values
		}
	}
}
