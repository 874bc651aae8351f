package integration

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// TestABackendIsToldWhoTheCallerIs and no caller can tell it otherwise, by whatever name and in whatever protocol.
func TestABackendIsToldWhoTheCallerIs(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
auth: [{name: jwt, jwt: {secret: "${JWT_SECRET}"}}]
routes:
  - name: calls
    grpc: {upstream: test, services: ["crossgate.test.v1.*"], forward_headers: ["X-Test-Header-*"]}
    auth: {require: [jwt], optional: true}
    forward_identity: {headers: {X-Test-Header-User: user, X-Test-Header-Tenant: "claim:tenant"}}
`, backend.Address))
	forged := http.Header{
		"X-Test-Header-User": {"root"}, "Grpc-Metadata-X-Test-Header-User": {"root"}, "X_test_header_user": {"root"}, "X-Test-Header_user": {"root"},
		"X-Test-Header-Tenant": {"root"}, "Grpc-Metadata-X-Test-Header-Tenant": {"root"}, "Connection": {"close, X-Test-Header-User"},
	}
	known := forged.Clone()
	known.Set("Authorization", "Bearer "+token(t, jwt.MapClaims{"tenant": "acme"}))
	for protocol, try := range protocols {
		if protocol == "WebSocket" || protocol == "stream of Connect" {
			continue // the attempts get no headers of the backend's
		}
		for name, c := range map[string]struct {
			header       http.Header
			user, tenant []string
		}{"somebody": {known, []string{"ann"}, []string{"acme"}}, "nobody": {forged, nil, nil}} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				header := c.header.Clone()
				if protocol == "gRPC" {
					header.Del("Connection") // HTTP/2 has none
				}
				status, answer := try(t, g, header)
				if status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				told := func(name string) []string { return append(answer["Grpc-Metadata-"+name], answer[name]...) }
				if !slices.Equal(told("X-Test-Header-User"), c.user) || !slices.Equal(told("X-Test-Header-Tenant"), c.tenant) {
					t.Errorf("the backend was told %q of %q: %v", told("X-Test-Header-User"), told("X-Test-Header-Tenant"), answer)
				}
				if strings.Contains(fmt.Sprint(answer), "root") {
					t.Errorf("what the caller forged came through: %v", answer)
				}
			})
		}
	}
	if _, set := call(t, "GET", g.Admin+"/v1/identity/jwks.json", "", nil); set != `{"keys":[]}` {
		t.Errorf("published without a key: %s", set)
	}
}

// TestAnHTTPBackendIsToldWhoTheCallerIs as gRPC's are, and by a token that only the gateway can sign.
func TestAnHTTPBackendIsToldWhoTheCallerIs(t *testing.T) {
	t.Setenv("JWT_SECRET", secret)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "identity.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan http.Header, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		maps.Copy(r.Header, r.Trailer) // as backends do that do not tell them apart
		got <- r.Header
	}))
	t.Cleanup(backend.Close)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
identity_tokens: {key: %s, issuer: edge}
upstreams: [{name: app, protocol: http, endpoints: ["%s"]}]
auth: [{name: jwt, jwt: {secret: "${JWT_SECRET}"}}]
routes:
  - name: app
    match: {path_prefix: /}
    http: {upstream: app}
    auth: {require: [jwt], optional: true}
    forward_identity: {headers: {X-User: user}, token_header: X-Identity, audience: app, claims: [tenant]}
`, key, strings.TrimPrefix(backend.URL, "http://")))
	forged := http.Header{"X-User": {"root"}, "X_user": {"root"}, "X-Identity": {"root"}, "Connection": {"close, x-user, X-Identity"}}
	for _, c := range []struct {
		name, user string
	}{{"somebody", "ann"}, {"nobody", ""}} {
		header := forged.Clone()
		if c.user != "" {
			header.Set("Authorization", "Bearer "+token(t, jwt.MapClaims{"tenant": "acme"}))
		}
		r, err := http.NewRequest(http.MethodPost, g.URL+"/", io.MultiReader(strings.NewReader("in chunks")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		r.Trailer = http.Header{"X-User": {"root"}, "X_identity": {"root"}, "X-Sum": {"9"}}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		h := <-got
		if h.Get("X-Sum") != "9" {
			t.Errorf("the other trailer is lost: %v", h)
		}
		if h.Get("X-User") != c.user || strings.Contains(fmt.Sprint(h), "root") {
			t.Errorf("of %s the backend was told %v", c.name, h)
		}
		if c.user == "" {
			if h.Get("X-Identity") != "" {
				t.Errorf("of nobody the backend has a token: %v", h)
			}
			continue
		}
		claims := jwt.MapClaims{}
		_, err = jwt.ParseWithClaims(h.Get("X-Identity"), claims, func(*jwt.Token) (any, error) { return private.Public(), nil },
			jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("edge"), jwt.WithAudience("app"), jwt.WithExpirationRequired())
		if err != nil || claims["sub"] != "ann" || claims["tenant"] != "acme" {
			t.Errorf("the token says %v, %v", claims, err)
		}
	}
	if _, set := call(t, "GET", g.Admin+"/v1/identity/jwks.json", "", nil); !strings.Contains(set, `"crv":"Ed25519"`) || strings.Contains(set, `"d":`) {
		t.Errorf("published: %s", set)
	}
}
