package auth

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

func privatePEM(t testing.TB, key crypto.PrivateKey) config.Path {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "private.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Path(file)
}

func TestForwardedHeaders(t *testing.T) {
	f, err := CompileForwarder(&config.ForwardIdentity{Headers: map[string]string{
		"x-user": "user", "x-roles": "roles", "x-tenant": "claim:act.tenant", "x-level": "claim:level", "x-none": "claim:none", "x-list": "claim:list",
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := &Identity{Provider: "tokens", User: "ada\r\nX-Roles: root é%", Roles: []string{"clerk", "a,b"},
		Claims: map[string]any{"act": map[string]any{"tenant": "acme"}, "level": 3.0, "list": []any{"x", 1.0, nil}}}
	changes, err := f.Changes(id)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range changes.Request {
		got[h.Name] = h.Value
	}
	want := map[string]string{"X-User": "ada%0D%0AX-Roles: root %C3%A9%25", "X-Roles": "clerk,a%2Cb", "X-Tenant": "acme", "X-Level": "3", "X-List": "x,1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	anonymous, err := f.Changes(Anonymous)
	if err != nil || len(anonymous.Request) != 0 || len(anonymous.Remove) != 6 || len(changes.Remove) != 6 {
		t.Errorf("of nobody %+v, %v; of somebody %q is removed", anonymous, err, changes.Remove)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = f.Changes(id) }); n != 0 {
		t.Errorf("%v allocations for an identity that was seen before", n)
	}
}

func TestIdentityTokens(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    crypto.Signer
		method string
	}{{"P-256", p256(), "ES256"}, {"Ed25519", edKey(), "EdDSA"}} {
		t.Run("a token is signed with a key of "+c.name+" and verified by the published set", func(t *testing.T) {
			next := publicPEM(t, otherP256().Public())
			s, err := CompileSigner(&config.IdentityTokens{Key: privatePEM(t, c.key), AlsoPublish: []config.Path{next}, Issuer: "edge", Lifetime: config.Duration(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			f, err := CompileForwarder(&config.ForwardIdentity{TokenHeader: "x-identity", Audience: "shop", Claims: []string{"tenant"}}, s)
			if err != nil {
				t.Fatal(err)
			}
			now := &clock{now: today}
			f.now = now.time
			id := &Identity{Provider: "tokens", User: "ada", Roles: []string{"clerk"}, Scopes: []string{"read", "write"}, Expires: today.Add(50 * time.Second),
				Claims: map[string]any{"tenant": "acme", "secret": "s"}}
			tokenOf := func() string {
				t.Helper()
				changes, err := f.Changes(id)
				if err != nil || len(changes.Request) != 1 || changes.Request[0].Name != "X-Identity" {
					t.Fatalf("got %+v, %v", changes, err)
				}
				return changes.Request[0].Value
			}
			token := tokenOf()
			file := filepath.Join(t.TempDir(), "jwks.json")
			if err := os.WriteFile(file, s.JWKS(), 0o600); err != nil {
				t.Fatal(err)
			}
			verifier := jwtPolicy(t, func(j *config.JWT) {
				j.Issuer, j.JWKSFile, j.Algorithms = "edge", config.Path(file), []string{c.method}
			})
			got, _, err := verifier.Authenticate(t.Context(), bearer(token))
			if err != nil {
				t.Fatal(err)
			}
			if got.User != "ada" || got.Claims["provider"] != "tokens" || got.Claims["tenant"] != "acme" || got.Claims["secret"] != nil ||
				!reflect.DeepEqual(got.Roles, id.Roles) || !reflect.DeepEqual(got.Scopes, id.Scopes) {
				t.Errorf("it says %v", got.Claims)
			}
			if exp := int64(got.Claims["exp"].(float64)); exp != id.Expires.Unix() {
				t.Errorf("it outlives the caller's credential: %d", exp)
			}
			if again := tokenOf(); again != token {
				t.Error("the next request has another token")
			}
			now.add(38 * time.Second)
			if again := tokenOf(); again == token {
				t.Error("near its end there is no new one")
			}
			if set := string(s.JWKS()); strings.Count(set, `"kid"`) != 2 || strings.Contains(set, `"d"`) {
				t.Errorf("published: %s", set)
			}
		})
	}
	for _, c := range []struct {
		name string
		key  func() config.Path
		want string
	}{
		{"a key of another curve", func() config.Path { return privatePEM(t, p384()) }, "expected a key of P-256 or Ed25519"},
		{"an RSA key", func() config.Path { return privatePEM(t, rsaKey()) }, "expected a key of P-256 or Ed25519"},
		{"a public key", func() config.Path { return publicPEM(t, p256().Public()) }, "expected PEM with a PRIVATE KEY"},
		{"no file", func() config.Path { return "/nowhere.pem" }, "/nowhere.pem"},
	} {
		if _, err := CompileSigner(&config.IdentityTokens{Key: c.key(), Lifetime: config.Duration(time.Minute)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	var none *Signer
	if string(none.JWKS()) != `{"keys":[]}` {
		t.Errorf("without a key: %s", none.JWKS())
	}
}
