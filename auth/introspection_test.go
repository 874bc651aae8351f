package auth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

const clientSecret = "the-client's-secret&"

// introspected is a provider's configuration with the defaults of the YAML reader.
func introspected(url string, change func(*config.Introspection)) config.AuthProvider {
	c := &config.Introspection{
		URL: url, ClientID: "edge:1", ClientSecret: clientSecret, Timeout: config.Duration(patience),
		CacheTime: config.Duration(time.Minute), NegativeCacheTime: config.Duration(10 * time.Second), MaxConcurrent: 4,
		ClockSkew: config.Duration(30 * time.Second), UserClaim: "sub", RolesClaim: "roles", ScopesClaim: "scope", MaxSize: 4 << 10,
	}
	if change != nil {
		change(c)
	}
	return config.AuthProvider{Name: "opaque", Introspection: c}
}

// issuing starts an introspection endpoint that says answer of every token, and a policy that asks it.
func issuing(t *testing.T, answer string, change func(*config.Introspection)) (*endpoint, *Policy, *clock) {
	t.Helper()
	e := &endpoint{status: http.StatusOK, body: answer}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	p := policy(t, introspected(server.URL, change))
	c := &clock{now: today}
	p.providers[0].verifier.(*introspector).now = c.time
	return e, p, c
}

func answerWith(t *testing.T, changes map[string]any) string {
	t.Helper()
	claims := claimsWith(changes)
	claims["active"] = true
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestIntrospection(t *testing.T) {
	t.Run("the issuer is asked as RFC 7662 says", func(t *testing.T) {
		var got *http.Request
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			got = r
			fmt.Fprintf(w, `{"active":true,"sub":"ada","scope":"read write","roles":["x"],"exp":%d}`, time.Now().Unix()+600)
		}))
		t.Cleanup(server.Close)
		p := policy(t, introspected(server.URL, nil))
		id, _, err := p.Authenticate(t.Context(), bearer("a token&more"))
		if err != nil {
			t.Fatal(err)
		}
		if id.User != "ada" || id.Provider != "opaque" || len(id.Scopes) != 2 || len(id.Roles) != 1 || id.Expires.IsZero() {
			t.Errorf("got %+v", id)
		}
		user, password, _ := got.BasicAuth()
		if got.Method != "POST" || got.PostForm.Get("token") != "a token&more" || user != url.QueryEscape("edge:1") || password != url.QueryEscape(clientSecret) {
			t.Errorf("asked with %v %v %q", got.Method, got.PostForm, user)
		}
	})
	for _, c := range []struct {
		name, answer string
		status       int
		change       func(*config.Introspection)
		reason       string // "" for let in
		unavailable  bool
	}{
		{"an active token", answerWith(t, nil), 200, nil, "", false},
		{"a token that is not active", `{"active":false}`, 200, nil, "the token is not active", false},
		{"active as a string", `{"active":"true","sub":"ada"}`, 200, nil, "the token is not active", false},
		{"no word of active", `{"sub":"ada"}`, 200, nil, "the token is not active", false},
		{"active twice", `{"active":false,"active":true}`, 200, nil, "the token cannot be checked now", true},
		{"an active token that has expired", answerWith(t, map[string]any{"exp": today.Add(-time.Minute).Unix()}), 200, nil, "the token has expired", false},
		{"an exp that is no number", answerWith(t, map[string]any{"exp": "soon"}), 200, nil, "the token is not active", false},
		{"a token for later", answerWith(t, map[string]any{"nbf": today.Add(time.Minute).Unix()}), 200, nil, "the token is not valid yet", false},
		{"another issuer's token", answerWith(t, nil), 200, func(i *config.Introspection) { i.Issuer = "https://other.example" }, "the token's issuer is not accepted", false},
		{"a token for another audience", answerWith(t, nil), 200, func(i *config.Introspection) { i.Audiences = []string{"bank"} }, "the token is for another audience", false},
		{"a token for one of the audiences", answerWith(t, nil), 200, func(i *config.Introspection) { i.Audiences = []string{"bank", "shop"} }, "", false},
		{"a token without a claim that is needed", answerWith(t, nil), 200, func(i *config.Introspection) { i.RequiredClaims = []config.RequiredClaim{{Claim: "tenant"}} }, "the token has no tenant claim, which is needed", false},
		{"a user that is no string", answerWith(t, map[string]any{"sub": 7}), 200, nil, "the token's sub claim is not a string", false},
		{"an answer that is no JSON", "<html>", 200, nil, "the token cannot be checked now", true},
		{"an answer that is a list", "[true]", 200, nil, "the token cannot be checked now", true},
		{"an answer beyond all measure", `{"active":true,"pad":"` + strings.Repeat("a", maxIntrospection) + `"}`, 200, nil, "the token cannot be checked now", true},
		{"an answer nested beyond all measure", `{"active":true,"x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`, 200, nil, "the token cannot be checked now", true},
		{"client credentials that are refused", `{"active":true}`, 401, nil, "the token cannot be checked now", true},
		{"an endpoint that fails", "", 500, nil, "the token cannot be checked now", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, p, _ := issuing(t, c.answer, c.change)
			e.answer(c.status, c.answer)
			id, _, err := p.Authenticate(t.Context(), bearer("opaque-token"))
			if c.reason == "" {
				if err != nil || id.User != "ada" {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			why := refused(t, id, err)
			if why.Reason != c.reason || why.Unavailable != c.unavailable || strings.Contains(fmt.Sprintf("%+v", why), "opaque-token") {
				t.Errorf("refused with %+v", why)
			}
		})
	}
	t.Run("a redirect is not followed, and takes no token along", func(t *testing.T) {
		var visits atomic.Int32
		lure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
		t.Cleanup(lure.Close)
		server := httptest.NewServer(http.RedirectHandler(lure.URL, http.StatusTemporaryRedirect))
		t.Cleanup(server.Close)
		p := policy(t, introspected(server.URL, nil))
		if why := refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer("opaque-token")))); !why.Unavailable || visits.Load() != 0 {
			t.Errorf("refused with %+v after %d visits", why, visits.Load())
		}
	})
	t.Run("a token that its issuer's keys refuse is not shown to the endpoint", func(t *testing.T) {
		e := &endpoint{status: 200, body: answerWith(t, nil)}
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret)}, introspected(server.URL, nil))
		refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer(flip(sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(nil), nil))))))
		asked(t, e, 0)
		if id, _, err := p.Authenticate(t.Context(), bearer("opaque-token")); err != nil || id.Provider != "opaque" {
			t.Errorf("got %+v, %v", id, err)
		}
	})
}

func TestIntrospectionIsRemembered(t *testing.T) {
	admitted := func(t *testing.T, p *Policy) {
		t.Helper()
		if id, _, err := p.Authenticate(t.Context(), bearer("opaque-token")); err != nil || id.User != "ada" {
			t.Errorf("got %+v, %v", id, err)
		}
	}
	denied := func(t *testing.T, p *Policy, reason string) {
		t.Helper()
		if why := refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer("opaque-token")))); why.Reason != reason {
			t.Errorf("refused with %q, want %q", why.Reason, reason)
		}
	}
	t.Run("an active token for the cache time", func(t *testing.T) {
		e, p, c := issuing(t, answerWith(t, nil), nil)
		admitted(t, p)
		c.add(time.Minute - 1)
		admitted(t, p)
		asked(t, e, 1)
		c.add(1)
		e.answer(200, `{"active":false}`)
		denied(t, p, "the token is not active")
		asked(t, e, 2)
	})
	t.Run("an active token not beyond its exp", func(t *testing.T) {
		e, p, c := issuing(t, answerWith(t, map[string]any{"exp": today.Add(5 * time.Second).Unix()}), func(i *config.Introspection) { i.ClockSkew = 0 })
		admitted(t, p)
		c.add(5 * time.Second)
		denied(t, p, "the token has expired")
		asked(t, e, 2)
	})
	t.Run("a token that is not active for the negative cache time", func(t *testing.T) {
		e, p, c := issuing(t, `{"active":false}`, nil)
		denied(t, p, "the token is not active")
		c.add(10*time.Second - 1)
		denied(t, p, "the token is not active")
		asked(t, e, 1)
		c.add(1)
		e.answer(200, answerWith(t, nil))
		admitted(t, p)
	})
	t.Run("an endpoint's failure not at all", func(t *testing.T) {
		e, p, _ := issuing(t, "", nil)
		e.answer(500, "")
		denied(t, p, "the token cannot be checked now")
		e.answer(200, answerWith(t, nil))
		admitted(t, p)
	})
	t.Run("a known token beyond its cache time while the endpoint is down, where that is configured", func(t *testing.T) {
		e, p, c := issuing(t, answerWith(t, nil), func(i *config.Introspection) { i.StaleTime = config.Duration(time.Minute) })
		admitted(t, p)
		e.answer(500, "")
		c.add(time.Minute)
		admitted(t, p)
		admitted(t, p) // without asking again at once
		asked(t, e, 2)
		c.add(time.Minute)
		denied(t, p, "the token cannot be checked now")
	})
	t.Run("callers with one token wait for one answer, and one that goes away spoils it for nobody", func(t *testing.T) {
		release, questions := make(chan struct{}), make(chan struct{}, 100)
		answer := answerWith(t, nil)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			questions <- struct{}{}
			<-release
			_, _ = w.Write([]byte(answer))
		}))
		t.Cleanup(server.Close)
		p := policy(t, introspected(server.URL, nil))
		gone, leave := newContext(t)
		var callers sync.WaitGroup
		callers.Go(func() {
			if why := refused(t, nil, refusalOf(p.Authenticate(gone, bearer("opaque-token")))); !why.Unavailable {
				t.Errorf("refused with %+v", why)
			}
		})
		<-questions
		leave()
		callers.Wait()
		for range 20 {
			callers.Go(func() { admitted(t, p) })
		}
		close(release)
		callers.Wait()
		if n := len(questions); n != 0 {
			t.Errorf("%d more questions", n)
		}
	})
	t.Run("an unchanged provider is carried over by a reload", func(t *testing.T) {
		e := &endpoint{status: 200, body: answerWith(t, nil)}
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		old := compile(t, introspected(server.URL, nil))
		next, err := Compile([]config.AuthProvider{introspected(server.URL, nil)}, Options{Previous: old})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Close)
		old.Close()
		old.list = nil // closed already
		p, err := next.Policy(&config.RouteAuth{Require: []string{"opaque"}})
		if err != nil {
			t.Fatal(err)
		}
		admitted(t, p)
	})
	t.Run("what is remembered costs no allocation", func(t *testing.T) {
		_, p, _ := issuing(t, answerWith(t, nil), nil)
		admitted(t, p)
		r := bearer("opaque-token")
		if n := testing.AllocsPerRun(100, func() { _, _, _ = p.Authenticate(t.Context(), r) }); n > 1 { // the carrier's
			t.Errorf("%v allocations", n)
		}
	})
}
