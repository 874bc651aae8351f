package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Login lets browsers in that have logged in at an OpenID provider (OpenID Connect Core 1.0, authorization code flow with
// PKCE). What the browser gets is a cookie that names a session in Redis; tokens stay here. A route of the kind login serves the
// paths that this needs.
type Login struct {
	Pos Position `yaml:"-"`

	// The provider, as its tokens name it (iss); its configuration is fetched from issuer + /.well-known/openid-configuration when it is first needed.
	Issuer string `yaml:"issuer" required:"true"`
	// The client that the gateway is at the provider.
	ClientID string `yaml:"client_id" required:"true"`
	// Its secret. Left out: a public client. Write it as ${NAME}.
	ClientSecret Secret `yaml:"client_secret"`
	// Where the provider sends browsers back to, as it is registered there: an absolute URL with https, or with http on the machine itself. The login route serves its path, and beside it login, logout and backchannel-logout.
	RedirectURL string `yaml:"redirect_url" required:"true"`
	// The scopes asked for, besides openid. offline_access is what most providers want for a refresh token.
	Scopes []string `yaml:"scopes" default:"profile,email"`
	// Secrets of at least 32 bytes each from which the keys of cookies and sessions are made: the first makes new ones, all are good. Write them as ${NAME}. To change one put the new one before it, and take it away after lifetime.
	Keys []Secret `yaml:"keys" required:"true"`
	// The name of the session's cookie. With https it has __Host- before it, which keeps other hosts from setting it.
	Cookie string `yaml:"cookie" default:"crossgate-session"`
	// How long a session lasts at the most.
	Lifetime Duration `yaml:"lifetime" default:"12h" min:"1s"`
	// How long a session lasts without a request.
	IdleTime Duration `yaml:"idle_time" default:"1h" min:"1s"`
	// How long before the end of the provider's access token it is refreshed, where the provider gives refresh tokens. What the provider refuses to refresh ends.
	RefreshBefore Duration `yaml:"refresh_before" default:"1m"`
	// How long a session is believed without looking it up in Redis. A logout takes effect at once all the same, for the nodes tell each other.
	CacheTime Duration `yaml:"cache_time" default:"10s"`
	// How long beyond cache_time a session is still believed, while Redis cannot be reached. 0 for not at all: callers then get 503.
	StaleTime Duration `yaml:"stale_time" default:"0s"`
	// How long Redis and the provider may take.
	Timeout Duration `yaml:"timeout" default:"5s" min:"1ms"`
	// Whether the provider's userinfo endpoint is asked at a login, and with each new ID token, for claims that the ID token does not have.
	Userinfo bool `yaml:"userinfo"`
	// What tells the provider, in the URL that a browser goes to at a logout, whose session ends there: the ID token, which all providers take; or the claim login_hint, or else sid, as logout_hint. Without the ID token some ask the user, or do not send the browser back.
	LogoutHint string `yaml:"logout_hint" default:"id_token" enum:"id_token,claim"`
	// Whether beside the other paths frontchannel-logout is served, which a page of the provider opens in a frame (OpenID Connect Front-Channel Logout 1.0). Who knows the provider's id of a session (sid) can end it there.
	FrontChannelLogout bool `yaml:"front_channel_logout"`
	// Where a browser lands after a logout: a path, or a URL that the provider knows as post_logout_redirect_uri.
	AfterLogout string `yaml:"after_logout" default:"/"`
	// How far clocks may differ.
	ClockSkew Duration `yaml:"clock_skew" default:"30s"`
	// Claims an ID token must have.
	RequiredClaims []RequiredClaim `yaml:"required_claims"`
	// The claim that is the user, dotted for nested claims.
	UserClaim string `yaml:"user_claim" default:"sub"`
	// The claim with the roles, a list or a space-separated string, dotted for nested claims.
	RolesClaim string `yaml:"roles_claim" default:"roles"`
	// Which roles a value of the roles claim stands for. A value that is not here stands for none. Left out: each value is a role.
	RoleMap []RoleMapping `yaml:"role_map"`
	// The claim with the scopes, a list or a space-separated string.
	ScopesClaim string `yaml:"scopes_claim" default:"scope"`
}

// Secure reports whether browsers come by https.
func (l *Login) Secure() bool { return strings.HasPrefix(l.RedirectURL, "https:") }

// LoginRoute serves the paths of a login: where the provider sends browsers back to and, beside it, login?back=/path,
// logout and backchannel-logout.
type LoginRoute struct {
	Pos Position `yaml:"-"`

	// The auth provider, one with login.
	Provider string `yaml:"provider" required:"true"`
}

// leastLoginKey is the length of an HMAC-SHA-256 key (RFC 2104 section 3), in bytes.
const leastLoginKey = 32

func (v *validator) login(l *Login) {
	if l.Issuer != "" {
		v.check(&l.Issuer, l.Pos, "issuer", checkDiscovery(l.Issuer))
	}
	if l.RedirectURL != "" {
		v.check(&l.RedirectURL, l.Pos, "redirect_url", checkRedirectURL(l.RedirectURL))
	}
	v.words(l.Scopes, l.Pos, "scopes", checkScope)
	for i := range l.Keys {
		if n := len(l.Keys[i]); n < leastLoginKey {
			v.errorf(v.at(&l.Keys, l.Pos), "keys: key %d has %d bytes; at least %d are needed", i+1, n, leastLoginKey)
		}
	}
	v.check(&l.Cookie, l.Pos, "cookie", checkToken("cookie", l.Cookie))
	v.check(&l.AfterLogout, l.Pos, "after_logout", checkAfterLogout(l.AfterLogout))
	v.claims(l.RequiredClaims, l.RoleMap)
	if l.IdleTime > l.Lifetime {
		v.errorf(v.at(&l.IdleTime, l.Pos), "idle_time: it is longer than lifetime")
	}
}

// checkRedirectURL accepts what RFC 6749 section 3.1.2 does, where a browser keeps the cookie to itself.
func checkRedirectURL(s string) error {
	if err := checkHTTPURL(s); err != nil {
		return err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return err
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("it has a query or a fragment")
	case len(u.Path) < 2 || strings.HasSuffix(u.Path, "/"):
		return errors.New("it has no path that the gateway could serve; expected one as https://app.example.com/oauth2/callback")
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return errors.New("https is needed but on the machine itself")
	}
	return nil
}

// checkScope accepts a scope-token of RFC 6749 section 3.3.
func checkScope(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }) {
		return fmt.Errorf("%s is no scope", quote(s))
	}
	return nil
}

func checkAfterLogout(s string) error {
	if strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.Contains(s, `\`) {
		return nil
	}
	return checkHTTPURL(s)
}

func (v *validator) loginRoute(r *Route) {
	v.ownPaths(&r.Match, "login")
	if r.Auth != nil {
		v.errorf(r.Auth.Pos, "auth: whoever comes to a login route has not logged in yet")
	}
	i := slices.IndexFunc(v.config.Auth, func(p AuthProvider) bool { return p.Name == r.Login.Provider })
	if i < 0 || v.config.Auth[i].Login == nil && !v.broken[&v.config.Auth[i]] {
		v.errorf(v.at(&r.Login.Provider, r.Login.Pos), "provider: %s is no auth provider with login", quote(r.Login.Provider))
	}
}
