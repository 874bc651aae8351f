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
	"time"
)

// Logout ends the session of a cookie, and sends the browser on to the provider, to log out there. The error is an *Error.
func (l *Login) Logout(ctx context.Context, cookie string) (*Step, error) {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout.Std())
	defer cancel()
	one, err := l.sessions.end(ctx, cookie, byLogout)
	if err != nil {
		return nil, &Error{Unavailable: true, Reason: "the session cannot be ended now"}
	}
	step := &Step{Location: l.config.AfterLogout, Cookies: []*http.Cookie{l.keep(l.cookie, "", 0)}}
	known, err := l.sessions.issuer.discover(ctx)
	if one == nil {
		return step, nil
	}
	if err != nil || known.endSession == "" {
		l.sessions.metrics.LoggedOut("here")
		return step, nil
	}
	l.sessions.metrics.LoggedOut("provider")
	if u, err := url.Parse(known.endSession); err == nil {
		q := u.Query()
		q.Set("client_id", l.config.ClientID)
		if name, value := l.logoutHint(one); value != "" {
			q.Set(name, value)
		}
		if strings.HasPrefix(l.config.AfterLogout, "http") {
			q.Set("post_logout_redirect_uri", l.config.AfterLogout)
		}
		u.RawQuery = q.Encode()
		step.Location = u.String()
	}
	return step, nil
}

// maxHint bounds the ID token in a URL, which many servers take 8 KiB of at the most.
const maxHint = 4 << 10

// logoutHint returns the parameter that tells the provider whose session ends, and its value; "" for none.
func (l *Login) logoutHint(one *storedSession) (name, value string) {
	if l.config.LogoutHint != "claim" && len(one.IDToken) <= maxHint {
		return "id_token_hint", one.IDToken
	}
	for _, claim := range []string{"login_hint", "sid"} {
		if value, ok := one.Claims[claim].(string); ok && len(value) <= maxHint {
			return "logout_hint", value
		}
	}
	return "", ""
}

// LogoutElsewhere ends the sessions that a provider's logout token names (OpenID Connect Back-Channel Logout 1.0).
// The error is a *LoginError, or an *Error where nothing can be told now.
func (l *Login) LogoutElsewhere(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout.Std())
	defer cancel()
	t, err := l.sessions.issuer.readLogout(ctx, token)
	if err != nil {
		return l.failed(err)
	}
	used := "logout:" + sessionName(l.config.Issuer+" "+t.ID)
	if first, err := l.sessions.store.once(ctx, used, logoutTokenAge+l.config.ClockSkew.Std()); err != nil {
		return l.failed(err)
	} else if !first {
		return &LoginError{"the logout token was used before", tokenNotGood}
	}
	claim, value := "sub", t.Subject
	if t.Session != "" {
		claim, value = "sid", t.Session
	}
	if err := l.endAll(ctx, claim, value); err != nil {
		l.sessions.store.again(ctx, used)
		return l.failed(err)
	}
	l.sessions.metrics.LoggedOut("back_channel")
	return nil
}

// LogoutInFrame ends the sessions here of a session of the provider's, for a page of its own that has the browser ask for it (OpenID
// Connect Front-Channel Logout 1.0). No cookie tells which: none comes along into the frame of another site. The error is a
// *LoginError, or an *Error where nothing can be told now.
func (l *Login) LogoutInFrame(ctx context.Context, issuer, session string) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout.Std())
	defer cancel()
	if issuer != l.config.Issuer || session == "" {
		return &LoginError{"expected iss and sid of a session of the provider's", badAnswer}
	}
	if err := l.endAll(ctx, "sid", session); err != nil {
		return l.failed(err)
	}
	l.sessions.metrics.LoggedOut("front_channel")
	return nil
}

func (l *Login) endAll(ctx context.Context, claim, value string) error {
	names, err := l.sessions.store.removeOf(ctx, claim, value)
	if err != nil {
		return err
	}
	l.sessions.ended(byProvider, names...)
	return nil
}

// logoutToken is what a provider tells of a logout elsewhere.
type logoutToken struct {
	Subject string                     `json:"sub"`
	Session string                     `json:"sid"`
	ID      string                     `json:"jti"`
	Issued  float64                    `json:"iat"`
	Events  map[string]json.RawMessage `json:"events"`
	Nonce   json.RawMessage            `json:"nonce"` // null, too, is one
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
	verified, err := i.verify(ctx, known, raw)
	if errors.Is(err, errKeysUnavailable) {
		return nil, err
	}
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
	case json.Unmarshal(t.Events[backChannelLogout], &event) != nil || event == nil:
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
