package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	issuer = "https://issuer.example"
)

// Keys are made once: RSA keys are slow to make.
var (
	rsaKey, otherRSA           = sync.OnceValue(newRSA), sync.OnceValue(newRSA)
	p256, otherP256            = sync.OnceValue(newEC(elliptic.P256())), sync.OnceValue(newEC(elliptic.P256()))
	p384, p521                 = sync.OnceValue(newEC(elliptic.P384())), sync.OnceValue(newEC(elliptic.P521()))
	edKey                      = sync.OnceValue(newEd)
	today            time.Time = time.Now().Truncate(time.Second)
)

func newRSA() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(curve elliptic.Curve) func() *ecdsa.PrivateKey {
	return func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
}

func newEd() ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// claimsWith are those of a good token, with changes; a nil value takes a claim away.
func claimsWith(changes map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"iss": issuer, "sub": "ada", "aud": "shop", "exp": today.Add(time.Hour).Unix(), "iat": today.Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token, whose header has what is in extra too.
func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, extra map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, extra)
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// publicPEM writes a public key to a file and returns its path.
func publicPEM(t testing.TB, public crypto.PublicKey) config.Path {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Path(file)
}

// jwtConfig is a provider's configuration with the defaults of the YAML reader.
func jwtConfig(change func(*config.JWT)) *config.JWT {
	c := &config.JWT{
		Issuer: issuer, Audiences: []string{"shop"}, ClockSkew: config.Duration(30 * time.Second),
		UserClaim: "sub", RolesClaim: "roles", ScopesClaim: "scope", MaxSize: 8 << 10,
		JWKSRefreshFloor: config.Duration(10 * time.Second), JWKSCacheTime: config.Duration(10 * time.Minute),
	}
	if change != nil {
		change(c)
	}
	return c
}

func withSecret(c *config.JWT) { c.Secret = secret }

func compile(t testing.TB, cfg ...config.AuthProvider) *Providers {
	t.Helper()
	p, err := Compile(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// policy compiles providers and a route that requires all of them.
func policy(t testing.TB, cfg ...config.AuthProvider) *Policy {
	t.Helper()
	route := &config.RouteAuth{}
	for _, one := range cfg {
		route.Require = append(route.Require, one.Name)
	}
	return routePolicy(t, route, cfg...)
}

func routePolicy(t testing.TB, route *config.RouteAuth, cfg ...config.AuthProvider) *Policy {
	t.Helper()
	p, err := compile(t, cfg...).Policy(route)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// jwtPolicy is a route that asks for a token, at a time that stands still.
func jwtPolicy(t testing.TB, change func(*config.JWT)) *Policy {
	t.Helper()
	p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(change)})
	p.providers[0].verifier.(*jwtVerifier).now = func() time.Time { return today }
	return p
}

// request is a carrier with what a test gives it.
type request struct {
	header, cookie, query, protocol map[string]string
	certificate                     string
}

func (r request) Certificate() string              { return r.certificate }
func (r request) Header(name string) string        { return r.header[name] }
func (r request) Cookie(name string) string        { return r.cookie[name] }
func (r request) Query(name string) string         { return r.query[name] }
func (r request) Subprotocol(prefix string) string { return r.protocol[prefix] }

func bearer(token string) request {
	return request{header: map[string]string{"Authorization": "Bearer " + token}}
}

func newContext(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// refused returns the refusal, which has to be one.
func refused(t testing.TB, id *Identity, err error) *Error {
	t.Helper()
	var why *Error
	if !errors.As(err, &why) {
		t.Fatalf("got %+v, %v; want a refusal", id, err)
	}
	if id != nil {
		t.Errorf("a refusal came with the identity %+v", id)
	}
	return why
}

func TestAlgorithms(t *testing.T) {
	hmac := []byte(secret)
	for _, c := range []struct {
		method  jwt.SigningMethod
		private any
		public  crypto.PublicKey
	}{
		{jwt.SigningMethodHS256, hmac, nil},
		{jwt.SigningMethodHS384, hmac, nil},
		{jwt.SigningMethodHS512, hmac, nil},
		{jwt.SigningMethodRS256, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodRS384, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodRS512, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodPS256, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodPS384, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodPS512, rsaKey(), rsaKey().Public()},
		{jwt.SigningMethodES256, p256(), p256().Public()},
		{jwt.SigningMethodES384, p384(), p384().Public()},
		{jwt.SigningMethodES512, p521(), p521().Public()},
		{jwt.SigningMethodEdDSA, edKey(), edKey().Public()},
	} {
		t.Run(c.method.Alg()+" is verified", func(t *testing.T) {
			p := jwtPolicy(t, func(j *config.JWT) {
				if c.public == nil {
					j.Secret = secret
				} else {
					j.KeyFile = publicPEM(t, c.public)
				}
			})
			token := sign(t, c.method, c.private, claimsWith(nil), nil)
			id, _, err := p.Authenticate(t.Context(), bearer(token))
			if err != nil {
				t.Fatal(err)
			}
			if id.User != "ada" || id.Provider != "tokens" || !id.Authenticated() {
				t.Errorf("got %+v", id)
			}
			refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer(flip(token)))))
		})
	}
}

func second(_ *Identity, err error) error { return err }

func refusalOf(_ *Identity, _ bool, err error) error { return err }

// flip changes one bit of a token's signature.
func flip(token string) string {
	at := strings.LastIndexByte(token, '.') + 5
	c := byte('A')
	if token[at] == c {
		c = 'B'
	}
	return token[:at] + string(c) + token[at+1:]
}

func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.JWT)
		claims map[string]any
		want   Identity
	}{
		{"scopes are the words of the scope claim", nil,
			map[string]any{"scope": "read  write"}, Identity{User: "ada", Scopes: []string{"read", "write"}}},
		{"scopes may be a list", nil,
			map[string]any{"scope": []string{"read", "write"}}, Identity{User: "ada", Scopes: []string{"read", "write"}}},
		{"roles are found in a nested claim", func(j *config.JWT) { j.RolesClaim = "realm_access.roles" },
			map[string]any{"realm_access": map[string]any{"roles": []string{"admin", "clerk"}}}, Identity{User: "ada", Roles: []string{"admin", "clerk"}}},
		{"a claim whose name has dots comes before a nested one", func(j *config.JWT) { j.RolesClaim = "https://x.example/roles" },
			map[string]any{"https://x.example/roles": []string{"admin"}}, Identity{User: "ada", Roles: []string{"admin"}}},
		{"roles that are no strings are passed over", nil,
			map[string]any{"roles": []any{"admin", 7, nil, map[string]any{}}}, Identity{User: "ada", Roles: []string{"admin"}}},
		{"a roles claim of another kind grants nothing", nil,
			map[string]any{"roles": map[string]any{"admin": true}}, Identity{User: "ada"}},
		{"the user is the claim that is configured", func(j *config.JWT) { j.UserClaim = "act.email" },
			map[string]any{"act": map[string]any{"email": "ada@shop.example"}}, Identity{User: "ada@shop.example"}},
		{"a nested claim's values stand for roles", func(j *config.JWT) {
			j.RolesClaim = "realm.groups"
			j.RoleMap = []config.RoleMapping{{Value: "/staff", Roles: []string{"clerk", "reader"}}, {Value: "/root", Roles: []string{"admin", "clerk"}}}
		}, map[string]any{"realm": map[string]any{"groups": []string{"/staff", "clerk", "/root", "/other"}}},
			Identity{User: "ada", Roles: []string{"clerk", "reader", "admin"}}},
		{"a claim that is needed may be a number", func(j *config.JWT) {
			j.RequiredClaims = []config.RequiredClaim{{Claim: "tenant", Values: []string{"7"}}, {Claim: "mfa", Values: []string{"true"}}, {Claim: "amr"}}
		}, map[string]any{"tenant": 7, "mfa": true, "amr": []string{"pwd"}}, Identity{User: "ada"}},
		{"a token within max_age", func(j *config.JWT) { j.MaxAge = config.Duration(2 * time.Hour) },
			map[string]any{"iat": today.Add(-time.Hour).Unix()}, Identity{User: "ada"}},
		{"an audience list needs one of the audiences", nil,
			map[string]any{"aud": []string{"other", "shop"}}, Identity{User: "ada"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := jwtPolicy(t, func(j *config.JWT) {
				withSecret(j)
				if c.change != nil {
					c.change(j)
				}
			})
			id, _, err := p.Authenticate(t.Context(), bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(c.claims), nil)))
			if err != nil {
				t.Fatal(err)
			}
			if id.User != c.want.User || !reflect.DeepEqual(id.Roles, c.want.Roles) || !reflect.DeepEqual(id.Scopes, c.want.Scopes) {
				t.Errorf("got user %q, roles %q, scopes %q", id.User, id.Roles, id.Scopes)
			}
			if want := today.Add(time.Hour + 30*time.Second); !id.Expires.Equal(want) {
				t.Errorf("expires %v, want %v, the clock skew after exp", id.Expires, want)
			}
		})
	}
}

func TestMaxAgeEndsAnIdentityBeforeItsToken(t *testing.T) {
	p := jwtPolicy(t, func(j *config.JWT) { withSecret(j); j.MaxAge = config.Duration(10 * time.Minute) })
	id, _, err := p.Authenticate(t.Context(), bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(nil), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if want := today.Add(10*time.Minute + 30*time.Second); !id.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", id.Expires, want)
	}
}

func TestProvidersByIssuer(t *testing.T) {
	provider := func(name, key string) config.AuthProvider {
		return config.AuthProvider{Name: name, JWT: jwtConfig(func(j *config.JWT) {
			j.Issuer, j.Secret = "https://"+name+".example", config.Secret(key)
		})}
	}
	const a, b = "a" + secret, "b" + secret
	p := policy(t, provider("first", a), provider("second", b))
	for _, c := range []struct{ name, issuer, key, provider, reason string }{
		{"a token of the first issuer", "https://first.example", a, "first", ""},
		{"a token of the second issuer", "https://second.example", b, "second", ""},
		{"a token of the first issuer signed with the key of the second", "https://first.example", b, "", "the token's signature is wrong"},
		{"a token of the second issuer signed with the key of the first", "https://second.example", a, "", "the token's signature is wrong"},
		{"a token of another issuer", "https://third.example", a, "", "the token's issuer is not accepted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := sign(t, jwt.SigningMethodHS256, []byte(c.key), claimsWith(map[string]any{"iss": c.issuer}), nil)
			for how, do := range map[string]func() (*Identity, error){
				"from a request": func() (*Identity, error) {
					id, _, err := p.Authenticate(t.Context(), bearer(token))
					return id, err
				},
				"by itself": func() (*Identity, error) { return p.AuthenticateToken(t.Context(), token) },
			} {
				id, err := do()
				if c.provider == "" {
					if why := refused(t, id, err); why.Reason != c.reason {
						t.Errorf("%s: refused with %q, want %q", how, why.Reason, c.reason)
					}
				} else if err != nil || id.Provider != c.provider {
					t.Errorf("%s: got %+v, %v", how, id, err)
				}
			}
		})
	}
}

func TestSources(t *testing.T) {
	good := sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(nil), nil)
	source := func(s ...config.CredentialSource) []config.CredentialSource { return s }
	header := func(name, value string) request { return request{header: map[string]string{name: value}} }
	for _, c := range []struct {
		name string
		from []config.CredentialSource
		r    request
		want bool
	}{
		{"the Authorization header by default", nil, bearer(good), true},
		{"the scheme in any case", nil, header("Authorization", "bEARER "+good), true},
		{"more spaces after the scheme", nil, header("Authorization", "Bearer   "+good), true},
		{"not another scheme", nil, header("Authorization", "Basic "+good), false},
		{"not without a scheme", nil, header("Authorization", good), false},
		{"not an empty credential", nil, header("Authorization", "Bearer "), false},
		{"a header of the configuration, in any case", source(config.CredentialSource{Header: "x-token"}), header("X-Token", good), true},
		{"a header with a scheme", source(config.CredentialSource{Header: "X-Token", Scheme: "Shop"}), header("X-Token", "Shop "+good), true},
		{"a header with a scheme, which must be there", source(config.CredentialSource{Header: "X-Token", Scheme: "Shop"}), header("X-Token", good), false},
		{"a cookie", source(config.CredentialSource{Cookie: "session"}), request{cookie: map[string]string{"session": good}}, true},
		{"not another cookie", source(config.CredentialSource{Cookie: "session"}), request{cookie: map[string]string{"other": good}}, false},
		{"the query", source(config.CredentialSource{Query: "access_token"}), request{query: map[string]string{"access_token": good}}, true},
		{"a subprotocol", source(config.CredentialSource{Subprotocol: "bearer."}), request{protocol: map[string]string{"bearer.": good}}, true},
		{"not the header where only a cookie is configured", source(config.CredentialSource{Cookie: "session"}), bearer(good), false},
		{"the second place where the first has nothing", source(config.CredentialSource{Cookie: "session"}, config.CredentialSource{Query: "t"}), request{query: map[string]string{"t": good}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret), From: c.from})
			id, _, err := p.Authenticate(t.Context(), c.r)
			if c.want {
				if err != nil || id.User != "ada" {
					t.Errorf("got %+v, %v", id, err)
				}
				return
			}
			if why := refused(t, id, err); why.Denied || why.Reason != "a credential is needed" || why.Challenge != `Bearer realm="crossgate"` {
				t.Errorf("refused with %+v", why)
			}
		})
	}
}

func TestPlacesAreThoseOfRequests(t *testing.T) {
	p := policy(t, config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret), From: []config.CredentialSource{
		{Header: "Authorization"}, {Header: "x-token", Scheme: "Shop"}, {Cookie: "session"}, {Query: "t"}, {Subprotocol: "bearer."},
	}})
	want := []Place{
		{Provider: "tokens", Header: "Authorization", Scheme: "Bearer"}, {Provider: "tokens", Header: "X-Token", Scheme: "Shop"}, {Provider: "tokens", Cookie: "session"},
	}
	if got := p.Places(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var none *Policy
	if none.Places() != nil || !none.Optional() || none.Roles() != nil || none.Scopes() != nil {
		t.Error("a route without auth asks for something")
	}
}

func TestKeysAndTokensOnOneRoute(t *testing.T) {
	p := policy(t,
		config.AuthProvider{Name: "keys", APIKeys: &config.APIKeys{Keys: []config.APIKey{{ID: "k", Key: "the-key"}}}},
		config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret)})
	token := sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(nil), nil)
	for _, credential := range []string{"the-key", token} {
		if id, err := p.AuthenticateToken(t.Context(), credential); err != nil || !id.Authenticated() {
			t.Errorf("got %+v, %v", id, err)
		}
	}
	if why := refused(t, nil, second(p.AuthenticateToken(t.Context(), "neither"))); !strings.HasPrefix(why.Challenge, `Bearer realm="crossgate", error="invalid_token"`) {
		t.Errorf("challenge %s", why.Challenge)
	}
}

func TestOptional(t *testing.T) {
	tokens := config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret)}
	p := routePolicy(t, &config.RouteAuth{Require: []string{"tokens"}, Optional: true}, tokens)
	t.Run("without a credential the caller is anonymous", func(t *testing.T) {
		if id, _, err := p.Authenticate(t.Context(), request{}); err != nil || id != Anonymous || id.Authenticated() {
			t.Errorf("got %+v, %v", id, err)
		}
	})
	t.Run("a wrong credential is refused all the same", func(t *testing.T) {
		refused(t, nil, refusalOf(p.Authenticate(t.Context(), bearer("wrong"))))
	})
	t.Run("a route that asks for nothing lets everyone in", func(t *testing.T) {
		none, err := compile(t, tokens).Policy(nil)
		if err != nil || none != nil {
			t.Fatalf("got %v, %v", none, err)
		}
		if id, _, err := none.Authenticate(t.Context(), bearer("wrong")); err != nil || id != Anonymous {
			t.Errorf("got %+v, %v", id, err)
		}
		if err := none.Authorize(Anonymous); err != nil {
			t.Error(err)
		}
	})
}

func TestAuthorize(t *testing.T) {
	tokens := config.AuthProvider{Name: "tokens", JWT: jwtConfig(withSecret)}
	for _, c := range []struct {
		name   string
		route  config.RouteAuth
		id     *Identity
		reason string
	}{
		{"one of the roles is enough", config.RouteAuth{Roles: []string{"admin", "clerk"}}, &Identity{Roles: []string{"clerk"}}, ""},
		{"none of the roles is not", config.RouteAuth{Roles: []string{"admin"}}, &Identity{Roles: []string{"Admin", "clerk"}}, "none of the roles that the route asks for"},
		{"all scopes are needed", config.RouteAuth{Scopes: []string{"read", "write"}}, &Identity{Scopes: []string{"write", "read"}}, ""},
		{"one scope missing is refused", config.RouteAuth{Scopes: []string{"read", "write"}}, &Identity{Scopes: []string{"read"}}, `the scope "write" is missing`},
		{"roles are no scopes", config.RouteAuth{Scopes: []string{"read"}}, &Identity{Roles: []string{"read"}}, `the scope "read" is missing`},
		{"an anonymous caller has no role", config.RouteAuth{Roles: []string{"admin"}}, Anonymous, "none of the roles that the route asks for"},
		{"a route without roles and scopes lets each identity in", config.RouteAuth{}, &Identity{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.route.Require = []string{"tokens"}
			err := routePolicy(t, &c.route, tokens).Authorize(c.id)
			if c.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if why := refused(t, nil, err); !why.Denied || why.Reason != c.reason || why.Challenge != "" {
				t.Errorf("refused with %+v", why)
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*config.JWT)
		want   string
	}{
		{"a secret shorter than 32 bytes", func(j *config.JWT) { j.Secret = "short" }, "fits the key"},
		{"HS512 with a secret of 32 bytes", func(j *config.JWT) { j.Secret, j.Algorithms = config.Secret(secret[:32]), []string{"HS512"} }, "fits the key"},
		{"an algorithm of another kind of key", func(j *config.JWT) { j.Secret, j.Algorithms = secret, []string{"RS256"} }, "fits the key"},
		{"HMAC with a public key", func(j *config.JWT) { j.KeyFile, j.Algorithms = publicPEM(t, rsaKey().Public()), []string{"HS256"} }, "fits the key"},
		{"an RSA key shorter than 2048 bits", func(j *config.JWT) { j.KeyFile = publicPEM(t, small.Public()) }, "fits the key"},
		{"a key file that is not there", func(j *config.JWT) { j.KeyFile = "/nowhere.pem" }, "/nowhere.pem"},
		{"a key file without PEM", func(j *config.JWT) { j.KeyFile = config.Path(empty) }, "expected PEM"},
		{"a key set file without a key set", func(j *config.JWT) { j.JWKSFile = config.Path(empty) }, "expected a JSON Web Key Set"},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			p, err := Compile([]config.AuthProvider{{Name: "tokens", JWT: jwtConfig(c.change)}}, Options{})
			if err == nil {
				p.Close()
				t.Fatal("it is not")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a route that names no provider is refused", func(t *testing.T) {
		if _, err := compile(t).Policy(&config.RouteAuth{Require: []string{"nobody"}}); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
			t.Errorf("got %v", err)
		}
	})
}

// countingKeys counts how often a key is looked for, which is once for each signature checked.
type countingKeys struct {
	keySet
	finds int
	gen   uint64
}

func (k *countingKeys) find(ctx context.Context, kid, algorithm string) (jwt.VerificationKeySet, error) {
	k.finds++
	return k.keySet.find(ctx, kid, algorithm)
}

func (k *countingKeys) generation() uint64 { return k.gen }

// check is what a policy does with a credential of one provider.
func (v *jwtVerifier) check(ctx context.Context, token string) (*Identity, error) {
	return verify(ctx, v.alone(), token)
}

// alone is v as the one provider of a policy.
func (v *jwtVerifier) alone() []*provider { return []*provider{{verifier: v}} }

func TestTokenCache(t *testing.T) {
	setUp := func(t *testing.T) (*jwtVerifier, *countingKeys) {
		v, err := newJWTVerifier("tokens", jwtConfig(withSecret), nil, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		counted := &countingKeys{keySet: v.keys}
		v.keys = counted
		now := today
		v.now = func() time.Time { return now }
		return v, counted
	}
	at := func(v *jwtVerifier, when time.Time) { v.now = func() time.Time { return when } }
	token := sign(t, jwt.SigningMethodHS256, []byte(secret), claimsWith(nil), nil)
	verify := func(t *testing.T, v *jwtVerifier, counted *countingKeys, checked int) {
		t.Helper()
		if _, err := v.check(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if counted.finds != checked {
			t.Errorf("the signature was checked %d times, want %d", counted.finds, checked)
		}
	}
	t.Run("a token that was verified is not verified again", func(t *testing.T) {
		v, counted := setUp(t)
		for range 10 {
			verify(t, v, counted, 1)
		}
	})
	t.Run("new keys end what was remembered", func(t *testing.T) {
		v, counted := setUp(t)
		verify(t, v, counted, 1)
		counted.gen++
		verify(t, v, counted, 2)
		verify(t, v, counted, 2)
	})
	t.Run("a token is verified again after the cache time", func(t *testing.T) {
		v, counted := setUp(t)
		verify(t, v, counted, 1)
		at(v, today.Add(cacheTime-1))
		verify(t, v, counted, 1)
		at(v, today.Add(cacheTime))
		verify(t, v, counted, 2)
	})
	t.Run("a token is verified again after the cache time of its keys, where that is shorter", func(t *testing.T) {
		v, counted := setUp(t)
		short, err := newJWTVerifier("tokens", jwtConfig(func(j *config.JWT) {
			j.JWKSURL, j.JWKSCacheTime = "http://keys.example", config.Duration(time.Minute)
		}), nil, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		short.close()
		v.cache = short.cache
		verify(t, v, counted, 1)
		at(v, today.Add(time.Minute-1))
		verify(t, v, counted, 1)
		at(v, today.Add(time.Minute))
		verify(t, v, counted, 2)
	})
	t.Run("a remembered token costs no allocation", func(t *testing.T) {
		v, counted := setUp(t)
		verify(t, v, counted, 1)
		if n := testing.AllocsPerRun(100, func() { verify(t, v, counted, 1) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
	t.Run("a token that expired is not remembered", func(t *testing.T) {
		v, _ := setUp(t)
		at(v, today.Add(time.Hour))
		if _, err := v.check(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		at(v, today.Add(time.Hour+31*time.Second))
		if _, err := v.check(t.Context(), token); err == nil {
			t.Error("it is")
		}
	})
	t.Run("a token that was refused is refused again", func(t *testing.T) {
		v, counted := setUp(t)
		for n := 1; n <= 3; n++ {
			if _, err := v.check(t.Context(), flip(token)); err == nil {
				t.Fatal("it is let in")
			}
			if counted.finds != n {
				t.Errorf("looked for a key %d times, want %d", counted.finds, n)
			}
		}
	})
	t.Run("it holds a bounded number of tokens", func(t *testing.T) {
		c := newTokenCache(cacheTime)
		for i := range cacheShards*shardTokens + 10000 {
			c.put(sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}), 0, &Identity{}, today)
		}
		total := 0
		for i := range c.shards {
			total += len(c.shards[i].tokens)
		}
		if total > cacheShards*shardTokens {
			t.Errorf("it holds %d", total)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	p := policy(b, config.AuthProvider{Name: "tokens", JWT: jwtConfig(func(j *config.JWT) { j.KeyFile = publicPEM(b, rsaKey().Public()) })})
	r := bearer(sign(b, jwt.SigningMethodRS256, rsaKey(), claimsWith(nil), nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Authenticate(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
