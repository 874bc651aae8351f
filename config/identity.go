package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// IdentityTokens signs the tokens that tell backends who a caller is. The public keys are at GET /v1/identity/jwks.json of the
// admin listener.
type IdentityTokens struct {
	Pos Position `yaml:"-"`

	// PEM file (PKCS #8) with the private key: of P-256, for ES256, or Ed25519, for EdDSA.
	Key Path `yaml:"key" required:"true"`
	// PEM files with public keys that are published too: the next key before it signs, and the last one after.
	AlsoPublish []Path `yaml:"also_publish"`
	// The iss claim.
	Issuer string `yaml:"issuer" default:"crossgate"`
	// How long a token is good for. A caller's next request after three quarters of it has a new one.
	Lifetime Duration `yaml:"lifetime" default:"1m" min:"1s" max:"1h"`
}

// ForwardIdentity tells a route's backend who the caller is. Whatever a caller sends under these names does not pass, be it
// anonymous or not.
type ForwardIdentity struct {
	Pos Position `yaml:"-"`

	// Headers, and what each has: user, provider, key_id, roles, scopes, or claim:NAME with dots for nested claims. Lists have
	// commas between; a header without a value is left out.
	Headers map[string]string `yaml:"headers"`
	// A header with a signed token; identity_tokens has the key.
	TokenHeader string `yaml:"token_header"`
	// The aud claim of that token.
	Audience string `yaml:"audience"`
	// Claims of the caller's token that it has too.
	Claims []string `yaml:"claims"`
}

func (v *validator) forwardIdentity(r *Route) {
	f := r.ForwardIdentity
	if f == nil {
		return
	}
	if r.GRPC == nil && r.HTTP == nil {
		v.errorf(f.Pos, "forward_identity: only a grpc or an http route has a backend to tell")
	}
	if len(f.Headers) == 0 && f.TokenHeader == "" {
		v.errorf(f.Pos, "forward_identity: headers or token_header is needed")
	}
	names := []string{}
	for name, what := range f.Headers {
		names = append(names, name)
		v.check(mapKey{&f.Headers, name}, f.Pos, "headers", checkIdentityHeader(name, what))
	}
	if f.TokenHeader != "" {
		v.check(&f.TokenHeader, f.Pos, "token_header", checkForwardable(f.TokenHeader))
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.TokenHeader) }) {
			v.errorf(v.at(&f.TokenHeader, f.Pos), "token_header: %s is among headers", quote(f.TokenHeader))
		}
		if v.config.IdentityTokens == nil {
			v.errorf(v.at(&f.TokenHeader, f.Pos), "token_header: there is no key to sign with; identity_tokens is missing")
		}
		if f.Audience == "" {
			v.errorf(f.Pos, "forward_identity: a token needs an audience, so that no other backend takes it")
		}
	} else if f.Audience != "" || len(f.Claims) > 0 {
		v.errorf(f.Pos, "forward_identity: audience and claims are of a token; token_header is missing")
	}
	v.words(f.Claims, f.Pos, "claims", func(s string) error {
		if slices.Contains([]string{"iss", "sub", "aud", "exp", "iat", "nbf", "provider", "roles", "scope", "key_id"}, s) {
			return fmt.Errorf("%s is the gateway's own", quote(s))
		}
		return nil
	})
}

func checkIdentityHeader(name, what string) error {
	if err := checkForwardable(name); err != nil {
		return err
	}
	if claim, ok := strings.CutPrefix(what, "claim:"); ok && claim != "" {
		return nil
	}
	kinds := []string{"user", "provider", "key_id", "roles", "scopes"}
	if !slices.Contains(kinds, what) {
		return fmt.Errorf("%s is nothing to tell; expected %s%s", quote(what), orList(append(kinds, "claim:NAME")), didYouMean(what, kinds))
	}
	return nil
}

// checkForwardable refuses names that protocols have for themselves.
func checkForwardable(name string) error {
	if err := checkHeaderName(name); err != nil {
		return err
	}
	lower := strings.ToLower(name)
	switch lower {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length",
		"content-type", "content-encoding", "user-agent", "x-forwarded-for", "x-forwarded-host":
		return fmt.Errorf("%s has a meaning of its own", quote(name))
	}
	if strings.HasPrefix(lower, "grpc-") || strings.HasPrefix(lower, "sec-") || strings.Contains(lower, "_") || strings.HasSuffix(lower, "-bin") {
		return errors.New("a name that begins with grpc- or sec-, ends with -bin or has an underscore cannot carry it")
	}
	return nil
}
