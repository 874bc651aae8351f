package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (v *validator) providers() {
	for i := range v.config.Auth {
		p := &v.config.Auth[i]
		if v.broken[p] {
			continue
		}
		v.exactlyOne(p.Pos, "auth", choice{"jwt", p.JWT != nil}, choice{"introspection", p.Introspection != nil}, choice{"api_keys", p.APIKeys != nil},
			choice{"basic", p.Basic != nil}, choice{"client_certificate", p.ClientCertificate != nil}, choice{"login", p.Login != nil})
		if p.JWT != nil {
			v.jwt(p.JWT)
		}
		if p.Introspection != nil {
			v.introspection(p.Introspection)
		}
		if p.APIKeys != nil {
			v.apiKeys(p.APIKeys)
		}
		if p.Basic != nil {
			v.basic(p.Basic)
		}
		if c := p.ClientCertificate; c != nil {
			v.grantedUsers(c.Users)
			if len(p.From) > 0 {
				v.errorf(v.at(&p.From, p.Pos), "from: a certificate comes with the connection")
			}
		}
		if p.Login != nil {
			v.login(p.Login)
			if len(p.From) > 0 {
				v.errorf(v.at(&p.From, p.Pos), "from: a session comes in the login's own cookie")
			}
		}
		for j := range p.From {
			v.credentialSource(&p.From[j])
		}
	}
}

func (v *validator) jwt(j *JWT) {
	v.exactlyOne(j.Pos, "jwt", choice{"secret", j.Secret != ""}, choice{"key_file", j.KeyFile != ""},
		choice{"jwks_file", j.JWKSFile != ""}, choice{"jwks_url", j.JWKSURL != ""}, choice{"discovery", j.Discovery})
	if j.Discovery {
		v.check(&j.Issuer, j.Pos, "issuer", checkDiscovery(j.Issuer))
	}
	v.words(j.Types, j.Pos, "types", func(s string) error { return checkToken("typ", strings.TrimPrefix(s, "application/")) })
	v.claims(j.RequiredClaims, j.RoleMap)
	v.words(j.Audiences, j.Pos, "audiences", func(string) error { return nil })
	v.words(j.Algorithms, j.Pos, "algorithms", func(s string) error { return checkAlgorithm(s, j.Secret != "") })
	if j.JWKSURL != "" {
		v.check(&j.JWKSURL, j.Pos, "jwks_url", checkHTTPURL(j.JWKSURL))
	}
	if j.Secret == "" {
		return
	}
	least, algorithm := secretSizes["HS256"], "HS256"
	for _, a := range j.Algorithms {
		if secretSizes[a] > least {
			least, algorithm = secretSizes[a], a
		}
	}
	if len(j.Secret) < least {
		v.errorf(v.at(&j.Secret, j.Pos), "secret: it has %d bytes; %s needs at least %d (RFC 7518 section 3.2)", len(j.Secret), algorithm, least)
	}
}

// checkDiscovery checks an issuer whose configuration is to be fetched (OpenID Connect Discovery 1.0 section 3).
func checkDiscovery(issuer string) error {
	if issuer == "" {
		return errors.New("discovery asks the issuer; it is missing")
	}
	if err := checkHTTPURL(issuer); err != nil {
		return err
	}
	if strings.Contains(issuer, "?") {
		return errors.New("an issuer with a query cannot be asked for its configuration")
	}
	return nil
}

func (v *validator) introspection(i *Introspection) {
	if i.URL != "" {
		v.check(&i.URL, i.Pos, "url", checkHTTPURL(i.URL))
	}
	v.exactlyOne(i.Pos, "introspection", choice{"client_id", i.ClientID != ""}, choice{"token", i.Token != ""})
	if (i.ClientID == "") != (i.ClientSecret == "") {
		v.errorf(i.Pos, "introspection: client_id and client_secret go together")
	}
	v.words(i.Audiences, i.Pos, "audiences", func(string) error { return nil })
	v.claims(i.RequiredClaims, i.RoleMap)
}

// claims checks what a provider asks of a token's claims and how it reads its roles.
func (v *validator) claims(needed []RequiredClaim, roles []RoleMapping) {
	seen := map[string]bool{}
	for i := range needed {
		c := &needed[i]
		v.once(seen, &c.Claim, c.Pos, "required_claims")
		v.words(c.Values, c.Pos, "values", func(string) error { return nil })
	}
	values := map[string]bool{}
	for i := range roles {
		m := &roles[i]
		v.once(values, &m.Value, m.Pos, "role_map")
		v.words(m.Roles, m.Pos, "roles", func(string) error { return nil })
	}
}

// issuers checks that the issuer tells whose token a route is given: without, it would be held against the keys of
// every provider.
func (v *validator) issuers(a *RouteAuth) {
	var tokens []*AuthProvider
	for i := range v.config.Auth {
		if p := &v.config.Auth[i]; p.JWT != nil && slices.Contains(a.Require, p.Name) {
			tokens = append(tokens, p)
		}
	}
	if len(tokens) < 2 {
		return
	}
	for _, p := range tokens {
		if p.JWT.Issuer == "" {
			v.errorf(a.Pos, "require: a token's provider is chosen by its issuer, and %s has none", quote(p.Name))
		}
	}
}

// secretSizes are the least lengths of HMAC keys, those of the hash (RFC 7518 section 3.2).
var secretSizes = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// checkAlgorithm refuses, beside what is unknown, an HMAC with a public key: whoever has the key could sign.
func checkAlgorithm(s string, shared bool) error {
	if strings.EqualFold(s, "none") {
		return errors.New("none would accept tokens without a signature; it is never allowed")
	}
	known := false
	for _, a := range algorithms {
		known = known || a == s
	}
	_, hmac := secretSizes[s]
	switch {
	case !known:
		return fmt.Errorf("%s is not an algorithm known here%s", quote(s), didYouMean(s, algorithms))
	case hmac && !shared:
		return fmt.Errorf("%s works with a shared secret, but the keys here are public", s)
	case !hmac && shared:
		return fmt.Errorf("%s works with a public key, but the key here is a shared secret", s)
	}
	return nil
}

func checkHTTPURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		// Not repeated: it may have a password in it.
		return errors.New("the URL cannot be read; expected https://host[:port]/path")
	case u.User != nil:
		return errors.New("the URL has a user or a password in it; it may not")
	case u.Fragment != "":
		return errors.New("the URL has a fragment in it; it may not")
	}
	return nil
}

func (v *validator) apiKeys(a *APIKeys) {
	if len(a.Keys) == 0 && a.File == "" && !a.Redis {
		v.errorf(a.Pos, "api_keys: at least one of keys, file or redis is needed")
	}
	v.keyList(a.Keys)
}

// activeKeys is how many keys one id may have: the old and the new one, while callers change over.
const activeKeys = 2

func (v *validator) keyList(keys []APIKey) {
	seen := make(map[[sha256.Size]byte]*APIKey, len(keys))
	ids := make(map[string]int, len(keys))
	for i := range keys {
		k := &keys[i]
		if k.ID != "" {
			v.check(&k.ID, k.Pos, "id", checkName(k.ID))
			if ids[k.ID]++; ids[k.ID] == activeKeys+1 {
				v.errorf(v.at(&k.ID, k.Pos), "keys: %s has more than %d keys", quote(k.ID), activeKeys)
			}
		}
		if _, err := time.Parse(time.RFC3339, k.Expires); err != nil && k.Expires != "" {
			v.errorf(v.at(&k.Expires, k.Pos), "expires: %s is no time; expected one as 2027-01-31T00:00:00Z", quote(k.Expires))
		}
		v.exactlyOne(k.Pos, "keys", choice{"key", k.Key != ""}, choice{"sha256", k.SHA256 != ""})
		if (k.Key == "") == (k.SHA256 == "") {
			continue
		}
		sum, err := k.sum()
		if err != nil {
			v.check(&k.SHA256, k.Pos, "sha256", err)
			continue
		}
		if first := seen[sum]; first != nil {
			v.errorf(k.Pos, "keys: %s has the same key as %s, at %s", quote(k.ID), quote(first.ID), first.Pos)
			continue
		}
		seen[sum] = k
	}
}

// sum returns the SHA-256 of the key, which is given as it is or by its sum.
func (k *APIKey) sum() (sum [sha256.Size]byte, err error) {
	if k.Key != "" {
		return sha256.Sum256([]byte(k.Key.Reveal())), nil
	}
	b, err := hex.DecodeString(k.SHA256)
	if err != nil || len(b) != len(sum) {
		// Not repeated: it may be the key itself, in the wrong place.
		return sum, fmt.Errorf("expected %d hexadecimal digits", hex.EncodedLen(len(sum)))
	}
	return [sha256.Size]byte(b), nil
}

func (v *validator) basic(b *Basic) {
	if strings.ContainsFunc(b.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		v.errorf(v.at(&b.Realm, b.Pos), "realm: expected printable ASCII without quotes and backslashes")
	}
	v.grantedUsers(b.Users)
}

func (v *validator) grantedUsers(users []BasicUser) {
	seen := map[string]bool{}
	for i := range users {
		v.once(seen, &users[i].Name, users[i].Pos, "users")
	}
}

func (v *validator) credentialSource(s *CredentialSource) {
	v.exactlyOne(s.Pos, "from", choice{"header", s.Header != ""}, choice{"cookie", s.Cookie != ""},
		choice{"query", s.Query != ""}, choice{"subprotocol", s.Subprotocol != ""})
	if s.Header != "" {
		v.check(&s.Header, s.Pos, "header", checkHeaderName(s.Header))
	}
	if s.Cookie != "" {
		v.check(&s.Cookie, s.Pos, "cookie", checkToken("cookie", s.Cookie))
	}
	if s.Subprotocol != "" {
		v.check(&s.Subprotocol, s.Pos, "subprotocol", checkToken("subprotocol", s.Subprotocol))
	}
	if s.Scheme != "" {
		v.check(&s.Scheme, s.Pos, "scheme", checkToken("scheme", s.Scheme))
		if s.Header == "" {
			v.errorf(v.at(&s.Scheme, s.Pos), "scheme: only a header has one")
		}
	}
}
