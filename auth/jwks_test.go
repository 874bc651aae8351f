package auth

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

// keySetOf writes a JSON Web Key Set with these public keys.
func keySetOf(t testing.TB, named map[string]crypto.PublicKey) string {
	t.Helper()
	set := struct {
		Keys []jwkset.JWKMarshal `json:"keys"`
	}{Keys: []jwkset.JWKMarshal{}}
	for kid, public := range named {
		jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// endpoint serves a key set that the test changes, and counts how often it was asked.
type endpoint struct {
	mu     sync.Mutex
	status int
	body   string
	asked  int
	url    string
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	w.WriteHeader(e.status)
	_, _ = w.Write([]byte(e.body))
}

func (e *endpoint) answer(status int, body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.body = status, body
}

func (e *endpoint) requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// remote starts an endpoint and a verifier that uses it.
func remote(t *testing.T, status int, body string) (*endpoint, *jwtVerifier, *clock) {
	t.Helper()
	e := &endpoint{status: status, body: body}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	v, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL }), nil, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	c := &clock{now: today}
	v.now, v.keys.(*remoteKeys).now = c.time, c.time
	return e, v, c
}

// idle waits until no request for the key set is being made.
func idle(t *testing.T, v *jwtVerifier) {
	t.Helper()
	r := v.keys.(*remoteKeys)
	r.mu.Lock()
	done := r.inFlight
	r.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the request for the key set does not end")
	}
}

func expect(t *testing.T, v *jwtVerifier, token, reason string) {
	t.Helper()
	id, err := v.check(t.Context(), token)
	switch {
	case reason == "" && err != nil:
		t.Errorf("refused with %q", err)
	case reason != "" && (err == nil || err.Error() != reason):
		t.Errorf("got %+v, %v; want %q", id, err, reason)
	}
}

func asked(t *testing.T, e *endpoint, want int) {
	t.Helper()
	if got := e.requests(); got != want {
		t.Errorf("the endpoint was asked %d times, want %d", got, want)
	}
}

const (
	unknownKey  = "the token's key is not known"
	unavailable = "the keys to verify the token with cannot be fetched now"
)

func tokenOf(t testing.TB, kid string, change map[string]any) string {
	t.Helper()
	method, key := jwt.SigningMethod(jwt.SigningMethodES256), any(p256())
	if strings.HasPrefix(kid, "new") {
		key = otherP256()
	}
	return sign(t, method, key, claimsWith(change), map[string]any{"kid": kid})
}

func TestRemoteKeys(t *testing.T) {
	oldSet := keySetOf(t, map[string]crypto.PublicKey{"old": p256().Public()})
	bothSet := keySetOf(t, map[string]crypto.PublicKey{"old": p256().Public(), "new": otherP256().Public()})
	newSet := keySetOf(t, map[string]crypto.PublicKey{"new": otherP256().Public()})

	t.Run("the set is fetched once, when it is first needed", func(t *testing.T) {
		e, v, _ := remote(t, 200, oldSet)
		asked(t, e, 0)
		for i := range 5 {
			expect(t, v, tokenOf(t, "old", map[string]any{"n": i}), "")
		}
		asked(t, e, 1)
	})
	t.Run("a token with a key that is not in the set has it fetched again", func(t *testing.T) {
		e, v, c := remote(t, 200, oldSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		e.answer(200, bothSet)
		c.add(10 * time.Second)
		expect(t, v, tokenOf(t, "new", nil), "")
		expect(t, v, tokenOf(t, "old", nil), "")
		asked(t, e, 2)
	})
	t.Run("a key that is withdrawn ends the tokens that were remembered", func(t *testing.T) {
		e, v, c := remote(t, 200, bothSet)
		token := tokenOf(t, "old", nil)
		expect(t, v, token, "")
		e.answer(200, newSet)
		c.add(10 * time.Minute)
		c.add(time.Second)
		// A token that is not remembered notices the age of the set.
		expect(t, v, tokenOf(t, "new", nil), "")
		idle(t, v)
		expect(t, v, token, unknownKey)
	})
	t.Run("a key without a name that takes the place of another is found", func(t *testing.T) {
		for _, named := range []string{"", "new"} { // what the token says
			e, v, c := remote(t, 200, keySetOf(t, map[string]crypto.PublicKey{"": p256().Public()}))
			expect(t, v, tokenOf(t, "", nil), "")
			e.answer(200, keySetOf(t, map[string]crypto.PublicKey{"": otherP256().Public()}))
			token := sign(t, jwt.SigningMethodES256, otherP256(), claimsWith(nil), map[string]any{"kid": named})
			expect(t, v, token, "the token's signature is wrong") // within the floor
			asked(t, e, 1)
			c.add(10 * time.Second)
			expect(t, v, token, "")
			expect(t, v, tokenOf(t, "", map[string]any{"n": 1}), "the token's signature is wrong")
			asked(t, e, 2)
		}
	})
	t.Run("a wrong signature of a key that is named costs the endpoint nothing", func(t *testing.T) {
		e, v, c := remote(t, 200, oldSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		c.add(10 * time.Second)
		expect(t, v, sign(t, jwt.SigningMethodES256, otherP256(), claimsWith(nil), map[string]any{"kid": "old"}), "the token's signature is wrong")
		asked(t, e, 1)
	})
	t.Run("a key that was withdrawn during a silence is not good for one more token", func(t *testing.T) {
		e, v, c := remote(t, 200, bothSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		e.answer(200, newSet)
		c.add(20*time.Minute + time.Second)
		expect(t, v, tokenOf(t, "old", map[string]any{"n": 1}), unknownKey)
	})
	t.Run("a set that is fetched again as it was leaves what was remembered", func(t *testing.T) {
		_, v, c := remote(t, 200, oldSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		before := v.keys.generation()
		c.add(10 * time.Second)
		expect(t, v, tokenOf(t, "new", nil), unknownKey)
		if now := v.keys.generation(); now != before {
			t.Errorf("generation %d, was %d", now, before)
		}
	})
	t.Run("between two requests lies the floor, whatever tokens say", func(t *testing.T) {
		e, v, c := remote(t, 200, oldSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		for i := range 20 {
			expect(t, v, tokenOf(t, "new", map[string]any{"n": i}), unknownKey)
		}
		asked(t, e, 1)
		c.add(10*time.Second - 1)
		expect(t, v, tokenOf(t, "new", nil), unknownKey)
		asked(t, e, 1)
		c.add(1)
		for i := range 20 {
			expect(t, v, tokenOf(t, "new", map[string]any{"n": i}), unknownKey)
		}
		asked(t, e, 2)
	})
	t.Run("many callers share one request", func(t *testing.T) {
		e, v, _ := remote(t, 200, oldSet)
		var all sync.WaitGroup
		for i := range 32 {
			token := tokenOf(t, "old", map[string]any{"n": i})
			all.Go(func() { expect(t, v, token, "") })
		}
		all.Wait()
		asked(t, e, 1)
	})
	t.Run("a set older than its cache time is used while it is fetched again", func(t *testing.T) {
		e, v, c := remote(t, 200, oldSet)
		expect(t, v, tokenOf(t, "old", nil), "")
		c.add(10*time.Minute + time.Second)
		expect(t, v, tokenOf(t, "old", map[string]any{"n": 1}), "")
		idle(t, v)
		asked(t, e, 2)
	})
	for _, c := range []struct {
		name   string
		status int
		body   string
	}{
		{"an endpoint that answers 500", 500, "no"},
		{"an endpoint that answers 404 with a key set", 404, newSet},
		{"invalid JSON", 200, `{"keys":[`},
		{"JSON that is no key set", 200, `{"hello":"world"}`},
		{"an empty set", 200, `{"keys":[]}`},
		{"a set without a key that can be used", 200, `{"keys":[{"kty":"new"},{"kty":"EC","use":"enc"},7]}`},
		{"an answer of more than 1 MiB", 200, strings.Replace(newSet, `{"keys"`, `{"pad":"`+strings.Repeat("a", 1<<20)+`","keys"`, 1)},
		{"an empty answer", 200, ""},
	} {
		t.Run(c.name+" leaves the keys as they are", func(t *testing.T) {
			e, v, clock := remote(t, 200, oldSet)
			expect(t, v, tokenOf(t, "old", nil), "")
			e.answer(c.status, c.body)
			clock.add(10*time.Minute + time.Second)
			expect(t, v, tokenOf(t, "new", nil), unknownKey)
			idle(t, v)
			expect(t, v, tokenOf(t, "old", map[string]any{"n": 1}), "")
			asked(t, e, 2)
		})
		t.Run(c.name+" at the start is no answer, and the next one counts", func(t *testing.T) {
			e, v, clock := remote(t, c.status, c.body)
			expect(t, v, tokenOf(t, "old", nil), unavailable)
			e.answer(200, oldSet)
			expect(t, v, tokenOf(t, "old", nil), unavailable)
			asked(t, e, 1)
			clock.add(10 * time.Second)
			expect(t, v, tokenOf(t, "old", nil), "")
			asked(t, e, 2)
		})
	}
	t.Run("an endpoint that refuses connections is no error at the start", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL })})
		if why := refused(t, nil, second(p.AuthenticateToken(t.Context(), tokenOf(t, "old", nil)))); why.Reason != unavailable {
			t.Errorf("refused with %q", why.Reason)
		}
	})
	t.Run("an endpoint that does not end its answer is given up", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		defer server.Close()
		v, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL }), nil, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		client := v.keys.(*remoteKeys).client
		if client.Timeout != fetchTimeout {
			t.Errorf("its time is %v, want %v", client.Timeout, fetchTimeout)
		}
		client.Timeout = 50 * time.Millisecond
		expect(t, v, tokenOf(t, "old", nil), unavailable)
	})
	t.Run("closing gives up a request that is being made", func(t *testing.T) {
		reached := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(reached)
			<-r.Context().Done()
		}))
		defer server.Close()
		v, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL }), nil, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.check(ctx, tokenOf(t, "old", nil)); err == nil {
			t.Error("the token is let in")
		}
		<-reached
		start := time.Now()
		v.close()
		if took := time.Since(start); took > fetchTimeout/2 {
			t.Errorf("it took %v", took)
		}
		if _, err := v.check(t.Context(), tokenOf(t, "old", nil)); err == nil {
			t.Error("the token is let in")
		}
	})
	for _, c := range []struct {
		name      string
		start     func(http.Handler) *httptest.Server
		redirects int
		reason    string
	}{
		{"a redirect from https to http is not followed", httptest.NewTLSServer, 1, unavailable},
		{"a redirect from http is followed", httptest.NewServer, 1, ""},
		{"redirects are followed for a while", httptest.NewServer, maxRedirects, ""},
		{"redirects are not followed without end", httptest.NewServer, maxRedirects + 1, unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _, _ := remote(t, 200, oldSet)
			server := c.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				to := "/" + strings.Repeat("x", len(r.URL.Path))
				if len(r.URL.Path) == c.redirects {
					to = e.url
				}
				http.Redirect(w, r, to, http.StatusFound)
			}))
			defer server.Close()
			v, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL + "/" }), nil, &Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer v.close()
			if of, ok := server.Client().Transport.(*http.Transport); ok {
				v.keys.(*remoteKeys).client.Transport.(*http.Transport).TLSClientConfig = of.TLSClientConfig
			}
			expect(t, v, tokenOf(t, "old", nil), c.reason)
			if c.reason != "" {
				asked(t, e, 0)
			}
		})
	}
	t.Run("a token without a kid may be signed with each key of its algorithm", func(t *testing.T) {
		_, v, _ := remote(t, 200, bothSet)
		for _, key := range []any{p256(), otherP256()} {
			expect(t, v, sign(t, jwt.SigningMethodES256, key, claimsWith(nil), nil), "")
		}
		expect(t, v, sign(t, jwt.SigningMethodES384, p384(), claimsWith(nil), nil), "the token's algorithm is not accepted for its key")
	})
	t.Run("a token without a kid is checked against a few keys only", func(t *testing.T) {
		many := make(keys, 100)
		for i := range many {
			many[i] = key{"", p256().Public(), []string{"ES256"}}
		}
		if found, err := many.find(t.Context(), "", "ES256"); err != nil || len(found.Keys) != maxTried {
			t.Errorf("%d keys, %v", len(found.Keys), err)
		}
	})
	t.Run("a caller does not wait longer than it wants to", func(t *testing.T) {
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer server.Close()
		defer close(release)
		p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL = server.URL })})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		refused(t, nil, second(p.AuthenticateToken(ctx, tokenOf(t, "old", nil))))
	})
	t.Run("HMAC with a public key of the set is refused", func(t *testing.T) {
		_, v, _ := remote(t, 200, oldSet)
		expect(t, v, sign(t, jwt.SigningMethodHS256, []byte(oldSet), claimsWith(nil), map[string]any{"kid": "old"}), "the token's algorithm is not accepted for its key")
	})
	t.Run("the wrong key of the set is not tried", func(t *testing.T) {
		_, v, _ := remote(t, 200, bothSet)
		expect(t, v, sign(t, jwt.SigningMethodES256, otherP256(), claimsWith(nil), map[string]any{"kid": "old"}), "the token's signature is wrong")
	})
}

func TestDiscovery(t *testing.T) {
	set := keySetOf(t, map[string]crypto.PublicKey{"a": p256().Public()})
	for _, c := range []struct{ name, config, reason string }{
		{"the keys are where the issuer says", `{"issuer":"ISSUER","jwks_uri":"ISSUER/keys"}`, ""},
		{"a configuration of another issuer is refused", `{"issuer":"https://evil.example","jwks_uri":"ISSUER/keys"}`, unavailable},
		{"a configuration without keys is refused", `{"issuer":"ISSUER"}`, unavailable},
		{"keys in a file are refused", `{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}`, unavailable},
		{"a configuration that is no JSON is refused", `<html>`, unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			var self string
			mux := http.NewServeMux()
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(strings.ReplaceAll(c.config, "ISSUER", self)))
			})
			mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			self = server.URL
			p := jwtPolicy(t, func(j *config.JWT) { j.Issuer, j.Discovery = self, true })
			token := sign(t, jwt.SigningMethodES256, p256(), claimsWith(map[string]any{"iss": self}), map[string]any{"kid": "a"})
			id, _, err := p.Authenticate(t.Context(), bearer(token))
			if c.reason == "" {
				if err != nil || id.User != "ada" {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			if why := refused(t, id, err); why.Reason != c.reason || !why.Unavailable || why.Challenge != "" {
				t.Errorf("refused with %+v", why)
			}
		})
	}
}

func TestReloadKeepsFetchedKeys(t *testing.T) {
	e, _, _ := remote(t, 200, keySetOf(t, map[string]crypto.PublicKey{"old": p256().Public()}))
	cfg := []config.AuthProvider{{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL = e.url })}}
	before, err := Compile(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, before.list[0].verifier.(*jwtVerifier), tokenOf(t, "old", nil), "")
	asked(t, e, 1)

	t.Run("an unchanged provider goes on with its keys after the old one is closed", func(t *testing.T) {
		after, err := Compile(cfg, Options{Previous: before})
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		before.Close()
		e.answer(500, "")
		expect(t, after.list[0].verifier.(*jwtVerifier), tokenOf(t, "old", nil), "")
		asked(t, e, 1)

		t.Run("so does one that asks something else of tokens", func(t *testing.T) {
			stricter := []config.AuthProvider{{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL, j.Audiences = e.url, []string{"bank"} })}}
			other, err := Compile(stricter, Options{Previous: after})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			v := other.list[0].verifier.(*jwtVerifier)
			expect(t, v, tokenOf(t, "old", nil), "the token is for another audience")
			expect(t, v, tokenOf(t, "old", map[string]any{"aud": "bank"}), "")
			asked(t, e, 1)
		})
		t.Run("a changed one fetches its own", func(t *testing.T) {
			changed := []config.AuthProvider{{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.JWKSURL, j.Algorithms = e.url, []string{"ES256"} })}}
			other, err := Compile(changed, Options{Previous: after})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			expect(t, other.list[0].verifier.(*jwtVerifier), tokenOf(t, "old", nil), unavailable)
			asked(t, e, 2)
		})
	})
}

func TestKeySetFile(t *testing.T) {
	set := keySetOf(t, map[string]crypto.PublicKey{"ec": p256().Public(), "rsa": rsaKey().Public(), "ed": edKey().Public()})
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	p := jwtPolicy(t, func(j *config.JWT) { j.JWKSFile = config.Path(file) })
	for _, c := range []struct {
		name   string
		token  string
		reason string
	}{
		{"the key is found by its kid", sign(t, jwt.SigningMethodES256, p256(), claimsWith(nil), map[string]any{"kid": "ec"}), ""},
		{"another key is found by its kid", sign(t, jwt.SigningMethodPS256, rsaKey(), claimsWith(nil), map[string]any{"kid": "rsa"}), ""},
		{"without a kid the algorithm tells", sign(t, jwt.SigningMethodEdDSA, edKey(), claimsWith(nil), nil), ""},
		{"a kid that is not in the set is refused", sign(t, jwt.SigningMethodES256, p256(), claimsWith(nil), map[string]any{"kid": "gone"}), unknownKey},
		{"a kid of a key for another algorithm is refused", sign(t, jwt.SigningMethodES256, p256(), claimsWith(nil), map[string]any{"kid": "rsa"}), "the token's algorithm is not accepted for its key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := p.AuthenticateToken(t.Context(), c.token)
			if c.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if why := refused(t, id, err); why.Reason != c.reason {
				t.Errorf("refused with %q, want %q", why.Reason, c.reason)
			}
		})
	}
}

func TestParseJWKS(t *testing.T) {
	one := func(fields string) string { return `{"keys":[` + fields + `]}` }
	rsaJWK := strings.TrimSuffix(strings.TrimPrefix(keySetOf(t, map[string]crypto.PublicKey{"k": rsaKey().Public()}), `{"keys":[`), `]}`)
	with := func(extra string) string { return strings.TrimSuffix(rsaJWK, "}") + extra + "}" }
	for _, c := range []struct {
		name, set  string
		wanted     []string
		algorithms []string
	}{
		{"a key is for all algorithms of its kind", one(rsaJWK), nil, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
		{"a key with alg is for that one", one(with(`,"alg":"PS384"`)), nil, []string{"PS384"}},
		{"the configuration restricts further", one(rsaJWK), []string{"RS256", "ES256"}, []string{"RS256"}},
		{"a key whose alg is not accepted is passed over", one(with(`,"alg":"PS384"`)), []string{"RS256"}, nil},
		{"a key whose alg is another kind's is passed over", one(with(`,"alg":"HS256"`)), nil, nil},
		{"a key for encryption is passed over", one(with(`,"use":"enc"`)), nil, nil},
		{"keys of unknown kinds do not spoil the others", one(`{"kty":"OKP","crv":"X448"},{"kty":"PQ"},"x",null,` + rsaJWK), []string{"RS256"}, []string{"RS256"}},
		{"a secret in a set that is public is passed over", one(`{"kty":"oct","alg":"HS256","k":"` + segment([]byte(secret)) + `"}`), nil, nil},
		{"a point that is not on the curve is passed over", one(`{"kty":"EC","crv":"P-256","x":"` + segment(make([]byte, 32)) + `","y":"` + segment(make([]byte, 32)) + `"}`), nil, nil},
		{"a point beyond the field is passed over", one(`{"kty":"EC","crv":"P-256","x":"` + segment([]byte(secret)) + `","y":"` + segment([]byte(secret)) + `"}`), nil, nil},
		{"an Ed25519 key of 31 bytes is passed over", one(`{"kty":"OKP","crv":"Ed25519","x":"` + segment(make([]byte, 31)) + `"}`), nil, nil},
		{"a list is no set", "[" + rsaJWK + "]", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := parseJWKS([]byte(c.set), c.wanted)
			if c.algorithms == nil {
				if err == nil {
					t.Errorf("got %v", set)
				}
				return
			}
			if err != nil || len(set) != 1 || strings.Join(set[0].algorithms, " ") != strings.Join(c.algorithms, " ") {
				t.Errorf("got %v, %v", set, err)
			}
		})
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(keySetOf(f, map[string]crypto.PublicKey{"a": p256().Public(), "b": rsaKey().Public()}))
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseJWKS([]byte(text), nil)
		if err == nil && len(set) == 0 {
			t.Error("a set without keys is no error")
		}
		for _, k := range set {
			if _, err := set.find(t.Context(), k.kid, "none"); !errors.Is(err, errAlgorithm) && !errors.Is(err, errUnknownKey) {
				t.Errorf("a key for none: %v", err)
			}
		}
	})
}
