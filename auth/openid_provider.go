package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// openIDProvider is an OpenID provider. Its configuration is fetched when it is first needed, and again until that succeeds.
type openIDProvider struct {
	config *config.Login
	client *http.Client
	source *telemetry.Source
	keys   func(url string, algorithms []string) *openIDKeys
	known  atomic.Pointer[knownIssuer]

	mu     sync.Mutex
	failed time.Time // when it last could not be reached
}

// knownIssuer is what the provider has said of itself (OpenID Connect Discovery 1.0 section 4).
type knownIssuer struct {
	oauth       oauth2.Config
	keys        *openIDKeys
	verifier    *oidc.IDTokenVerifier
	userinfo    string // "" where it is not asked
	endSession  string // OpenID Connect RP-Initiated Logout 1.0; "" where there is none
	namesItself bool   // in its answers (RFC 9207)
}

// tokens are a provider's answer, with what its ID token says.
type tokens struct {
	*oauth2.Token
	id     string
	nonce  string
	claims map[string]any // nil without an ID token
}

// badToken is said of an ID or logout token that is not good.
type badToken struct{ reason string }

func (e *badToken) Error() string { return e.reason }

// maxIDToken bounds an ID token: it is in Redis with each session, and read with it.
const maxIDToken = 64 << 10

var errIssuerDown = errors.New("the OpenID provider cannot be reached")

// noAnswer is said of a provider that cannot be reached, or is out of order. It has been counted and logged.
type noAnswer struct{ cause error }

func (e *noAnswer) Error() string { return errIssuerDown.Error() }
func (e *noAnswer) Unwrap() error { return e.cause }

func newOpenIDProvider(name string, cfg *config.Login, t *telemetry.Telemetry) *openIDProvider {
	return &openIDProvider{
		config: cfg, client: newClient(cfg.Timeout.Std(), 4), source: t.Source(telemetry.OpenID, name),
		keys: func(url string, algorithms []string) *openIDKeys {
			return newOpenIDKeys(url, algorithms, t.Source(telemetry.KeySets, name))
		},
	}
}

func (i *openIDProvider) close() {
	if known := i.known.Load(); known != nil {
		known.keys.release()
	}
	i.client.CloseIdleConnections()
	i.source.Close()
}

// unanswered counts an error that is not the provider's no.
func (i *openIDProvider) unanswered(err error) error {
	if saidNo(err) {
		return err
	}
	if !errors.Is(err, context.Canceled) {
		i.source.Failed(errors.New(withoutAnswer(err)))
	}
	return &noAnswer{err}
}

// discover returns what is known of the provider. Of callers that find it unknown one asks while the others wait.
func (i *openIDProvider) discover(ctx context.Context) (*knownIssuer, error) {
	if known := i.known.Load(); known != nil {
		return known, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if known := i.known.Load(); known != nil {
		return known, nil
	}
	if time.Since(i.failed) < retryAfterFailure {
		return nil, &noAnswer{errIssuerDown}
	}
	// Not the caller's context: others wait for the answer.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.client), i.config.Issuer)
	var more struct {
		EndSession  string   `json:"end_session_endpoint"`
		Keys        string   `json:"jwks_uri"`
		Algorithms  []string `json:"id_token_signing_alg_values_supported"`
		NamesItself bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err == nil {
		err = provider.Claims(&more)
	}
	if err == nil {
		err = i.usable(provider.Endpoint().AuthURL, provider.Endpoint().TokenURL, more.Keys, more.EndSession)
	}
	userinfo := ""
	if err == nil && i.config.Userinfo {
		userinfo = provider.UserInfoEndpoint()
		err = i.usable(userinfo, "")
	}
	if err != nil {
		i.failed = time.Now()
		if _, ok := errors.AsType[*url.Error](err); !ok { // the text has what the provider has answered
			err = errors.New("the provider's configuration is another's, malformed or an error")
		}
		return nil, i.unanswered(err)
	}
	scopes := []string{oidc.ScopeOpenID}
	for _, scope := range i.config.Scopes {
		if scope != oidc.ScopeOpenID {
			scopes = append(scopes, scope)
		}
	}
	known := &knownIssuer{
		oauth: oauth2.Config{
			ClientID: i.config.ClientID, ClientSecret: i.config.ClientSecret.Reveal(), RedirectURL: i.config.RedirectURL,
			Endpoint: provider.Endpoint(), Scopes: scopes,
		},
		keys: i.keys(more.Keys, more.Algorithms), endSession: more.EndSession, userinfo: userinfo, namesItself: more.NamesItself,
	}
	known.verifier = oidc.NewVerifier(i.config.Issuer, known.keys, &oidc.Config{
		ClientID: i.config.ClientID, SupportedSigningAlgs: known.keys.config.Algorithms,
		Now: func() time.Time { return time.Now().Add(-i.config.ClockSkew.Std()) },
	})
	i.known.Store(known)
	return known, nil
}

// namesItself reports whether the provider has said that its answers name it (RFC 9207 section 2.4).
func (i *openIDProvider) namesItself() bool {
	known := i.known.Load()
	return known != nil && known.namesItself
}

// usable refuses endpoints without TLS of a provider with it: browsers and secrets would go there. The last may be left out.
func (i *openIDProvider) usable(endpoints ...string) error {
	for n, endpoint := range endpoints {
		if n == len(endpoints)-1 && endpoint == "" {
			continue
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || strings.HasPrefix(i.config.Issuer, "https:")) {
			return errors.New("an endpoint is not a URL to ask")
		}
	}
	return nil
}

// verify checks a token of the provider's. A key that cannot be had is no fault of the token's.
func (i *openIDProvider) verify(ctx context.Context, known *knownIssuer, raw string) (*oidc.IDToken, error) {
	if len(raw) > maxIDToken {
		return nil, errors.New("too large")
	}
	if _, err := known.keys.VerifySignature(ctx, raw); errors.Is(err, errKeysUnavailable) || errors.Is(err, errUnknownKey) {
		return nil, &noAnswer{err}
	}
	return known.verifier.Verify(ctx, raw)
}

// exchange turns the code that a browser has brought into tokens.
func (i *openIDProvider) exchange(ctx context.Context, code, verifier string) (*tokens, error) {
	known, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := known.oauth.Exchange(oidc.ClientContext(ctx, i.client), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, i.unanswered(err)
	}
	return i.read(ctx, known, t, true)
}

// refresh may return tokens beside an error, of which nothing more is known: the refresh token is the one to go on with.
func (i *openIDProvider) refresh(ctx context.Context, refreshToken string) (*tokens, error) {
	known, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := known.oauth.TokenSource(oidc.ClientContext(ctx, i.client), &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, i.unanswered(err)
	}
	return i.read(ctx, known, t, false)
}

// read verifies the ID token of an answer (OpenID Connect Core 1.0 section 3.1.3.7).
func (i *openIDProvider) read(ctx context.Context, known *knownIssuer, t *oauth2.Token, needed bool) (*tokens, error) {
	raw, ok := t.Extra("id_token").(string)
	if !ok && !needed {
		return &tokens{Token: t}, nil
	}
	if !ok {
		return nil, &badToken{"the provider has given no ID token"}
	}
	id, err := i.verify(ctx, known, raw)
	if _, ok := errors.AsType[*noAnswer](err); ok {
		return &tokens{Token: t}, err
	}
	if err != nil || id.Subject == "" { // OpenID Connect Core 1.0 section 2
		return nil, &badToken{"the ID token is not good"}
	}
	if id.AccessTokenHash != "" && id.VerifyAccessToken(t.AccessToken) != nil {
		return nil, &badToken{"the access token is not the ID token's"}
	}
	all := &tokens{Token: t, id: raw, nonce: id.Nonce}
	if err := id.Claims(&all.claims); err != nil || all.claims == nil {
		return nil, &badToken{"the ID token's claims are malformed"}
	}
	if azp, ok := all.claims["azp"]; ok && azp != i.config.ClientID {
		return nil, &badToken{"the ID token was issued to another client"}
	}
	if known.userinfo != "" {
		if err := i.addUserinfo(ctx, known, all); err != nil {
			return &tokens{Token: t}, err
		}
	}
	return all, nil
}

// addUserinfo adds the claims that the ID token does not have (OpenID Connect Core 1.0 section 5.3).
func (i *openIDProvider) addUserinfo(ctx context.Context, known *knownIssuer, t *tokens) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, known.userinfo, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+t.AccessToken)
	request.Header.Set("Accept", "application/json")
	raw, err := fetch(i.client, request, maxIDToken, "the userinfo endpoint")
	if err != nil {
		return i.unanswered(err)
	}
	more := parseObject(raw)
	if more == nil {
		return i.unanswered(errors.New("the userinfo endpoint's answer is no JSON object"))
	}
	if !sameText(more["sub"], t.claims["sub"]) { // section 5.3.2
		return &badToken{"the userinfo is another user's"}
	}
	for name, value := range more {
		if _, ok := t.claims[name]; !ok {
			t.claims[name] = value
		}
	}
	return nil
}
