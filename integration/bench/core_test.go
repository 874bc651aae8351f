package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/routing"
)

// core is admission alone: a thousand routes with variables, a token signed with ES256, a rule in CEL over the token, the
// path and a header, and a limit of users in memory.
func core(tb testing.TB) (admit func() *admission.Refusal) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
	c, err := config.Parse("core.yaml", []byte(fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
auth: [{name: main, jwt: {issuer: "https://id.example.com", audiences: [shop], key_file: %s}}]
routes:
  - name: shop
    match: {path_prefix: /}
    respond: {}
    auth: {require: [main], roles: [clerk]}
    authorize: {rules: [{name: own, allow: 'request.headers["x-tenant"] == identity.claims.tenant && vars.shelf in identity.claims.shelves'}]}
    rate_limits: [{per: user, rate: 1000000000/s}]
`, file)))
	if err != nil {
		tb.Fatal(err)
	}
	providers, err := auth.Compile(c.Auth, auth.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(providers.Close)
	policy, err := admission.CompilePolicy(&c.Routes[0], providers, admission.Stores{Memory: ratelimit.NewMemory()})
	if err != nil {
		tb.Fatal(err)
	}
	var table []routing.Rule[*admission.Route]
	for i := range 1000 {
		template, err := routing.ParseTemplate(fmt.Sprintf("/v1/libraries-%d/shelves/{shelf}/books/{book}", i))
		if err != nil {
			tb.Fatal(err)
		}
		table = append(table, routing.Rule[*admission.Route]{Methods: []string{"GET"}, Template: template, Origin: "core.yaml",
			Value: &admission.Route{Policy: policy, Binding: template.String()}})
	}
	compiled, err := routing.Compile(table)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "shop", "sub": "ada", "tenant": "acme", "roles": []string{"reader", "clerk"},
		"shelves": []string{"6", "7"}, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	admitter, ticket := admission.New(compiled), new(admission.Ticket)
	request := &admission.Request{Client: netip.MustParseAddr("192.0.2.1"), ID: "r", Protocol: "HTTP/2.0"}
	request.Method, request.Host, request.Path = "GET", "api.example.com", "/v1/libraries-617/shelves/7/books/12"
	request.Header = http.Header{"Authorization": {"Bearer " + token}, "X-Tenant": {"acme"}, "Accept": {"application/json"}}
	ctx := tb.Context()
	return func() *admission.Refusal { return admitter.Admit(ctx, request, ticket) }
}

// BenchmarkCore is what a request costs before anything is done for it.
func BenchmarkCore(b *testing.B) {
	admit := core(b)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if f := admit(); f != nil {
			b.Fatal(f)
		}
	}
}

func TestTheCoreAllocatesLessThanFiveTimes(t *testing.T) {
	if rig.Race {
		t.Skip("the race detector empties pools at random")
	}
	admit := core(t)
	if f := admit(); f != nil {
		t.Fatal(f)
	}
	if n := testing.AllocsPerRun(500, func() { admit() }); n >= 5 {
		t.Errorf("%v allocations", n)
	}
}
