package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// maxLogoutToken bounds the form with a provider's logout token.
const maxLogoutToken = 32 << 10

// login is a route with the paths of one provider's login.
type login struct{ *auth.Login }

// login adds the rules of a login route.
func (c *compiler) login(cfg *config.Route, policy *admission.Policy, r *route) {
	found := c.auth.Login(cfg.Login.Provider)
	if found == nil {
		c.errs.Add(cfg.Login.Pos, fmt.Errorf("route %s: %q is no auth provider with login", cfg.Name, cfg.Login.Provider))
		return
	}
	l, paths := login{found}, found.Paths()
	type served struct {
		path, method, calls string
		serve               func(*exchange)
	}
	all := []served{
		{paths.Begin, http.MethodGet, "login:begin", l.begin},
		{paths.Callback, http.MethodGet, "login:callback", l.callback},
		{paths.Logout, http.MethodPost, "login:logout", l.logout},
		{paths.BackChannel, http.MethodPost, "login:backchannel-logout", l.backChannel},
	}
	if paths.FrontChannel != "" {
		all = append(all, served{paths.FrontChannel, http.MethodGet, "login:frontchannel-logout", l.frontChannel})
	}
	for _, one := range all {
		template, err := routing.ExactPath(one.path)
		if err != nil {
			c.errs.Add(cfg.Login.Pos, fmt.Errorf("route %s: %w", cfg.Name, err))
			return
		}
		t := &target{route: r, kind: "login", protocol: telemetry.REST, calls: one.calls, serve: one.serve}
		c.add(cfg, policy, t, []string{one.method}, template, one.calls)
	}
}

// logIn sends a browser that opens a page without a session to the provider, where the route has a login. It reports
// whether it has answered: scripts and other programs get their 401.
func (x *exchange) logIn() bool {
	l := x.target.route.login
	if l == nil || x.protocol != rpc.None || !isNavigation(x.r) {
		return false
	}
	step, err := l.Begin(x.r.Context(), x.r.URL.RequestURI(), x.request.Cookie)
	if err != nil {
		return false
	}
	x.step(step)
	return true
}

// isNavigation reports whether a browser wants a page to show (Fetch Metadata Request Headers section 2.2). Of one that does
// not say so what it accepts tells.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header["Upgrade"] != nil {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("X-Requested-With") == ""
}

// step sends the browser on. Its answer is nobody else's.
func (x *exchange) step(s *auth.Step) {
	h := x.w.Header()
	for _, cookie := range s.Cookies {
		h.Add("Set-Cookie", cookie.String())
	}
	h.Set("Location", s.Location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the callback's URL has the code
	x.w.WriteHeader(http.StatusSeeOther)
}

func (l login) begin(x *exchange) {
	step, err := l.Begin(x.r.Context(), x.r.URL.Query().Get("back"), x.request.Cookie)
	l.answer(x, step, err)
}

func (l login) callback(x *exchange) {
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		x.fail(fault.New(fault.LoginFailed, "the query is malformed"))
		return
	}
	step, err := l.Finish(x.r.Context(), query, x.request.Cookie)
	l.answer(x, step, err)
}

func (l login) logout(x *exchange) {
	if x.request.Forged() {
		x.fail(fault.New(fault.CrossOriginRefused, "neither Sec-Fetch-Site nor Origin says that a page of this origin asks for the logout"))
		return
	}
	step, err := l.Logout(x.r.Context(), x.request.Cookie(l.CookieName()))
	l.answer(x, step, err)
}

// backChannel answers a provider (OpenID Connect Back-Channel Logout 1.0 section 2.8).
func (l login) backChannel(x *exchange) {
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxLogoutToken))
	form, bad := url.ParseQuery(string(body))
	if err != nil || bad != nil || form.Get("logout_token") == "" {
		x.fail(fault.New(fault.InvalidRequest, "expected a form with a logout_token"))
		return
	}
	l.told(x, l.LogoutElsewhere(x.r.Context(), form.Get("logout_token")))
}

// frontChannel answers a frame in a page of the provider's.
func (l login) frontChannel(x *exchange) {
	query := x.r.URL.Query()
	l.told(x, l.LogoutInFrame(x.r.Context(), query.Get("iss"), query.Get("sid")))
}

// told answers whoever has told of a logout elsewhere.
func (l login) told(x *exchange, err error) {
	x.w.Header().Set("Cache-Control", "no-store")
	if wrong, ok := errors.AsType[*auth.LoginError](err); ok {
		x.why = wrong.Reason
		x.fail(fault.New(fault.InvalidRequest, wrong.Reason))
		return
	}
	if err != nil {
		l.answer(x, nil, err)
		return
	}
	x.w.WriteHeader(http.StatusOK)
}

func (l login) answer(x *exchange, s *auth.Step, err error) {
	if err == nil {
		x.user = s.User
		x.step(s)
		return
	}
	x.w.Header().Set("Cache-Control", "no-store")
	if failed, ok := errors.AsType[*auth.LoginError](err); ok {
		x.why = failed.Reason
		x.fail(fault.New(fault.LoginFailed, failed.Reason))
		return
	}
	setRetryAfter(x.w.Header(), time.Second)
	x.fail(fault.New(fault.IdentityUnavailable, err.Error()))
}

// hideCookies takes the cookies of a login, whose names begin alike, out of a request: a backend that had them could be
// the user.
func hideCookies(h http.Header, name string) {
	var kept []string
	for _, line := range h["Cookie"] {
		if strings.Contains(line, name) {
			var pairs []string
			for pair := range strings.SplitSeq(line, ";") {
				pair = strings.TrimSpace(pair)
				if n, _, _ := strings.Cut(pair, "="); n != name && !strings.HasPrefix(n, name+"-") {
					pairs = append(pairs, pair)
				}
			}
			line = strings.Join(pairs, "; ")
		}
		if line != "" {
			kept = append(kept, line)
		}
	}
	if kept == nil {
		delete(h, "Cookie")
	} else {
		h["Cookie"] = kept
	}
}
