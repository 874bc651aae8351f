package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

const (
	// openIDKeysFloor lies between two requests for an OpenID provider's keys, and openIDKeysTime is how long they are used
	// before they are asked for again: as for tokens, where an operator may choose. Anybody may send logout tokens, with any kid.
	openIDKeysFloor = 10 * time.Second
	openIDKeysTime  = 10 * time.Minute
)

// openIDKeys are an OpenID provider's keys, fetched as those of other tokens' issuers are.
type openIDKeys struct {
	*remoteKeys
	parser *jwt.Parser
}

// newOpenIDKeys returns the keys at a URL, for those of the algorithms that sign in public; RS256 where there is none, which every
// provider has (OpenID Connect Core 1.0 section 15.1).
func newOpenIDKeys(from string, algorithms []string, source *telemetry.Source) *openIDKeys {
	var public []string
	for _, a := range algorithms {
		if slices.Contains(allAlgorithms, a) && !strings.HasPrefix(a, "HS") {
			public = append(public, a)
		}
	}
	if public == nil {
		public = []string{"RS256"}
	}
	cfg := &config.JWT{JWKSURL: from, Algorithms: public, JWKSRefreshFloor: config.Duration(openIDKeysFloor), JWKSCacheTime: config.Duration(openIDKeysTime)}
	return &openIDKeys{newRemoteKeys(cfg, source), jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(), jwt.WithValidMethods(public))}
}

// VerifySignature returns the claims of a token; the rest is for who asks to check. It makes this an oidc.KeySet.
func (k *openIDKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	header, _, err := segments(token)
	if err == nil {
		err = understood(header)
	}
	if err != nil {
		return nil, err
	}
	_, err = k.parser.Parse(token, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return k.find(ctx, kid, t.Method.Alg())
	})
	if err != nil {
		return nil, err
	}
	return base64url.DecodeString(strings.Split(token, ".")[1])
}
