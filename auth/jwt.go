package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

// jwtVerifier verifies signed tokens. Which algorithms a key may be used with is fixed when the key is loaded: what the
// token's header says can only choose among them.
type jwtVerifier struct {
	claimReader
	config *config.JWT
	types  []string
	parser *jwt.Parser
	keys   keySet
	cache  *tokenCache
	now    func() time.Time
}

func newJWTVerifier(provider string, cfg *config.JWT, prev *provider, o *Options) (*jwtVerifier, error) {
	life := cacheTime
	if cfg.JWKSURL != "" || cfg.Discovery {
		// A key that is withdrawn ends its tokens within the time the operator chose.
		life = min(life, cfg.JWKSCacheTime.Std())
	}
	v := &jwtVerifier{config: cfg, types: []string{"JWT", "at+jwt"}, cache: newTokenCache(life), now: time.Now, claimReader: claimReader{
		provider: provider, user: cfg.UserClaim, roles: cfg.RolesClaim, scopes: cfg.ScopesClaim,
		needed: cfg.RequiredClaims, stands: standing(cfg.RoleMap), skew: cfg.ClockSkew.Std(),
	}}
	if len(cfg.Types) > 0 {
		v.types = nil
		for _, t := range cfg.Types {
			v.types = append(v.types, mediaType(t))
		}
	}
	var err error
	if v.keys, err = loadKeys(provider, cfg, prev, o); err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithLeeway(cfg.ClockSkew.Std()),
		jwt.WithIssuedAt(),
		jwt.WithStrictDecoding(),
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
	return v, nil
}

func (v *jwtVerifier) recall(d digest) *Identity { return v.cache.get(d, v.keys.generation(), v.now()) }

func (v *jwtVerifier) verify(ctx context.Context, d digest, token string) (*Identity, error) {
	if int64(len(token)) > int64(v.config.MaxSize) {
		return nil, errors.New("the token is too long")
	}
	generation := v.keys.generation()
	claims := jwt.MapClaims{}
	if err := v.peek(token); err != nil {
		return nil, err
	}
	kid := ""
	find := func(t *jwt.Token) (any, error) {
		kid, _ = t.Header["kid"].(string)
		return v.keys.find(ctx, kid, t.Method.Alg())
	}
	parsed, err := v.parser.ParseWithClaims(token, claims, find)
	if (errors.Is(err, jwt.ErrTokenSignatureInvalid) || errors.Is(err, errAlgorithm)) && v.keys.renew(ctx, kid, generation) {
		generation = v.keys.generation()
		clear(claims)
		parsed, err = v.parser.ParseWithClaims(token, claims, find)
	}
	if errors.Is(err, errKeysUnavailable) {
		return nil, &outage{"the keys to verify the token with cannot be fetched now"}
	}
	if err != nil {
		return nil, tokenError(err)
	}
	if !parsed.Valid {
		return nil, errors.New("the token is not valid")
	}
	id, err := v.identity(claims)
	if err == nil {
		err = v.checkAge(claims, id)
	}
	if err != nil {
		return nil, err
	}
	v.cache.put(d, generation, id, v.now())
	return id, nil
}

// peek looks at a token before its signature is: at its header, which may ask for nothing that is not understood, and at
// whose it says it is.
func (v *jwtVerifier) peek(token string) error {
	header, payload, err := segments(token)
	if err != nil {
		return err
	}
	if alg, ok := header["alg"].(string); !ok || !slices.Contains(allAlgorithms, alg) {
		return errors.New("the token's algorithm is not accepted")
	}
	if err := understood(header); err != nil {
		return err
	}
	// RFC 7515 section 4.1.4.
	if kid, ok := header["kid"]; ok {
		if _, isText := kid.(string); !isText {
			return errors.New("the token's kid is not a string")
		}
	}
	if !v.typed(header) {
		return fmt.Errorf("the token's typ is not %s", strings.Join(v.types, " or "))
	}
	if v.config.Issuer != "" {
		if iss, _ := payload["iss"].(string); iss != v.config.Issuer {
			return &notMine{"the token's issuer is not accepted"}
		}
	}
	return checkDates(payload)
}

// understood refuses a token whose header asks for more than there is.
func understood(header map[string]any) error {
	// RFC 7515 section 4.1.11: extensions that must be understood, and are not.
	if _, ok := header["crit"]; ok {
		return errors.New("the token has a crit header, and nothing in it is understood")
	}
	// RFC 7797 section 3, which goes with crit: the payload would be signed as it is.
	if encoded, ok := header["b64"]; ok && encoded != true {
		return errors.New("the token has a b64 header, which is not understood")
	}
	return nil
}

// typed reports whether the token is of an accepted type. One made for another purpose, such as a logout token, may be
// signed with the same key (RFC 8725 section 3.11).
func (v *jwtVerifier) typed(header map[string]any) bool {
	typ, ok := header["typ"]
	if !ok {
		return len(v.config.Types) == 0
	}
	name, _ := typ.(string)
	return slices.ContainsFunc(v.types, func(t string) bool { return strings.EqualFold(t, mediaType(name)) })
}

// mediaType cuts off what RFC 7515 section 4.1.9 lets a typ leave out.
func mediaType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// tokenError says what is wrong without a byte of the token.
func tokenError(err error) error {
	for _, c := range []struct {
		is   error
		text string
	}{
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

// checkAge ends the identity when the token gets too old, whatever its exp.
func (v *jwtVerifier) checkAge(claims jwt.MapClaims, id *Identity) error {
	limit := v.config.MaxAge.Std()
	if limit == 0 {
		return nil
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil {
		return errors.New("the token has no iat claim, which is needed")
	}
	ends := issued.Add(limit + v.config.ClockSkew.Std())
	if !v.now().Before(ends) {
		return errors.New("the token was issued too long ago")
	}
	if id.Expires.IsZero() || ends.Before(id.Expires) {
		id.Expires = ends
	}
	return nil
}

func (v *jwtVerifier) close() { v.keys.release() }
