package auth

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
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
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
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
	userinfo  string         // the answer of that endpoint; "" for 503
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
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "userinfo_endpoint": p.URL + "/me", "jwks_uri": p.URL + "/keys",
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
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if p.userinfo == "" || r.Header.Get("Authorization") != "Bearer access-secret" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, p.userinfo)
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

func TestAKeyThatCannotBeHadIsNoRefusal(t *testing.T) {
	s := startLogin(t, nil)
	s.openID.told(func(p *openID) { p.keysDown = true })
	_, err := s.finish(t, s.begin(t, "/"))
	if why, ok := errors.AsType[*Error](err); !ok || !why.Unavailable {
		t.Errorf("%v", err)
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

func TestClaimsOfUserinfoAreThoseThatTheIDTokenLacks(t *testing.T) {
	for name, c := range map[string]struct {
		userinfo string
		groups   any
		err      string
	}{
		"merged":                  {`{"sub": "ann", "groups": "g", "iss": "https://evil.example", "roles": ["chief"]}`, "g", ""},
		"of another user":         {`{"sub": "eve", "groups": "g"}`, nil, "another user's"},
		"of nobody":               {`{"groups": "g"}`, nil, "another user's"},
		"that is a token":         {`eyJ.eyJ.x`, nil, "nobody can log in now"},
		"that says a thing twice": {`{"sub": "eve", "sub": "ann"}`, nil, "nobody can log in now"},
		"that is huge":            {`{"sub": "ann", "x": "` + strings.Repeat("x", maxIDToken) + `"}`, nil, "nobody can log in now"},
		"that cannot be had":      {"", nil, "nobody can log in now"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLogin(t, func(c *config.Login) { c.Userinfo = true })
			s.openID.told(func(p *openID) { p.userinfo = c.userinfo })
			_, err := s.finish(t, s.begin(t, "/"))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			id, err := s.who(t)
			if err != nil || id.Claims["groups"] != c.groups || id.Claims["iss"] != s.openID.URL || !slices.Equal(id.Roles, []string{"clerk"}) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}
