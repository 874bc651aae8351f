package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

// jwtVerifier verifies signed tokens. Which algorithms a key may be used with is fixed when the key is loaded: what the
// token's header says can only choose among them.
type jwtVerifier struct {
	provider string
	config   *config.JWT
	parser   *jwt.Parser
	peek     *jwt.Parser
	keys     keySet
	cache    *tokenCache
	now      func() time.Time
}

func newJWTVerifier(provider string, cfg *config.JWT, prev *provider) (*jwtVerifier, error) {
	life := cacheTime
	if cfg.JWKSURL != "" {
		// A key that is withdrawn ends its tokens within the time the operator chose.
		life = min(life, cfg.JWKSCacheTime.Std())
	}
	v := &jwtVerifier{provider: provider, config: cfg, cache: newTokenCache(life), now: time.Now}
	var err error
	if v.keys, err = loadKeys(cfg, prev); err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithLeeway(cfg.ClockSkew.Std()),
		jwt.WithIssuedAt(),
		jwt.WithExpirationRequired(),
		jwt.WithValidMethods(allAlgorithms),
		jwt.WithTimeFunc(func() time.Time { return v.now() }),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if len(cfg.Audiences) > 0 {
		options = append(options, jwt.WithAudience(cfg.Audiences...))
	}
	v.parser = jwt.NewParser(options...)
	v.peek = jwt.NewParser(jwt.WithoutClaimsValidation())
	return v, nil
}

func (v *jwtVerifier) verify(ctx context.Context, token string) (*Identity, error) {
	if int64(len(token)) > int64(v.config.MaxSize) {
		return nil, errors.New("the token is too long")
	}
	digest := digestOf(token)
	if id := v.cache.get(digest, v.keys.generation(), v.now()); id != nil {
		return id, nil
	}
	generation := v.keys.generation()
	claims := jwt.MapClaims{}
	if err := v.checkHeader(token, claims); err != nil {
		return nil, err
	}
	clear(claims)
	parsed, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return v.keys.find(ctx, kid, t.Method.Alg())
	})
	if err != nil {
		return nil, tokenError(err)
	}
	if !parsed.Valid {
		return nil, errors.New("the token is not valid")
	}
	id, err := v.identity(claims)
	if err != nil {
		return nil, err
	}
	v.cache.put(digest, generation, id, v.now())
	return id, nil
}

// checkHeader looks at a token before its signature is: at its header, which may ask for nothing that is not
// understood, and at whose it says it is.
func (v *jwtVerifier) checkHeader(token string, claims jwt.MapClaims) error {
	header, _, ok := strings.Cut(token, ".")
	if !ok {
		return &notMine{"the credential is not a JSON Web Token"}
	}
	raw, err := jwt.NewParser().DecodeSegment(header)
	if err != nil || !uniqueKeys(raw) {
		return &notMine{"the credential is not a JSON Web Token"}
	}
	parsed, parts, err := v.peek.ParseUnverified(token, claims)
	if err != nil {
		return &notMine{"the credential is not a JSON Web Token, or its algorithm is not accepted"}
	}
	// RFC 7515 section 4.1.11: extensions that must be understood, and are not.
	if _, ok := parsed.Header["crit"]; ok {
		return errors.New("the token has a crit header, and nothing in it is understood")
	}
	if typ, ok := parsed.Header["typ"]; ok && !tokenType(typ) {
		return errors.New("the token's typ is not JWT or at+jwt")
	}
	if payload, err := jwt.NewParser().DecodeSegment(parts[1]); err != nil || !uniqueKeys(payload) {
		return errors.New("the token has a claim twice")
	}
	if v.config.Issuer != "" {
		if iss, _ := claims["iss"].(string); iss != v.config.Issuer {
			return &notMine{"the token's issuer is not accepted"}
		}
	}
	return nil
}

func tokenType(typ any) bool {
	name, _ := typ.(string)
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return name == "jwt" || name == "at+jwt"
}

// tokenError says what is wrong without a byte of the token.
func tokenError(err error) error {
	for _, c := range []struct {
		is   error
		text string
	}{
		{errKeysUnavailable, "the keys to verify the token with cannot be fetched now"},
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "the token was issued in the future"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
		{jwt.ErrTokenInvalidIssuer, "the token's issuer is not accepted"},
		{jwt.ErrTokenRequiredClaimMissing, "the token has no exp, iss or aud claim, which is needed"},
		{errUnknownKey, "the token's key is not known"},
		{errAlgorithm, "the token's algorithm is not accepted for its key"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature is wrong"},
		{jwt.ErrTokenMalformed, "the credential is not a JSON Web Token"},
	} {
		if errors.Is(err, c.is) {
			return errors.New(c.text)
		}
	}
	return errors.New("the token is not valid")
}

func (v *jwtVerifier) identity(claims jwt.MapClaims) (*Identity, error) {
	id := &Identity{Provider: v.provider, Claims: claims}
	if user, ok := claim(claims, v.config.UserClaim); ok {
		text, isText := user.(string)
		if !isText {
			return nil, fmt.Errorf("the token's %s claim is not a string", v.config.UserClaim)
		}
		id.User = text
	}
	roles, _ := claim(claims, v.config.RolesClaim)
	id.Roles = words(roles)
	scopes, _ := claim(claims, v.config.ScopesClaim)
	id.Scopes = words(scopes)
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		id.Expires = exp.Add(v.config.ClockSkew.Std())
	}
	return id, nil
}

// claim finds a claim by its name, or by a dotted path where no claim has that name.
func claim(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	first, rest, more := strings.Cut(path, ".")
	nested, ok := claims[first].(map[string]any)
	if !more || !ok {
		return nil, false
	}
	return claim(nested, rest)
}

// words reads a list of strings, or one string of words (RFC 8693 section 4.2).
func words(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// uniqueKeys reports whether a JSON object has no key twice at its top. Which of two would count is a matter on which
// implementations differ, and so a way to mean two things (RFC 8725 section 2.4, RFC 7519 section 4).
func uniqueKeys(raw []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok || seen[key] {
			return false
		}
		seen[key] = true
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			return false
		}
	}
	return true
}

func (v *jwtVerifier) close() { v.keys.release() }
