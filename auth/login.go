package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/crossgate/crossgate/config"
)

// Login logs browsers in at an OpenID provider (OpenID Connect Core 1.0 section 3.1, with PKCE, RFC 7636) and out again. Safe for concurrent use.
type Login struct {
	sessions *sessions
	config   *config.Login
	cookie   string // the session's
	paths    LoginPaths
}

// LoginPaths are where a login is served.
type LoginPaths struct {
	Begin, Callback, Logout, BackChannel string
	FrontChannel                         string // "" where it is not served
}

// Step is what a browser is told next: to go to a URL, or a path, and to keep cookies.
type Step struct {
	Location string
	Cookies  []*http.Cookie
	User     string // who has logged in; "" for nobody
}

// LoginError is a refusal whose text is safe to show.
type LoginError struct {
	Reason string
	why    string // as it is counted
}

// What logins are counted by that have failed.
const (
	unknownAttempt   = "unknown_attempt"
	refusedLogin     = "refused"
	refusedCode      = "code_refused"
	badAnswer        = "bad_answer"
	tokenNotGood     = "bad_token"
	claimsNotGood    = "not_accepted"
	loginUnavailable = "unavailable"
)

func (e *LoginError) Error() string { return e.Reason }

func newLogin(cfg *config.Login, s *sessions) *Login {
	l := &Login{sessions: s, config: cfg, cookie: cfg.Cookie}
	if cfg.Secure() {
		l.cookie = "__Host-" + cfg.Cookie
	}
	if u, err := url.Parse(cfg.RedirectURL); err == nil {
		beside := strings.TrimSuffix(path.Dir(u.EscapedPath()), "/")
		l.paths = LoginPaths{Begin: beside + "/login", Callback: u.EscapedPath(), Logout: beside + "/logout", BackChannel: beside + "/backchannel-logout"}
		if cfg.FrontChannelLogout {
			l.paths.FrontChannel = beside + "/frontchannel-logout"
		}
	}
	return l
}

// Paths returns where the login is served.
func (l *Login) Paths() LoginPaths { return l.paths }

// CookieName is the session cookie's name.
func (l *Login) CookieName() string { return l.cookie }

// Begin sends a browser with these cookies to the provider. It comes back to a path of this origin; what is none is "/". The error is an
// *Error.
func (l *Login) Begin(ctx context.Context, back string, cookie func(name string) string) (*Step, error) {
	known, err := l.sessions.issuer.discover(ctx)
	if err != nil {
		l.sessions.metrics.Failed(loginUnavailable)
		return nil, &Error{Unavailable: true, Reason: errIssuerDown.Error()}
	}
	a := l.newAttempt(back)
	l.sessions.metrics.Begun()
	return &Step{
		Location: known.oauth.AuthCodeURL(a.state, oauth2.S256ChallengeOption(a.verifier), oauth2.SetAuthURLParam("nonce", a.nonce)),
		Cookies:  l.keepAttempt(a, cookie),
	}, nil
}

// keep makes a cookie; a time of 0 takes it away. SameSite is Lax, for a strict one would not come along when the provider
// sends the browser back.
func (l *Login) keep(name, value string, life time.Duration) *http.Cookie {
	age := int(life.Seconds())
	if life == 0 {
		age = -1
	}
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: l.config.Secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// Finish takes a browser back that comes from the provider with this query. The error is a *LoginError, or an *Error where
// nothing can be told now.
func (l *Login) Finish(ctx context.Context, query url.Values, cookie func(name string) string) (*Step, error) {
	step, err := l.finish(ctx, query, cookie)
	if failed, ok := errors.AsType[*LoginError](err); ok {
		l.sessions.metrics.Failed(failed.why)
	} else if err != nil {
		l.sessions.metrics.Failed(loginUnavailable)
	} else {
		l.sessions.metrics.Completed()
	}
	return step, err
}

func (l *Login) finish(ctx context.Context, query url.Values, cookie func(name string) string) (*Step, error) {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout.Std())
	defer cancel()
	state := query.Get("state")
	a, ok := l.readAttempt(state, cookie)
	switch {
	case !ok:
		return nil, &LoginError{"this browser has begun no such login, or took too long; begin again", unknownAttempt}
	case query.Get("error") != "":
		return nil, &LoginError{"the provider has refused the login: " + errorCode(query.Get("error")), refusedLogin}
	case query.Has("iss") && query.Get("iss") != l.config.Issuer:
		return nil, &LoginError{"the answer is another provider's", badAnswer} // RFC 9207
	case !query.Has("iss") && l.sessions.issuer.namesItself():
		return nil, &LoginError{"the answer does not say which provider's it is", badAnswer}
	case query.Get("code") == "":
		return nil, &LoginError{"the provider has sent no code", badAnswer}
	}
	t, err := l.sessions.issuer.exchange(ctx, query.Get("code"), a.verifier)
	if err != nil {
		return nil, l.failed(err)
	}
	if !sameText(t.nonce, a.nonce) {
		return nil, &LoginError{"the ID token is of another login", tokenNotGood}
	}
	// The session that the browser had ends: no id outlives a login.
	if _, err := l.sessions.end(ctx, cookie(l.cookie), byLogin); err != nil {
		return nil, l.failed(err)
	}
	value, id, err := l.sessions.begin(ctx, t)
	if err != nil {
		return nil, l.failed(err)
	}
	return &Step{Location: a.back, User: id.User, Cookies: []*http.Cookie{
		l.keep(l.cookie, value, l.config.Lifetime.Std()),
		l.keep(l.attemptCookie(a.slot), "", 0),
	}}, nil
}

// failed words what went wrong between the gateway and those it depends on.
func (l *Login) failed(err error) error {
	if _, ok := errors.AsType[*LoginError](err); ok {
		return err
	}
	if bad, ok := errors.AsType[*badToken](err); ok {
		return &LoginError{bad.reason, tokenNotGood}
	}
	if saidNo(err) {
		return &LoginError{"the provider does not take the code", refusedCode}
	}
	if _, counted := errors.AsType[*noAnswer](err); !counted {
		l.sessions.logger.Warn("a login failed", "error", err)
	}
	return &Error{Unavailable: true, Reason: "nobody can log in now"}
}

// errorCode returns an error of RFC 6749 section 4.1.2.1 or OpenID Connect Core 1.0 section 3.1.2.6, and not what anybody may
// write into a link.
func errorCode(s string) string {
	if len(s) > 40 || strings.ContainsFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		return "unknown"
	}
	return s
}
