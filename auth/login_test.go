package auth

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
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

	"github.com/MicahParks/jwkset"
	"github.com/alicebob/miniredis/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// openID is a provider that answers as a test tells it to.
type openID struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu        sync.Mutex
	nonce     string
	claims    map[string]any // of ID tokens, in place of the usual; nil takes one away
	answer    map[string]any // of the token endpoint, in place of the usual
	status    int            // of the token endpoint; 0 for 200
	form      url.Values     // what the token endpoint was last sent
	requests  int            // to the token endpoint
	refusal   string         // of the token endpoint; "" for invalid_grant
	meanwhile func()         // before the token endpoint answers
	kid       string         // of the next tokens
	keysDown  bool
	keysAsked int
	about     map[string]any // what the provider says of itself besides
}

func startOpenID(t *testing.T) *openID {
	t.Helper()
	p := &openID{kid: "1"}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	public, err := jwkset.NewJWKFromKey(p.key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "1", ALG: jwkset.AlgES256, USE: jwkset.UseSig}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	say := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		about := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint": p.URL + "/end", "id_token_signing_alg_values_supported": []string{"ES256"},
		}
		maps.Copy(about, p.about)
		say(w, 200, about)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keysAsked++
		status := 200
		if p.keysDown {
			status = 503
		}
		say(w, status, map[string]any{"keys": []any{public.Marshal()}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = r.ParseForm()
		p.form = r.PostForm
		p.requests++
		if p.meanwhile != nil {
			p.meanwhile()
		}
		answer := map[string]any{
			"access_token": "access-secret", "token_type": "Bearer", "refresh_token": "refresh-secret", "expires_in": 3600,
			"id_token": p.sign(p.with(map[string]any{"nonce": p.nonce, "sid": "s1", "roles": []string{"clerk"}})),
		}
		maps.Copy(answer, p.answer)
		if p.status != 0 {
			answer = map[string]any{"error": cmp.Or(p.refusal, "invalid_grant"), "error_description": "refresh-secret"}
		}
		say(w, max(p.status, 200), answer)
	})
	return p
}

// with returns claims that are good by now, changed by what the test says.
func (p *openID) with(more map[string]any) map[string]any {
	claims := map[string]any{"iss": p.URL, "aud": "gateway", "sub": "ann", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, more)
	maps.Copy(claims, p.claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func (p *openID) sign(claims map[string]any) string { return p.signAs("JWT", p.key, claims) }

func (p *openID) signAs(typ string, key *ecdsa.PrivateKey, claims map[string]any) string {
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims))
	token.Header["kid"], token.Header["typ"] = p.kid, typ
	text, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

// told has the provider answer otherwise from now on.
func (p *openID) told(change func(*openID)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

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

func TestASessionIsGoodWhileItIsOurs(t *testing.T) {
	s := startLogin(t, nil)
	s.logIn(t)
	good := s.cookies["__Host-session"]
	id, _, _ := strings.Cut(good, ".")
	other, err := newKeyring("staff", []config.Secret{"another key of thirty-two bytes!!"})
	if err != nil {
		t.Fatal(err)
	}
	for name, cookie := range map[string]string{
		"without a signature": id, "with an empty one": id + ".", "with another": other.sign(id), "of another id": "x" + good,
		"with more": good + "x", "that is none": "..", "of ours that never was": s.sessions.store.keys.sign("never"),
	} {
		_, _, err := s.policy.Authenticate(t.Context(), request{cookie: map[string]string{"__Host-session": cookie}})
		if why, ok := errors.AsType[*Error](err); !ok || why.Denied || why.Unavailable {
			t.Errorf("a cookie %s: %v", name, err)
		}
	}
	// Who can write to Redis cannot make one session another.
	keys := s.redis.Keys()
	i := slices.IndexFunc(keys, func(k string) bool { return strings.HasPrefix(k, "cg:session:") })
	value, _ := s.redis.Get(keys[i])
	if err := s.redis.Set("cg:session:"+sessionName("mine"), value); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.policy.Authenticate(t.Context(), request{cookie: map[string]string{"__Host-session": s.sessions.store.keys.sign("mine")}}); err == nil {
		t.Error("a copied session is good")
	}
	if _, err := s.who(t); err != nil {
		t.Error(err)
	}
}

func TestKeysOfCookiesRotate(t *testing.T) {
	first, second := config.Secret("0123456789abcdef0123456789abcdef"), config.Secret("fedcba9876543210fedcba9876543210")
	var cfg *config.Login
	s := startLogin(t, func(c *config.Login) { cfg = c })
	s.logIn(t)
	for _, c := range []struct {
		keys []config.Secret
		good bool
	}{{[]config.Secret{second, first}, true}, {[]config.Secret{second}, false}} {
		changed := *cfg
		changed.Keys = c.keys
		s.start(t, &changed)
		if _, err := s.who(t); (err == nil) != c.good {
			t.Errorf("with %d keys: %v", len(c.keys), err)
		}
	}
}

func TestASessionEnds(t *testing.T) {
	t.Run("after its lifetime", func(t *testing.T) {
		s := startLogin(t, nil)
		s.logIn(t)
		if _, err := s.who(t); err != nil {
			t.Fatal(err)
		}
		s.after(12 * time.Hour)
		if _, err := s.who(t); err == nil {
			t.Error("it goes on")
		}
	})
	t.Run("after its idle time", func(t *testing.T) {
		s := startLogin(t, nil)
		s.logIn(t)
		s.redis.FastForward(50 * time.Minute)
		if _, err := s.who(t); err != nil {
			t.Fatal(err)
		}
		s.redis.FastForward(50 * time.Minute)
		if _, err := s.who(t); err != nil {
			t.Errorf("it ended though it was used: %v", err)
		}
		s.redis.FastForward(61 * time.Minute)
		if _, err := s.who(t); err == nil {
			t.Error("it goes on")
		}
	})
	t.Run("with the next login of its browser", func(t *testing.T) {
		s := startLogin(t, nil)
		s.logIn(t)
		old := maps.Clone(s.cookies)
		s.logIn(t)
		if _, _, err := s.policy.Authenticate(t.Context(), request{cookie: old}); err == nil {
			t.Error("it goes on")
		}
		if _, err := s.who(t); err != nil {
			t.Error(err)
		}
	})
	t.Run("by a logout", func(t *testing.T) {
		s := startLogin(t, nil)
		s.logIn(t)
		id, err := s.who(t)
		if err != nil {
			t.Fatal(err)
		}
		cookie := s.cookies["__Host-session"]
		step, err := s.Logout(t.Context(), cookie)
		if name := id.Claims["jti"].(string); !slices.Equal(s.told(), []string{name}) {
			t.Errorf("nodes were told of %q, want %q", s.told(), name)
		}
		if err != nil || !strings.HasPrefix(step.Location, s.openID.URL+"/end?client_id=gateway&id_token_hint=ey") || step.Cookies[0].MaxAge >= 0 {
			t.Errorf("%+v, %v", step, err)
		}
		if _, err := s.who(t); err == nil {
			t.Error("it goes on")
		}
		if step, err := s.Logout(t.Context(), cookie); err != nil || len(s.told()) != 1 || step.Location != "/" {
			t.Errorf("once more: %+v, %v", step, err)
		}
	})
}

func TestASessionIsRefreshed(t *testing.T) {
	soon := func(p *openID) { p.answer = map[string]any{"expires_in": 30} } // less than refresh_before
	for name, c := range map[string]struct {
		then  func(*openID)
		good  bool
		roles []string
	}{
		"with new claims":                 {func(p *openID) { p.claims = map[string]any{"roles": []string{"chief"}, "nonce": nil}; p.answer = nil }, true, []string{"chief"}},
		"without an ID token":             {func(p *openID) { p.answer = map[string]any{"id_token": nil} }, true, []string{"clerk"}},
		"unless it is refused":            {func(p *openID) { p.status = 400 }, false, nil},
		"not for another user":            {func(p *openID) { p.claims = map[string]any{"sub": "eve"} }, false, nil},
		"not by a token for another":      {func(p *openID) { p.claims = map[string]any{"aud": "other"} }, false, nil},
		"later, if there is no answer":    {func(p *openID) { p.status = 503 }, true, []string{"clerk"}},
		"later, if it asks too often":     {func(p *openID) { p.status = 429 }, true, []string{"clerk"}},
		"later, if its client is refused": {func(p *openID) { p.status, p.refusal = 401, "invalid_client" }, true, []string{"clerk"}},
		"later, if a key cannot be had":   {func(p *openID) { p.kid, p.keysDown = "2", true }, true, []string{"clerk"}},
		"later, if nobody listens":        {func(p *openID) { p.CloseClientConnections(); p.Listener.Close() }, true, []string{"clerk"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLogin(t, nil)
			s.openID.told(soon)
			s.logIn(t)
			s.openID.told(c.then)
			id, err := s.who(t)
			if (err == nil) != c.good {
				t.Fatalf("%v", err)
			}
			if c.good && !slices.Equal(id.Roles, c.roles) {
				t.Errorf("roles %q", id.Roles)
			}
			if ended := len(s.told()) == 1; ended == c.good {
				t.Errorf("nodes were told that it ended: %v", ended)
			}
			if _, again := s.who(t); (again == nil) != c.good {
				t.Errorf("afterwards: %v", again)
			}
			if s.openID.requests > 2 {
				t.Errorf("the provider was asked %d times", s.openID.requests)
			}
		})
	}
}

func TestALogoutElsewhereEndsTheSession(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"jti": rand.Text(), "sid": "s1", "events": map[string]any{backChannelLogout: map[string]any{}}}
	}
	for name, c := range map[string]struct {
		change func(map[string]any)
		typ    string
		forged bool
		good   bool
	}{
		"by session":                  {good: true},
		"by user":                     {change: func(c map[string]any) { c["sid"] = nil }, good: true},
		"with a type":                 {typ: "logout+jwt", good: true},
		"of another session":          {change: func(c map[string]any) { c["sid"] = "s2" }},
		"of another user":             {change: func(c map[string]any) { c["sid"], c["sub"] = nil, "eve" }},
		"with an ID token":            {change: func(c map[string]any) { delete(c, "events") }},
		"with another event":          {change: func(c map[string]any) { c["events"] = map[string]any{"http://other": map[string]any{}} }},
		"with an event of nothing":    {change: func(c map[string]any) { c["events"] = map[string]any{backChannelLogout: nil} }},
		"with a nonce of nothing":     {change: func(c map[string]any) { c["nonce"] = json.RawMessage("null") }},
		"that is huge":                {change: func(c map[string]any) { c["more"] = strings.Repeat("x", maxIDToken) }},
		"with an event that is none":  {change: func(c map[string]any) { c["events"] = map[string]any{backChannelLogout: "x"} }},
		"with a nonce":                {change: func(c map[string]any) { c["nonce"] = "x" }},
		"for another client":          {change: func(c map[string]any) { c["aud"] = "other" }},
		"of another provider":         {change: func(c map[string]any) { c["iss"] = "https://evil.example" }},
		"without who":                 {change: func(c map[string]any) { c["sid"], c["sub"] = nil, nil }},
		"without an id":               {change: func(c map[string]any) { delete(c, "jti") }},
		"without a time":              {change: func(c map[string]any) { c["iat"] = nil }},
		"of yesterday":                {change: func(c map[string]any) { c["iat"] = time.Now().Add(-24 * time.Hour).Unix() }},
		"that is over":                {change: func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }},
		"with a token of another use": {typ: "at+jwt"},
		"that is forged":              {forged: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLogin(t, nil)
			s.logIn(t)
			id, err := s.who(t)
			if err != nil {
				t.Fatal(err)
			}
			claims := good()
			if c.change != nil {
				c.change(claims)
			}
			key := s.openID.key
			if c.forged {
				key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			}
			typ := c.typ
			if typ == "" {
				typ = "JWT"
			}
			token := s.openID.signAs(typ, key, s.openID.with(claims))
			err = s.LogoutElsewhere(t.Context(), token)
			names := s.told()
			if c.good && (err != nil || !slices.Equal(names, []string{id.Claims["jti"].(string)})) || !c.good && len(names) > 0 {
				t.Errorf("%v, %v", names, err)
			}
			if _, still := s.who(t); (still == nil) == c.good {
				t.Errorf("the session: %v", still)
			}
			if c.good {
				if err := s.LogoutElsewhere(t.Context(), token); err == nil {
					t.Error("the token is good twice")
				}
			}
		})
	}
}

func TestWithoutRedisNobodyCanTell(t *testing.T) {
	s := startLogin(t, nil)
	s.logIn(t)
	q := s.begin(t, "/")
	s.redis.Close()
	var errs []error
	_, err := s.who(t)
	errs = append(errs, err)
	_, err = s.finish(t, q)
	errs = append(errs, err)
	_, err = s.Logout(t.Context(), s.cookies["__Host-session"])
	errs = append(errs, err)
	for i, err := range errs {
		if why, ok := errors.AsType[*Error](err); !ok || !why.Unavailable {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestAProviderThatIsDownIsAskedAgain(t *testing.T) {
	s := startLogin(t, nil)
	known := *s.config
	away := known
	away.Issuer = "http://127.0.0.1:1"
	s.start(t, &away)
	if _, err := s.Begin(context.Background(), "/", s.cookie); err == nil {
		t.Fatal("nobody answers")
	}
	s.sessions.issuer.config = &known
	s.sessions.issuer.failed = time.Time{}
	if _, err := s.Begin(context.Background(), "/", s.cookie); err != nil {
		t.Error(err)
	}
}

func TestASessionIsOneProviders(t *testing.T) {
	s := startLogin(t, nil)
	s.logIn(t)
	cfg := *s.config
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	providers, err := Compile([]config.AuthProvider{{Name: "staff", Login: &cfg}, {Name: "customers", Login: &cfg}}, Options{Redis: client, Prefix: "cg:"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	for name, good := range map[string]bool{"staff": true, "customers": false} {
		p, err := providers.Policy(&config.RouteAuth{Require: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Authenticate(t.Context(), request{cookie: s.cookies}); (err == nil) != good {
			t.Errorf("a session of staff is good for %s: %v", name, err == nil)
		}
	}
}

func TestAnEndedSessionIsAsGoodAsNoneWhereCallersNeedNone(t *testing.T) {
	s := startLogin(t, nil)
	s.logIn(t)
	s.policy.optional = true
	if id, err := s.who(t); err != nil || id.User != "ann" {
		t.Fatalf("%v, %v", id, err)
	}
	s.after(13 * time.Hour)
	if id, err := s.who(t); err != nil || id != Anonymous {
		t.Errorf("after the session: %v, %v", id, err)
	}
	s.redis.Close()
	s.cookies["__Host-session"] = s.sessions.store.keys.sign("another")
	if _, err := s.who(t); err == nil {
		t.Error("without Redis it is not known whether it has ended")
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

func TestRedisKeepsNoNamesOfSessionsThatHaveEnded(t *testing.T) {
	s := startLogin(t, nil)
	names := func() int {
		n := 0
		for _, key := range s.redis.Keys() {
			if strings.HasPrefix(key, "cg:sessions-of:") {
				members, err := s.redis.ZMembers(key)
				if err != nil {
					t.Fatal(err)
				}
				n = max(n, len(members))
			}
		}
		return n
	}
	for range 3 {
		s.logIn(t) // each ends the one before
	}
	if n := names(); n != 1 {
		t.Errorf("after logins of one browser %d", n)
	}
	clear(s.cookies) // another browser
	s.after(11 * time.Hour)
	s.logIn(t)
	if n := names(); n != 2 {
		t.Errorf("of two browsers %d", n)
	}
	clear(s.cookies)
	s.after(13 * time.Hour)
	s.logIn(t)
	if n := names(); n != 2 {
		t.Errorf("after the end of the first %d", n)
	}
	if _, err := s.Logout(t.Context(), s.cookies["__Host-session"]); err != nil {
		t.Fatal(err)
	}
	if n := names(); n != 1 {
		t.Errorf("after a logout %d", n)
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

// TestOfTwoNodesThatRefreshOneSessionNeitherEndsIt has the provider take each refresh token once, and one node take longer than its
// turn.
func TestOfTwoNodesThatRefreshOneSessionNeitherEndsIt(t *testing.T) {
	start := func(t *testing.T) (s *loginTest, name string, old *storedSession) {
		s = startLogin(t, nil)
		s.openID.told(func(p *openID) { p.answer = map[string]any{"expires_in": 30} })
		s.logIn(t)
		name = sessionName(strings.Split(s.cookies["__Host-session"], ".")[0])
		old, err := s.sessions.store.get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		s.openID.told(func(p *openID) { p.answer = map[string]any{"refresh_token": "second"} })
		return s, name, old
	}
	otherNode := func(t *testing.T, s *loginTest, name string, old *storedSession) {
		one := *old
		one.Refresh, one.Due = "second", time.Now().Add(time.Hour).Unix()
		if _, err := s.sessions.store.replace(t.Context(), name, &one); err != nil {
			t.Error(err)
		}
	}
	t.Run("between the reading of the session and its turn", func(t *testing.T) {
		s, name, old := start(t)
		otherNode(t, s, name, old)
		if one, err := s.sessions.refresh(t.Context(), name, old); err != nil || one.Refresh != "second" || s.openID.requests != 1 {
			t.Errorf("%+v, %v, the provider was asked %d times", one, err, s.openID.requests)
		}
	})
	t.Run("while the provider is asked", func(t *testing.T) {
		s, name, old := start(t)
		s.openID.told(func(p *openID) { p.status, p.meanwhile = 400, func() { otherNode(t, s, name, old) } })
		if one, err := s.sessions.refresh(t.Context(), name, old); err != nil || one.Refresh != "second" || len(s.told()) != 0 {
			t.Errorf("%+v, %v", one, err)
		}
		if _, err := s.who(t); err != nil {
			t.Error(err)
		}
	})
	t.Run("and a logout meanwhile counts", func(t *testing.T) {
		s, _, _ := start(t)
		cookie := s.cookies["__Host-session"]
		s.openID.told(func(p *openID) {
			p.meanwhile = func() {
				if _, err := s.Logout(t.Context(), cookie); err != nil {
					t.Error(err)
				}
			}
		})
		if _, err := s.who(t); err == nil {
			t.Error("it goes on")
		}
	})
	t.Run("and no caller that leaves ends the question", func(t *testing.T) {
		s, name, old := start(t)
		ctx, leave := context.WithCancel(t.Context())
		s.openID.told(func(p *openID) { p.meanwhile = leave })
		if _, err := s.sessions.refresh(ctx, name, old); err != nil {
			t.Fatal(err)
		}
		if one, err := s.sessions.store.get(t.Context(), name); err != nil || one.Refresh != "second" {
			t.Errorf("%+v, %v", one, err)
		}
	})
}

func TestAKeyThatCannotBeHadIsNoRefusal(t *testing.T) {
	s := startLogin(t, nil)
	s.openID.told(func(p *openID) { p.keysDown = true })
	_, err := s.finish(t, s.begin(t, "/"))
	if why, ok := errors.AsType[*Error](err); !ok || !why.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestStrangersCannotHaveTheProviderAskedForKeys sends logout tokens with keys that do not exist.
func TestStrangersCannotHaveTheProviderAskedForKeys(t *testing.T) {
	s := startLogin(t, nil)
	s.logIn(t)
	s.openID.told(func(p *openID) { p.keysAsked = 0 })
	for range 20 {
		s.openID.told(func(p *openID) { p.kid = rand.Text() })
		token := s.openID.sign(s.openID.with(map[string]any{"jti": rand.Text(), "sid": "s1", "events": map[string]any{backChannelLogout: map[string]any{}}}))
		if _, ok := errors.AsType[*LoginError](s.LogoutElsewhere(t.Context(), token)); !ok {
			t.Error("it is no refusal")
		}
	}
	if n := s.openID.keysAsked; n > 1 {
		t.Errorf("it was asked %d times", n)
	}
	if _, err := s.who(t); err != nil {
		t.Error(err)
	}
}

func TestASessionIsOneIssuers(t *testing.T) {
	s := startLogin(t, nil)
	s.openID.told(func(p *openID) { p.answer = map[string]any{"expires_in": 30} })
	s.logIn(t)
	next := startOpenID(t)
	cfg := *s.config
	cfg.Issuer = next.URL
	s.start(t, &cfg)
	if _, err := s.who(t); err == nil {
		t.Error("a session of the issuer before is good")
	}
	if next.form != nil {
		t.Errorf("the next issuer was sent %v", next.form)
	}
}

func TestAnswersNameAProviderThatSaysSo(t *testing.T) {
	s := startLogin(t, nil)
	s.openID.told(func(p *openID) { p.about = map[string]any{"authorization_response_iss_parameter_supported": true} })
	q := s.begin(t, "/")
	if _, err := s.finish(t, q); err == nil {
		t.Error("an answer without iss is good")
	}
	q.Set("iss", s.openID.URL)
	if _, err := s.finish(t, q); err != nil {
		t.Error(err)
	}
}

func TestAProviderWithTLSHasNoEndpointsWithout(t *testing.T) {
	i := &openIDProvider{config: &config.Login{Issuer: "https://id.example.com"}}
	for _, c := range []struct {
		endpoints []string
		good      bool
	}{
		{[]string{"https://id.example.com/a", "https://id.example.com/t", "https://id.example.com/k", ""}, true},
		{[]string{"https://id.example.com/a", "http://id.example.com/t", "https://id.example.com/k", ""}, false},
		{[]string{"https://id.example.com/a", "https://id.example.com/t", "", ""}, false},
		{[]string{"https://id.example.com/a", "https://id.example.com/t", "https://id.example.com/k", "javascript:alert(1)"}, false},
	} {
		if err := i.usable(c.endpoints...); (err == nil) != c.good {
			t.Errorf("%q: %v", c.endpoints, err)
		}
	}
}
