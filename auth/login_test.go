package auth

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// loginTest is a browser that logs in.
type loginTest struct {
	*Login
	policy  *Policy
	openID  *openID
	redis   *miniredis.Miniredis
	cookies map[string]string
	tel     *telemetry.Telemetry
	log     *lines
	mu      sync.Mutex
	ended   []string // names of sessions of which everybody was told
}

// told returns the names of sessions that have ended before their time.
func (s *loginTest) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ended)
}

func startLogin(t *testing.T, change func(*config.Login)) *loginTest {
	t.Helper()
	s := &loginTest{openID: startOpenID(t), redis: miniredis.RunT(t), cookies: map[string]string{}, log: new(lines)}
	s.tel = telemetry.New(config.Log{Format: "json"}, s.log)
	t.Cleanup(s.tel.Close)
	cfg := &config.Login{
		Issuer: s.openID.URL, ClientID: "gateway", ClientSecret: "client-secret", RedirectURL: "https://app.example.com/oauth2/callback",
		Scopes: []string{"profile"}, Keys: []config.Secret{"0123456789abcdef0123456789abcdef"}, Cookie: "session",
		Lifetime: config.Duration(12 * time.Hour), IdleTime: config.Duration(time.Hour), RefreshBefore: config.Duration(time.Minute),
		Timeout: config.Duration(30 * time.Second), AfterLogout: "/", ClockSkew: config.Duration(30 * time.Second),
		UserClaim: "sub", RolesClaim: "roles", ScopesClaim: "scope",
	}
	if change != nil {
		change(cfg)
	}
	s.start(t, cfg)
	return s
}

// start makes a gateway's side of the login.
func (s *loginTest) start(t *testing.T, cfg *config.Login) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	providers, err := Compile([]config.AuthProvider{{Name: "staff", Login: cfg}}, Options{Redis: client, Prefix: "cg:", Telemetry: s.tel, Revoke: func(one Revocation) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = append(s.ended, one.TokenID)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	if s.policy, err = providers.Policy(&config.RouteAuth{Require: []string{"staff"}}); err != nil {
		t.Fatal(err)
	}
	s.Login = s.policy.Login()
}

// begin goes to the provider, and returns what it would bring back.
func (s *loginTest) begin(t *testing.T, back string) url.Values {
	t.Helper()
	step, err := s.Begin(t.Context(), back, s.cookie)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(step.Location)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("response_type") != "code" || q.Get("scope") != "openid profile" {
		t.Errorf("the provider is asked for %v", q)
	}
	s.openID.told(func(p *openID) { p.nonce = q.Get("nonce") })
	s.keep(step)
	return url.Values{"code": {"1"}, "state": {q.Get("state")}}
}

func (s *loginTest) cookie(name string) string { return s.cookies[name] }

func (s *loginTest) keep(step *Step) {
	for _, c := range step.Cookies {
		if s.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(s.cookies, c.Name)
		}
	}
}

func (s *loginTest) finish(t *testing.T, query url.Values) (*Step, error) {
	t.Helper()
	step, err := s.Finish(t.Context(), query, s.cookie)
	if err == nil {
		s.keep(step)
	}
	return step, err
}

// logIn does all of it.
func (s *loginTest) logIn(t *testing.T) {
	t.Helper()
	if _, err := s.finish(t, s.begin(t, "/")); err != nil {
		t.Fatal(err)
	}
}

func (s *loginTest) who(t *testing.T) (*Identity, error) {
	t.Helper()
	id, _, err := s.policy.Authenticate(t.Context(), request{cookie: s.cookies})
	return id, err
}

// after has time pass for the gateway.
func (s *loginTest) after(d time.Duration) {
	s.sessions.now = func() time.Time { return time.Now().Add(d) }
}

func TestALoginMakesASession(t *testing.T) {
	s := startLogin(t, nil)
	step, err := s.finish(t, s.begin(t, "/orders?page=2"))
	if err != nil || step.Location != "/orders?page=2" {
		t.Fatalf("%+v, %v", step, err)
	}
	if s.openID.form.Get("code_verifier") == "" {
		t.Error("the code was exchanged without a verifier")
	}
	c := step.Cookies[0]
	if c.Name != "__Host-session" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 {
		t.Errorf("the cookie is %+v", c)
	}
	if len(s.cookies) != 1 {
		t.Errorf("the browser is left with %v", s.cookies)
	}
	id, err := s.who(t)
	if err != nil || id.User != "ann" || id.Provider != "staff" || !slices.Equal(id.Roles, []string{"clerk"}) {
		t.Fatalf("%+v, %v", id, err)
	}
	if until := time.Until(id.Expires); until > 12*time.Hour || until < 11*time.Hour {
		t.Errorf("the session ends in %v", until)
	}
	for _, key := range s.redis.Keys() {
		value, _ := s.redis.Get(key)
		for _, secret := range []string{"refresh-secret", "access-secret", "ann", strings.Split(c.Value, ".")[0]} {
			if strings.Contains(key+value, secret) {
				t.Errorf("Redis has %q in %s", secret, key)
			}
		}
	}
}

func TestALoginThatIsNotOursEndsWithoutASession(t *testing.T) {
	for name, c := range map[string]struct {
		query  func(url.Values)
		openID func(*openID)
		cookie func(map[string]string)
		want   string
	}{
		"another state":   {query: func(q url.Values) { q.Set("state", "x") }, want: "begun no such login"},
		"no state":        {query: func(q url.Values) { q.Del("state") }, want: "begun no such login"},
		"another browser": {cookie: func(c map[string]string) { clear(c) }, want: "begun no such login"},
		"a changed cookie": {cookie: func(c map[string]string) {
			for n := range c {
				c[n] = "A" + c[n][1:]
			}
		}, want: "begun no such login"},
		"no code":                     {query: func(q url.Values) { q.Del("code") }, want: "no code"},
		"the provider's no":           {query: func(q url.Values) { q.Set("error", "access_denied") }, want: "access_denied"},
		"words in place of an error":  {query: func(q url.Values) { q.Set("error", "<b>call us") }, want: "unknown"},
		"another issuer":              {query: func(q url.Values) { q.Set("iss", "https://evil.example") }, want: "another provider's"},
		"another nonce":               {openID: func(p *openID) { p.nonce = "x" }, want: "of another login"},
		"no nonce":                    {openID: func(p *openID) { p.claims = map[string]any{"nonce": nil} }, want: "of another login"},
		"an ID token for another":     {openID: func(p *openID) { p.claims = map[string]any{"aud": "other"} }, want: "not good"},
		"an ID token of another":      {openID: func(p *openID) { p.claims = map[string]any{"iss": "https://evil.example"} }, want: "not good"},
		"an ID token through another": {openID: func(p *openID) { p.claims = map[string]any{"aud": []string{"gateway", "b"}, "azp": "b"} }, want: "another client"},
		"an ID token that is over":    {openID: func(p *openID) { p.claims = map[string]any{"exp": 1} }, want: "not good"},
		"another access token":        {openID: func(p *openID) { p.claims = map[string]any{"at_hash": "x"} }, want: "not the ID token's"},
		"no ID token":                 {openID: func(p *openID) { p.answer = map[string]any{"id_token": nil} }, want: "no ID token"},
		"garbage for an ID token":     {openID: func(p *openID) { p.answer = map[string]any{"id_token": "x"} }, want: "not good"},
		"a used code":                 {openID: func(p *openID) { p.status = 400 }, want: "does not take the code"},
		"no user":                     {openID: func(p *openID) { p.claims = map[string]any{"sub": nil} }, want: "not good"},
		"a huge ID token":             {openID: func(p *openID) { p.claims = map[string]any{"more": strings.Repeat("x", maxIDToken)} }, want: "not good"},
		"a user that is a number":     {openID: func(p *openID) { p.claims = map[string]any{"sub": 7} }, want: "not good"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLogin(t, nil)
			q := s.begin(t, "/")
			if c.query != nil {
				c.query(q)
			}
			if c.openID != nil {
				s.openID.told(c.openID)
			}
			if c.cookie != nil {
				c.cookie(s.cookies)
			}
			_, err := s.finish(t, q)
			if failed, ok := errors.AsType[*LoginError](err); !ok || !strings.Contains(failed.Reason, c.want) || strings.Contains(failed.Reason, "secret") {
				t.Errorf("%v, want %q", err, c.want)
			}
			if len(s.redis.Keys()) > 0 {
				t.Errorf("Redis has %v", s.redis.Keys())
			}
		})
	}
}

func TestALoginThatTookTooLongBeginsAgain(t *testing.T) {
	s := startLogin(t, nil)
	q := s.begin(t, "/")
	s.after(attemptTime + time.Second)
	if _, err := s.finish(t, q); err == nil {
		t.Error("it has a session")
	}
}

func TestABrowserComesBackToThisOriginOnly(t *testing.T) {
	for back, want := range map[string]string{
		"/a?b=c&d=/e": "/a?b=c&d=/e", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example": "/", "": "/", "evil": "/",
		"/a\r\nSet-Cookie: x": "/", "/\tevil": "/", "/\x00": "/", "/\x7f": "/", "/é": "/", "/\xff": "/", "/\u2028": "/", "///evil.example": "/", `/a\/evil`: "/", "/%5Cevil": "/%5Cevil", "/" + strings.Repeat("a", maxBack): "/",
	} {
		if got := ownPath(back); got != want {
			t.Errorf("%q: %q", back, got)
		}
	}
}

// counts returns the series of logins that are not 0, without their prefix.
func (s *loginTest) counts() map[string]string {
	w := httptest.NewRecorder()
	s.tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	counts := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(name, `provider="staff"`) || strings.Contains(name, `kind="openid"`) {
			counts[strings.TrimPrefix(name, "crossgate_")] = value
		}
	}
	return counts
}

func TestWhatBecomesOfLoginsIsCounted(t *testing.T) {
	s := startLogin(t, nil)
	fail := func(change func(*openID), query ...string) {
		t.Helper()
		q := s.begin(t, "/")
		for i := 0; i < len(query); i += 2 {
			q.Set(query[i], query[i+1])
		}
		s.openID.told(func(p *openID) { p.claims, p.answer, p.status = nil, nil, 0 })
		if change != nil {
			s.openID.told(change)
		}
		if _, err := s.finish(t, q); err == nil {
			t.Error("it has a session")
		}
		s.openID.told(func(p *openID) { p.claims, p.answer, p.status = nil, nil, 0 })
	}
	fail(nil, "state", "x")
	fail(nil, "error", "access_denied")
	fail(nil, "code", "")
	fail(nil, "iss", "https://evil.example")
	fail(func(p *openID) { p.status = 400 })
	fail(func(p *openID) { p.status = 503 })
	fail(func(p *openID) { p.claims = map[string]any{"aud": "other"} })
	s.openID.told(func(p *openID) { p.answer = map[string]any{"expires_in": 30} })
	s.logIn(t) // to be refreshed at once
	s.logIn(t) // in place of the first
	s.openID.told(func(p *openID) { p.answer = nil })
	if _, err := s.who(t); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Logout(t.Context(), s.cookies["__Host-session"]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Logout(t.Context(), s.cookies["__Host-session"]); err != nil {
		t.Fatal(err)
	}
	s.logIn(t)
	if err := s.LogoutElsewhere(t.Context(), s.openID.sign(s.openID.with(map[string]any{"jti": "1", "sid": "s1", "events": map[string]any{backChannelLogout: map[string]any{}}}))); err != nil {
		t.Fatal(err)
	}
	s.openID.told(func(p *openID) { p.answer = map[string]any{"expires_in": 30} })
	s.logIn(t)
	s.openID.told(func(p *openID) { p.status = 400 })
	if _, err := s.who(t); err == nil {
		t.Error("it goes on")
	}
	want := map[string]string{
		`logins_total{provider="staff",result="begun"}`:                   "11",
		`logins_total{provider="staff",result="completed"}`:               "4",
		`login_failures_total{provider="staff",reason="unknown_attempt"}`: "1",
		`login_failures_total{provider="staff",reason="refused"}`:         "1",
		`login_failures_total{provider="staff",reason="bad_answer"}`:      "2",
		`login_failures_total{provider="staff",reason="code_refused"}`:    "1",
		`login_failures_total{provider="staff",reason="unavailable"}`:     "1",
		`login_failures_total{provider="staff",reason="bad_token"}`:       "1",
		`session_refreshes_total{provider="staff",result="refreshed"}`:    "1",
		`session_refreshes_total{provider="staff",result="refused"}`:      "1",
		`logouts_total{kind="provider",provider="staff"}`:                 "1",
		`logouts_total{kind="back_channel",provider="staff"}`:             "1",
		`sessions_ended_total{provider="staff",reason="login"}`:           "1",
		`sessions_ended_total{provider="staff",reason="logout"}`:          "1",
		`sessions_ended_total{provider="staff",reason="provider"}`:        "1",
		`sessions_ended_total{provider="staff",reason="refresh"}`:         "1",
		`source_failures_total{kind="openid",name="staff"}`:               "1",
	}
	if got := s.counts(); !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if log := s.log.String(); !strings.Contains(log, "503") || strings.Contains(log, "secret") || strings.Contains(log, "ann") {
		t.Errorf("logged %s", log)
	}
}

func TestABrowserKeepsFewLoginsThatHaveBegun(t *testing.T) {
	s := startLogin(t, nil)
	size := func() (n int) {
		for name, value := range s.cookies {
			n += len(name) + len(value) + len("=; ")
		}
		return n
	}
	tab := func(back string) url.Values {
		q := s.begin(t, back)
		s.openID.told(func(p *openID) { p.claims = map[string]any{"nonce": nil} })
		return q
	}
	for _, back := range []string{"/page", "/?" + strings.Repeat("&", maxBack-2)} {
		clear(s.cookies)
		var begun []url.Values
		for i := range 4 * attemptSlots {
			s.after(time.Duration(i) * time.Second)
			begun = append(begun, tab(back))
			if size() > 6<<10 || len(s.cookies) > attemptSlots {
				t.Fatalf("after %d logins %d cookies, %d bytes", i+1, len(s.cookies), size())
			}
		}
		known := 0
		for i, q := range begun {
			if a, ok := s.readAttempt(q.Get("state"), s.cookie); ok {
				if a.back != back {
					t.Errorf("the %dth comes back to %.20s", i, a.back)
				}
				known++
			} else if known > 0 {
				t.Errorf("the %dth is gone, an older one is not", i)
			}
		}
		if known != len(s.cookies) || known < 2 {
			t.Errorf("%d can be finished, there are %d cookies", known, len(s.cookies))
		}
	}
	// Tabs that begin at once know nothing of each other.
	together := map[string]string{}
	for range 100 {
		clear(s.cookies)
		tab("/")
		maps.Copy(together, s.cookies)
	}
	if n := len(together); n < 2 || n > attemptSlots {
		t.Errorf("begun at once: %d", n)
	}
	// What somebody else has put there is no login, and gives way.
	clear(s.cookies)
	for slot := range attemptSlots {
		s.cookies[s.attemptCookie(slot)] = strings.Repeat("x", 4000)
	}
	q := tab("/")
	if _, ok := s.readAttempt(q.Get("state"), s.cookie); !ok {
		t.Error("a login cannot begin")
	}
}
