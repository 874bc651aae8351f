package auth

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
)

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
	token := s.openID.sign(s.openID.with(map[string]any{"jti": "1", "sid": "s1", "events": map[string]any{backChannelLogout: map[string]any{}}}))
	errs = append(errs, s.LogoutElsewhere(t.Context(), token))
	for i, err := range errs {
		if why, ok := errors.AsType[*Error](err); !ok || !why.Unavailable {
			t.Errorf("%d: %v", i, err)
		}
	}
	// What could not be told then is told again.
	if err := s.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := s.LogoutElsewhere(t.Context(), token); err != nil {
		t.Error(err)
	}
	if n := len(s.told()); n != 1 {
		t.Errorf("%d sessions have ended", n)
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

// TestARefreshThatIsHalfDoneGoesOnWithItsToken has the provider take each refresh token once.
func TestARefreshThatIsHalfDoneGoesOnWithItsToken(t *testing.T) {
	s := startLogin(t, func(c *config.Login) { c.Userinfo = true })
	s.openID.told(func(p *openID) { p.userinfo, p.answer = `{"sub": "ann"}`, map[string]any{"expires_in": 30} })
	s.logIn(t)
	for i, token := range []string{"refresh-secret", "second"} {
		s.openID.told(func(p *openID) { p.userinfo, p.answer = "", map[string]any{"refresh_token": "second"} })
		s.redis.FastForward(time.Minute)
		if _, err := s.who(t); err != nil {
			t.Fatal(err)
		}
		if got := s.openID.form.Get("refresh_token"); got != token {
			t.Errorf("the %dth time %q", i, got)
		}
	}
}
