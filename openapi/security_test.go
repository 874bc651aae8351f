package openapi_test

import (
	"strings"
	"testing"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// guarded is the features' route with an auth policy.
func guarded(t *testing.T, cfg *config.RouteAuth) openapi.Route {
	t.Helper()
	providers, err := auth.Compile([]config.AuthProvider{
		{Name: "tokens", JWT: &config.JWT{Secret: config.Secret(strings.Repeat("s", 32))}, From: []config.CredentialSource{
			{Header: "Authorization"}, {Cookie: "session"}, {Query: "token"}, {Subprotocol: "bearer."},
		}},
		{Name: "keys", APIKeys: &config.APIKeys{Keys: []config.APIKey{{ID: "a", Key: "not-so-secret-a-key"}}}},
		{Name: "odd", APIKeys: &config.APIKeys{Keys: []config.APIKey{{ID: "b", Key: "not-so-secret-b-key"}}}, From: []config.CredentialSource{
			{Header: "x-token", Scheme: "Shop"}, {Header: "Authorization", Scheme: "ApiKey"},
		}},
	}, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	policy, err := providers.Policy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := route(load(t, features), codec.Options{})
	r.Auth = policy
	return r
}

func TestSecurity(t *testing.T) {
	secured := guarded(t, &config.RouteAuth{Require: []string{"tokens", "keys", "odd"}, Roles: []string{"reader"}, Scopes: []string{"read"}})
	secured.Limited = true
	_, doc := build(t, api(secured))
	_, optional := build(t, api(guarded(t, &config.RouteAuth{Require: []string{"keys"}, Optional: true})))
	_, open := build(t, api(route(load(t, features), codec.Options{})))
	for _, f := range []fact{
		{"any place of a credential is enough, with the roles and scopes that are needed", oneBook + "get > security", `[
			{"tokens":["reader","read"]}, {"tokens-2":["reader","read"]}, {"keys":["reader","read"]}, {"odd":["reader","read"]}, {"odd-2":["reader","read"]}]`},
		{"a token in the Authorization header", "components > securitySchemes > tokens", `{"type":"http","scheme":"bearer","bearerFormat":"JWT","description":"A signed token (JWT)."}`},
		{"a token in a cookie", "components > securitySchemes > tokens-2", `{"type":"apiKey","in":"cookie","name":"session","description":"A signed token (JWT)."}`},
		{"not what only WebSocket upgrades have", "components > securitySchemes > tokens-3", "absent"},
		{"a key in its header", "components > securitySchemes > keys", `{"type":"apiKey","in":"header","name":"X-Api-Key","description":"An API key."}`},
		{"a key behind a word", "components > securitySchemes > odd", `{"type":"apiKey","in":"header","name":"X-Token","description":"An API key, after ` + "`Shop`" + ` and a space."}`},
		{"another scheme of Authorization", "components > securitySchemes > odd-2", `{"type":"apiKey","in":"header","name":"Authorization","description":"An API key, after ` + "`ApiKey`" + ` and a space."}`},
		{"without a credential 401", oneBook + "get > responses > 401 > $ref", `"#/components/responses/Unauthenticated"`},
		{"not allowed 403", oneBook + "get > responses > 403 > $ref", `"#/components/responses/PermissionDenied"`},
		{"too often 429", oneBook + "get > responses > 429 > $ref", `"#/components/responses/TooManyRequests"`},
		{"with the time to wait", "components > responses > TooManyRequests > headers > Retry-After > schema", `{"type":"integer"}`},
	} {
		f.check(t, doc)
	}
	fact{"a route that lets anonymous callers in says so", oneBook + "get > security", `[{"keys":[]},{}]`}.check(t, optional)
	fact{"a route without auth asks for nothing", oneBook + "get > security", "absent"}.check(t, open)
	fact{"nor is there a 401", oneBook + "get > responses > 401", "absent"}.check(t, open)
	if err := specification(t).Validate(doc); err != nil {
		t.Errorf("not valid: %v", err)
	}
	check := checker{T: t, doc: doc, seen: map[string]bool{}}
	check.document()
}
