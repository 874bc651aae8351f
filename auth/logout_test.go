package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

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

func TestALogoutTellsTheProviderNoMoreThanItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		hint   string
		claims map[string]any
		want   func(url.Values) bool
	}{
		"the ID token":             {"id_token", nil, func(q url.Values) bool { return strings.HasPrefix(q.Get("id_token_hint"), "ey") && len(q) == 2 }},
		"the session":              {"claim", nil, func(q url.Values) bool { return q.Get("logout_hint") == "s1" && len(q) == 2 }},
		"the name that it chose":   {"claim", map[string]any{"login_hint": "ann's"}, func(q url.Values) bool { return q.Get("logout_hint") == "ann's" && len(q) == 2 }},
		"nothing if it knows none": {"claim", map[string]any{"sid": nil}, func(q url.Values) bool { return len(q) == 1 }},
		"no ID token too long for a URL": {"id_token", map[string]any{"more": strings.Repeat("x", maxHint)}, func(q url.Values) bool {
			return q.Get("logout_hint") == "s1" && len(q) == 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLogin(t, func(cfg *config.Login) { cfg.LogoutHint = c.hint })
			s.openID.told(func(p *openID) { p.claims = c.claims })
			s.logIn(t)
			step, err := s.Logout(t.Context(), s.cookies["__Host-session"])
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(step.Location)
			if q := u.Query(); err != nil || q.Get("client_id") != "gateway" || !c.want(q) {
				t.Errorf("%s", step.Location)
			}
		})
	}
}

func TestAFrameOfTheProvidersEndsItsSession(t *testing.T) {
	s := startLogin(t, func(c *config.Login) { c.FrontChannelLogout = true })
	if s.Paths().FrontChannel != "/oauth2/frontchannel-logout" {
		t.Errorf("served at %q", s.Paths().FrontChannel)
	}
	s.logIn(t)
	for _, c := range [][2]string{{s.openID.URL, ""}, {"", "s1"}, {"https://evil.example", "s1"}, {"", ""}} {
		if _, ok := errors.AsType[*LoginError](s.LogoutInFrame(t.Context(), c[0], c[1])); !ok {
			t.Errorf("%q is no refusal", c)
		}
	}
	if err := s.LogoutInFrame(t.Context(), s.openID.URL, "s2"); err != nil {
		t.Error(err)
	}
	if _, err := s.who(t); err != nil {
		t.Error(err)
	}
	if err := s.LogoutInFrame(t.Context(), s.openID.URL, "s1"); err != nil {
		t.Error(err)
	}
	if _, err := s.who(t); err == nil || len(s.told()) != 1 {
		t.Errorf("it goes on; %v", s.told())
	}
	s.redis.Close()
	if why, ok := errors.AsType[*Error](s.LogoutInFrame(t.Context(), s.openID.URL, "s1")); !ok || !why.Unavailable {
		t.Error("without Redis nobody can tell")
	}
}
