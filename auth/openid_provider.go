package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
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
	known  atomic.Pointer[knownIssuer]

	mu     sync.Mutex
	failed time.Time // when it last could not be reached
}

// knownIssuer is what the provider has said of itself (OpenID Connect Discovery 1.0 section 4).
type knownIssuer struct {
	oauth      oauth2.Config
	verifier   *oidc.IDTokenVerifier
	endSession string // OpenID Connect RP-Initiated Logout 1.0; "" where there is none
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

var errIssuerDown = errors.New("the OpenID provider cannot be reached")

// noAnswer is said of a provider that cannot be reached, or is out of order. It has been counted and logged.
type noAnswer struct{ cause error }

func (e *noAnswer) Error() string { return errIssuerDown.Error() }
func (e *noAnswer) Unwrap() error { return e.cause }

func newOpenIDProvider(cfg *config.Login, source *telemetry.Source) *openIDProvider {
	return &openIDProvider{config: cfg, client: newClient(cfg.Timeout.Std(), 4), source: source}
}

func (i *openIDProvider) close() {
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
	// Not the caller's context: others wait for the answer, and the provider keeps it to fetch its keys.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.client), i.config.Issuer)
	var more struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err == nil {
		err = provider.Claims(&more)
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
		verifier: provider.Verifier(&oidc.Config{
			ClientID: i.config.ClientID, Now: func() time.Time { return time.Now().Add(-i.config.ClockSkew.Std()) },
		}),
		endSession: more.EndSession,
	}
	i.known.Store(known)
	return known, nil
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
	id, err := known.verifier.Verify(oidc.ClientContext(ctx, i.client), raw)
	if err != nil {
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
	return all, nil
}

// logoutToken is what a provider tells of a logout elsewhere.
type logoutToken struct {
	Subject string                     `json:"sub"`
	Session string                     `json:"sid"`
	ID      string                     `json:"jti"`
	Issued  float64                    `json:"iat"`
	Events  map[string]json.RawMessage `json:"events"`
	Nonce   *json.RawMessage           `json:"nonce"`
}

const (
	backChannelLogout = "http://schemas.openid.net/event/backchannel-logout"
	// logoutTokenAge is how old a logout token may be, and how long its id is remembered.
	logoutTokenAge = 10 * time.Minute
)

// readLogout verifies a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6).
func (i *openIDProvider) readLogout(ctx context.Context, raw string) (*logoutToken, error) {
	known, err := i.discover(ctx)
	if err != nil {
		return nil, err
	}
	verified, err := known.verifier.Verify(oidc.ClientContext(ctx, i.client), raw)
	if err != nil {
		return nil, &badToken{"the logout token is not good"}
	}
	t := new(logoutToken)
	if err := verified.Claims(t); err != nil {
		return nil, &badToken{"the logout token's claims are malformed"}
	}
	var event map[string]any
	age := time.Since(verified.IssuedAt)
	switch {
	case !slices.Contains([]string{"", "jwt", "logout+jwt"}, strings.ToLower(typeOf(raw))):
		return nil, &badToken{"the token is of another type"}
	case json.Unmarshal(t.Events[backChannelLogout], &event) != nil:
		return nil, &badToken{"the token has no back-channel logout event"}
	case t.Nonce != nil:
		return nil, &badToken{"a logout token has no nonce"}
	case t.Subject == "" && t.Session == "":
		return nil, &badToken{"the logout token has neither sub nor sid"}
	case t.ID == "":
		return nil, &badToken{"the logout token has no jti"}
	case t.Issued == 0 || age > logoutTokenAge || age < -i.config.ClockSkew.Std():
		return nil, &badToken{"the logout token was not issued just now"}
	}
	return t, nil
}

// typeOf returns the typ of a signed token's header.
func typeOf(token string) string {
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var header struct {
		Type string `json:"typ"`
	}
	if err != nil || json.Unmarshal(text, &header) != nil {
		return "?"
	}
	return header.Type
}
