package config

import "time"

// AuthProvider is one named way to authenticate a caller. Exactly one of JWT, Introspection, APIKeys, Basic,
// ClientCertificate and Login is set.
type AuthProvider struct {
	Pos Position `yaml:"-"`

	// The name routes use.
	Name string `yaml:"name" required:"true"`
	// Signed tokens.
	JWT *JWT `yaml:"jwt"`
	// Opaque tokens, of which their issuer is asked.
	Introspection *Introspection `yaml:"introspection"`
	// Keys handed out to callers.
	APIKeys *APIKeys `yaml:"api_keys"`
	// Users and passwords.
	Basic *Basic `yaml:"basic"`
	// Certificates that clients show.
	ClientCertificate *ClientCertificate `yaml:"client_certificate"`
	// Browsers' sessions, after a login at an OpenID provider.
	Login *Login `yaml:"login"`
	// Where the credential is looked for, in this order. Left out: for tokens the Authorization header with the Bearer scheme, for API keys the header X-API-Key, for passwords the Authorization header with the Basic scheme.
	From []CredentialSource `yaml:"from"`
}

// JWT verifies signed tokens (RFC 7519). Exactly one of Secret, KeyFile, JWKSFile, JWKSURL and Discovery is set.
type JWT struct {
	Pos Position `yaml:"-"`

	// The iss claim a token must have. Left out: any. Where a route takes the tokens of several providers each needs one: by it a token's provider is chosen.
	Issuer string `yaml:"issuer"`
	// A token must be for one of these (aud). Left out: any.
	Audiences []string `yaml:"audiences"`
	// The signature algorithms accepted: HS256, HS384, HS512, RS256 … RS512, PS256 … PS512, ES256 … ES512, EdDSA. Left out: those that fit the kind of key. Never none.
	Algorithms []string `yaml:"algorithms"`
	// The shared secret of HS256, HS384 and HS512, at least as long as their hash: 32, 48 and 64 bytes. Write it as ${NAME}.
	Secret Secret `yaml:"secret"`
	// PEM file with a public key or certificate.
	KeyFile Path `yaml:"key_file"`
	// File with a JSON Web Key Set (RFC 7517).
	JWKSFile Path `yaml:"jwks_file"`
	// URL (https, or http) of a JSON Web Key Set, cached, and asked again when a token names a key that is not in it.
	JWKSURL string `yaml:"jwks_url"`
	// Whether to take the place of the key set from the issuer's own configuration, issuer + /.well-known/openid-configuration (OpenID Connect Discovery 1.0 section 4).
	Discovery bool `yaml:"discovery" default:"false"`
	// The shortest time between two requests for a fetched key set.
	JWKSRefreshFloor Duration `yaml:"jwks_refresh_floor" default:"10s"`
	// How long a fetched set is used before it is asked for again.
	JWKSCacheTime Duration `yaml:"jwks_cache_time" default:"10m"`
	// How far clocks may differ when exp, nbf and iat are checked.
	ClockSkew Duration `yaml:"clock_skew" default:"30s"`
	// How long ago a token may have been issued (iat), which it must then say, whatever its exp. 0 for no limit.
	MaxAge Duration `yaml:"max_age" default:"0s"`
	// The typ headers accepted, such as at+jwt alone (RFC 9068); a token without one is then refused. Left out: JWT, at+jwt and none at all.
	Types []string `yaml:"types"`
	// Claims a token must have beside those.
	RequiredClaims []RequiredClaim `yaml:"required_claims"`
	// The claim that is the user, dotted for nested claims.
	UserClaim string `yaml:"user_claim" default:"sub"`
	// The claim with the roles, a list or a space-separated string, dotted for nested claims.
	RolesClaim string `yaml:"roles_claim" default:"roles"`
	// Which roles a value of the roles claim stands for. A value that is not here stands for none. Left out: each value is a role.
	RoleMap []RoleMapping `yaml:"role_map"`
	// The claim with the scopes, a list or a space-separated string (RFC 8693 section 4.2).
	ScopesClaim string `yaml:"scopes_claim" default:"scope"`
	// The longest token looked at.
	MaxSize Size `yaml:"max_size" default:"8KiB" min:"256" max:"1MiB"`
}

// Introspection asks the issuer of an opaque token what it stands for (RFC 7662). Answers are remembered, and callers with the
// same token wait for one answer. ClientID goes with ClientSecret; either they or Token is set.
type Introspection struct {
	Pos Position `yaml:"-"`

	// The endpoint (https, or http). Redirects are not followed.
	URL string `yaml:"url" required:"true"`
	// The client that the gateway is at the issuer.
	ClientID string `yaml:"client_id"`
	// Its secret, sent by HTTP basic authentication (RFC 6749 section 2.3.1). Write it as ${NAME}.
	ClientSecret Secret `yaml:"client_secret"`
	// A bearer token in place of a client. Write it as ${NAME}.
	Token Secret `yaml:"token"`
	// How long an answer may take.
	Timeout Duration `yaml:"timeout" default:"2s" min:"1ms"`
	// How long an active token is believed without asking again, but never beyond its exp: a revocation takes effect within it.
	CacheTime Duration `yaml:"cache_time" default:"1m"`
	// How long a token that is not active is refused without asking again.
	NegativeCacheTime Duration `yaml:"negative_cache_time" default:"10s"`
	// How long beyond cache_time a token is still believed, while the endpoint cannot be reached. 0 for not at all: callers then get 503.
	StaleTime Duration `yaml:"stale_time" default:"0s"`
	// How many requests to the endpoint are made at once. More wait, within the timeout.
	MaxConcurrent int `yaml:"max_concurrent" default:"32" min:"1" max:"10000"`
	// The iss that an answer must have. Left out: any, and none.
	Issuer string `yaml:"issuer"`
	// A token must be for one of these (aud). Left out: any.
	Audiences []string `yaml:"audiences"`
	// How far clocks may differ when exp, nbf and iat are checked.
	ClockSkew Duration `yaml:"clock_skew" default:"30s"`
	// Claims an answer must have.
	RequiredClaims []RequiredClaim `yaml:"required_claims"`
	// The claim that is the user, dotted for nested claims.
	UserClaim string `yaml:"user_claim" default:"sub"`
	// The claim with the roles, a list or a space-separated string, dotted for nested claims.
	RolesClaim string `yaml:"roles_claim" default:"roles"`
	// Which roles a value of the roles claim stands for. A value that is not here stands for none. Left out: each value is a role.
	RoleMap []RoleMapping `yaml:"role_map"`
	// The claim with the scopes, a list or a space-separated string.
	ScopesClaim string `yaml:"scopes_claim" default:"scope"`
	// The longest token asked about.
	MaxSize Size `yaml:"max_size" default:"4KiB" min:"16" max:"64KiB"`
}

// RequiredClaim is a claim that a token must have.
type RequiredClaim struct {
	Pos Position `yaml:"-"`

	// The claim, dotted for nested claims.
	Claim string `yaml:"claim" required:"true"`
	// The values of which the claim must have one: as a string, number or boolean, or in a list of such. Left out: any value but null.
	Values []string `yaml:"values"`
}

// RoleMapping says what a value of the roles claim stands for.
type RoleMapping struct {
	Pos Position `yaml:"-"`

	// The value.
	Value string `yaml:"value" required:"true"`
	// Its roles.
	Roles []string `yaml:"roles" required:"true"`
}

// APIKeys is a set of keys handed out to callers. At least one of Keys, File and Redis is set. docs/auth.md has the form of
// the file and the keys in Redis.
type APIKeys struct {
	Pos Position `yaml:"-"`

	// The keys. Two may have the same id while one takes the place of the other.
	Keys []APIKey `yaml:"keys"`
	// A YAML file with more, under keys. It is watched: while it is broken what it had before stays in force.
	File Path `yaml:"file"`
	// Whether keys are looked up in Redis too, by their SHA-256.
	Redis bool `yaml:"redis" default:"false"`
	// How long a key of Redis is believed without looking again, unless a change is announced.
	CacheTime Duration `yaml:"cache_time" default:"1m"`
	// How long a key that is not in Redis is refused without looking again, unless a change is announced.
	NegativeCacheTime Duration `yaml:"negative_cache_time" default:"10s"`
	// How long beyond cache_time a key is still believed, while Redis cannot be reached. 0 for not at all: callers then get 503.
	StaleTime Duration `yaml:"stale_time" default:"0s"`
	// How long Redis may take.
	Timeout Duration `yaml:"timeout" default:"1s" min:"1ms"`
}

// APIKey is one key. Exactly one of Key and SHA256 is set.
type APIKey struct {
	Pos Position `yaml:"-"`

	// A name for logs and limits; no secret.
	ID string `yaml:"id" required:"true"`
	// The key itself. Write it as ${NAME}.
	Key Secret `yaml:"key"`
	// The SHA-256 of the key, in hexadecimal, as crossgate key prints it. A key must then be long and random.
	SHA256 string `yaml:"sha256"`
	// The user the key acts for. Left out: the id.
	User string `yaml:"user"`
	// Roles the key has.
	Roles []string `yaml:"roles"`
	// Scopes the key has.
	Scopes []string `yaml:"scopes"`
	// When the key ends, as 2027-01-31T00:00:00Z (RFC 3339). Left out: never.
	Expires string `yaml:"expires"`
}

// Ends returns when the key ends, zero for never.
func (k *APIKey) Ends() time.Time {
	t, _ := time.Parse(time.RFC3339, k.Expires)
	return t
}

// Basic verifies users and passwords (RFC 7617) against an htpasswd file with bcrypt hashes.
type Basic struct {
	Pos Position `yaml:"-"`

	// The file, as htpasswd -B writes it. It is watched: while it is broken what it had before stays in force.
	Htpasswd Path `yaml:"htpasswd" required:"true"`
	// What a browser shows when it asks for the password.
	Realm string `yaml:"realm" default:"crossgate"`
	// Roles and scopes of users of the file.
	Users []BasicUser `yaml:"users"`
	// How long a verified password is remembered.
	CacheTime Duration `yaml:"cache_time" default:"5m"`
	// How long a wrong password is refused without a check.
	NegativeCacheTime Duration `yaml:"negative_cache_time" default:"10s"`
	// How many passwords are checked at once: bcrypt is slow, and this bounds what guessing can take of the processor. More wait.
	MaxConcurrent int `yaml:"max_concurrent" default:"2" min:"1" max:"1000"`
	// How long a caller waits for its check before it gets 503.
	Timeout Duration `yaml:"timeout" default:"5s" min:"1ms"`
}

// ClientCertificate takes the caller's identity from the certificate that its connection was opened with (mutual TLS). Which
// certificates are good the listener says: tls.clients.
type ClientCertificate struct {
	Pos Position `yaml:"-"`

	// The name in the certificate that is the user, the first of its kind: a subject alternative name that is a URI, such as a SPIFFE ID, a DNS name or an e-mail address, or the subject's common name. A certificate without one is nobody's.
	User string `yaml:"user" default:"uri" enum:"uri,dns,email,common_name"`
	// Roles of users that are not in users.
	Roles []string `yaml:"roles"`
	// Scopes of users that are not in users.
	Scopes []string `yaml:"scopes"`
	// Roles and scopes of some users.
	Users []BasicUser `yaml:"users"`
}

// BasicUser is what a user of an htpasswd file has, or one with a certificate.
type BasicUser struct {
	Pos Position `yaml:"-"`

	// The user.
	Name string `yaml:"name" required:"true"`
	// Roles the user has.
	Roles []string `yaml:"roles"`
	// Scopes the user has.
	Scopes []string `yaml:"scopes"`
}

// CredentialSource is one place a credential is looked for. Exactly one of Header, Cookie, Query and Subprotocol is set.
type CredentialSource struct {
	Pos Position `yaml:"-"`

	// A header. For Authorization the scheme is Bearer unless said otherwise.
	Header string `yaml:"header"`
	// The authentication scheme before the credential in the header.
	Scheme string `yaml:"scheme"`
	// A cookie.
	Cookie string `yaml:"cookie"`
	// A query parameter, of WebSocket upgrades only. It is redacted from logs and not passed on.
	Query string `yaml:"query"`
	// A WebSocket subprotocol with this prefix, of WebSocket upgrades only: the rest is the credential.
	Subprotocol string `yaml:"subprotocol"`
}

// RouteAuth says who may call a route.
type RouteAuth struct {
	Pos Position `yaml:"-"`

	// Auth providers, any of which may identify the caller.
	Require []string `yaml:"require" required:"true"`
	// Also let callers without a credential in, as anonymous. A wrong credential is still refused.
	Optional bool `yaml:"optional"`
	// Roles of which the caller must have one.
	Roles []string `yaml:"roles"`
	// Scopes all of which the caller must have.
	Scopes []string `yaml:"scopes"`
	// What becomes of a request that changes something, or opens a WebSocket, whose caller a cookie names, and that a page of another origin may have made: refuse, or allow, for a route that has a protection of its own. Origins that cors lets in with credentials, and those of WebSockets, are no others.
	CrossOrigin string `yaml:"cross_origin" default:"refuse" enum:"refuse,allow"`
}

// ExternalAuth asks a service whether a request may pass, by Envoy's protocol envoy.service.auth.v3.Authorization. It is asked
// of requests that the gateway's own policies let pass, before limits of users and keys are charged.
type ExternalAuth struct {
	Pos Position `yaml:"-"`

	// The upstream that has the service.
	Upstream string `yaml:"upstream" required:"true"`
	// How long an answer may take.
	Timeout Duration `yaml:"timeout" default:"200ms" min:"1ms"`
	// What happens without an answer: deny, with 503, or allow.
	OnFailure string `yaml:"on_failure" default:"deny" enum:"deny,allow"`
	// The request headers that the service is told; "*" at the end of a name is a wildcard. Left out: all.
	Headers []string `yaml:"headers"`
	// The start of the request's body, which the service is told then. Left out: nothing of it.
	Body *ExternalBody `yaml:"body"`
	// What the service is told besides, as context_extensions. The key route is always the route's name.
	Context map[string]string `yaml:"context"`
}

// ExternalBody is how an authorisation service is told a request's body. It is read before the service is asked, and so before a
// backend sees the request: for routes whose clients wait for answers before they have sent all, as streams may, that is
// no option. Upgrades have none.
type ExternalBody struct {
	Pos Position `yaml:"-"`

	// The most that is read for it and kept in memory meanwhile.
	MaxSize Size `yaml:"max_size" default:"8KiB" min:"1" max:"16MiB"`
	// What happens to a request whose body is larger: it is refused with 413, or the service gets the start of the body and a header x-envoy-auth-partial-body: true.
	AllowPartial bool `yaml:"allow_partial" default:"false"`
	// Whether the service gets the body as bytes (raw_body), and not as text (body), in which what is no UTF-8 is replaced.
	Raw bool `yaml:"raw" default:"false"`
}
