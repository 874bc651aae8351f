package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// maxIntrospection bounds an answer about a token.
const maxIntrospection = 64 << 10

// introspector asks the issuer of opaque tokens what they stand for (RFC 7662).
type introspector struct {
	claimReader
	held
	lookup
	config *config.Introspection
	client *http.Client
	source *telemetry.Source
}

func newIntrospector(provider string, cfg *config.Introspection, o *Options) *introspector {
	v := &introspector{config: cfg, source: o.Telemetry.Source(telemetry.Introspection, provider), client: newClient(cfg.Timeout.Std(), cfg.MaxConcurrent), claimReader: claimReader{
		provider: provider, user: cfg.UserClaim, roles: cfg.RolesClaim, scopes: cfg.ScopesClaim,
		needed: cfg.RequiredClaims, stands: standing(cfg.RoleMap), skew: cfg.ClockSkew.Std(),
	}}
	v.lookup.begin(lookupOptions{
		find: v.answer, known: cfg.CacheTime.Std(), refused: cfg.NegativeCacheTime.Std(), stale: cfg.StaleTime.Std(),
		timeout: cfg.Timeout.Std(), concurrent: cfg.MaxConcurrent, cannotTell: &outage{"the token cannot be checked now"},
	})
	v.hold()
	return v
}

var errInactive = errors.New("the token is not active")

func (v *introspector) verify(ctx context.Context, d digest, token string) (*Identity, error) {
	if int64(len(token)) > int64(v.config.MaxSize) {
		return nil, errors.New("the token is too long")
	}
	return v.lookup.verify(ctx, d, token)
}

// answer makes an identity of what the endpoint says.
func (v *introspector) answer(ctx context.Context, _ digest, token string) (*Identity, error) {
	claims, err := v.request(ctx, token)
	if err != nil {
		if v.closing.Err() == nil {
			v.source.Failed(err)
		}
		return nil, v.cannotTell
	}
	if claims["active"] != true {
		return nil, errInactive
	}
	if err := v.checkAnswer(claims); err != nil {
		return nil, err
	}
	return v.identity(claims)
}

// checkAnswer holds an active token's claims against what the provider asks for: an issuer may say active of a token that
// is for somebody else (RFC 7662 section 4).
func (v *introspector) checkAnswer(claims jwt.MapClaims) error {
	if err := checkDates(claims); err != nil {
		return err
	}
	now := v.now()
	for _, c := range []struct {
		get  func() (*jwt.NumericDate, error)
		bad  func(time.Time) bool
		text string
	}{
		{claims.GetExpirationTime, func(t time.Time) bool { return !now.Before(t.Add(v.skew)) }, "the token has expired"},
		{claims.GetNotBefore, func(t time.Time) bool { return now.Before(t.Add(-v.skew)) }, "the token is not valid yet"},
		{claims.GetIssuedAt, func(t time.Time) bool { return now.Before(t.Add(-v.skew)) }, "the token was issued in the future"},
	} {
		t, err := c.get()
		if err != nil {
			return errInactive
		}
		if t != nil && c.bad(t.Time) {
			return errors.New(c.text)
		}
	}
	if v.config.Issuer != "" && claims["iss"] != v.config.Issuer {
		return errors.New("the token's issuer is not accepted")
	}
	if len(v.config.Audiences) == 0 {
		return nil
	}
	audience, err := claims.GetAudience()
	if err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(v.config.Audiences, a) }) {
		return errors.New("the token is for another audience")
	}
	return nil
}

// request asks the endpoint (RFC 7662 section 2.1).
func (v *introspector) request(ctx context.Context, token string) (jwt.MapClaims, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if v.config.ClientID != "" {
		request.SetBasicAuth(url.QueryEscape(v.config.ClientID), url.QueryEscape(v.config.ClientSecret.Reveal()))
	} else {
		request.Header.Set("Authorization", "Bearer "+v.config.Token.Reveal())
	}
	raw, err := fetch(v.client, request, maxIntrospection, "the introspection endpoint")
	if err != nil {
		return nil, err
	}
	claims := parseObject(raw)
	if claims == nil {
		return nil, errors.New("the introspection endpoint's answer is malformed")
	}
	return claims, nil
}

// close gives up what is being asked, once the last configuration with this provider has gone.
func (v *introspector) close() {
	if v.letGo() {
		v.lookup.close()
		v.client.CloseIdleConnections()
		v.source.Close()
	}
}
