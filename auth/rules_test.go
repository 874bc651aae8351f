package auth

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/routing"
)

// readShelf is a request of ada's to read shelf 7.
func readShelf() *Question {
	return &Question{
		ID: "r1", Method: "GET", Host: "api.example.com", Path: "/v1/shelves/7", Query: "view=full&twice=a&twice=b", Protocol: "HTTP/2.0",
		Header: http.Header{"X-Tenant": {"acme"}, "X-Twice": {"a", "b"}}, Client: netip.MustParseAddr("192.0.2.7"),
		Vars: routing.Vars{{Name: "shelf", Value: "7"}}, Route: "shop", Binding: "/v1/shelves/{shelf}", Calls: "/shop.v1.Catalog/GetShelf",
		Identity: (&Identity{Provider: "tokens", User: "ada", Roles: []string{"clerk", "reader"}, Scopes: []string{"shelves.read"},
			Claims: map[string]any{"tenant": "acme", "level": 3.0, "shelves": []any{"7", "8"}, "act": map[string]any{"sub": "eve"}}}).seal(),
	}
}

func rules(t testing.TB, cfg config.Authorize) *Rules {
	t.Helper()
	r, err := CompileRules("shop", &cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExpressionsSeeTheRequestTheIdentityTheRouteAndThePath(t *testing.T) {
	for _, c := range []struct {
		expression string
		want       bool
	}{
		{`request.method == "GET" && request.path == "/v1/shelves/7" && request.host == "api.example.com"`, true},
		{`request.protocol == "HTTP/2.0" && !request.upgrade && request.ip == "192.0.2.7"`, true},
		{`request.headers["x-tenant"] == "acme" && request.headers["X-TENANT"] == identity.claims.tenant`, true},
		{`request.headers["x-twice"] == "a, b"`, true},
		{`"x-tenant" in request.headers && !("x-other" in request.headers)`, true},
		{`request.headers["x-other"] == "acme"`, false}, // an error: there is none
		{`request.headers.exists(h, h == "x-tenant") && size(request.headers) == 2`, true},
		{`request.query["view"] == "full"`, true},
		{`request.query["twice"] == "a"`, false}, // of two, a backend might take the other
		{`request.time > timestamp("2020-01-01T00:00:00Z")`, true},
		{`identity.user == "ada" && identity.provider == "tokens" && identity.authenticated`, true},
		{`"clerk" in identity.roles && "shelves.read" in identity.scopes && identity.key_id == ""`, true},
		{`"admin" in identity.roles`, false},
		{`identity.claims.level >= 3.0 && identity.claims.act.sub == "eve"`, true},
		{`vars["shelf"] in identity.claims.shelves`, true},
		{`vars.shelf == "7"`, true},
		{`has(identity.claims.missing)`, false},
		{`identity.claims.missing == "x"`, false},
		{`identity.claims.missing == "x" || identity.user == "ada"`, true},
		{`route.name == "shop" && route.binding == "/v1/shelves/{shelf}" && route.method.endsWith("/GetShelf")`, true},
		{`identity.claims.tenant`, false}, // no truth value
	} {
		r := rules(t, config.Authorize{Rules: []config.AuthorizeRule{{Name: "r", Allow: c.expression}}})
		if v := r.Decide(readShelf()); v.Allowed != c.want || (v.Rule == "r") != c.want {
			t.Errorf("%s: %+v, want %v", c.expression, v, c.want)
		}
	}
}

func TestTheFirstRuleThatHoldsDecides(t *testing.T) {
	allow := func(name, e string) config.AuthorizeRule { return config.AuthorizeRule{Name: name, Allow: e} }
	deny := func(name, e string) config.AuthorizeRule { return config.AuthorizeRule{Name: name, Deny: e} }
	trial := func(name, e string) config.AuthorizeRule {
		return config.AuthorizeRule{Name: name, Deny: e, DryRun: true}
	}
	for _, c := range []struct {
		name string
		cfg  config.Authorize
		want Verdict
	}{
		{"an allow before a deny", config.Authorize{Rules: []config.AuthorizeRule{allow("a", "true"), deny("d", "true")}}, Verdict{true, "a", ""}},
		{"a deny before an allow", config.Authorize{Rules: []config.AuthorizeRule{deny("d", "true"), allow("a", "true")}}, Verdict{false, "d", ""}},
		{"none, which denies", config.Authorize{Rules: []config.AuthorizeRule{allow("a", "false")}}, Verdict{false, "otherwise", ""}},
		{"none, which allows where that is said", config.Authorize{Otherwise: "allow", Rules: []config.AuthorizeRule{deny("d", "false")}}, Verdict{true, "otherwise", ""}},
		{"an allow that fails does not hold", config.Authorize{Rules: []config.AuthorizeRule{allow("a", `vars["none"] == ""`)}}, Verdict{false, "otherwise", ""}},
		{"a deny that fails holds", config.Authorize{Otherwise: "allow", Rules: []config.AuthorizeRule{deny("d", `vars["none"] == ""`)}}, Verdict{false, "d", ""}},
		{"a rule in a trial only reports", config.Authorize{Rules: []config.AuthorizeRule{trial("t", "true"), trial("u", "true"), allow("a", "true")}}, Verdict{true, "a", "t"}},
		{"a trial of all rules only reports", config.Authorize{DryRun: true, Rules: []config.AuthorizeRule{deny("d", "true")}}, Verdict{true, "d", "d"}},
		{"so it does where none holds", config.Authorize{DryRun: true, Rules: []config.AuthorizeRule{allow("a", "false")}}, Verdict{true, "otherwise", "otherwise"}},
	} {
		if v := rules(t, c.cfg).Decide(readShelf()); v != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, v, c.want)
		}
	}
}

func TestBrokenExpressionsAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{`request.method == `, "allow:1:19: Syntax error"},
		{"true &&\n  request.nethod == \"GET\"", "allow:2:3: undeclared reference to 'request'"},
		{`identity.roles == "x"`, "allow:1:16: found no matching overload"},
		{`request.method`, "the expression is a string; expected true or false"},
		{strings.Repeat("true && ", 3000) + "true", "longer than 16384 bytes"},
		{`size([1,2,3,4,5,6,7,8,9,0].map(a, [1,2,3,4,5,6,7,8,9,0].map(b, [1,2,3,4,5,6,7,8,9,0].map(c, [1,2,3,4,5,6,7,8,9,0].map(d, [1,2,3,4,5,6,7,8,9,0].map(e, e)))))) > 0`, "does too much"},
	} {
		_, err := CompileRules("shop", &config.Authorize{Rules: []config.AuthorizeRule{{Pos: config.Position{File: "c.yaml", Line: 7, Column: 9}, Name: "r", Allow: c.expression}}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "c.yaml:7:9: route shop: authorize: rule r: allow:") {
			t.Errorf("%.40s: got %v, want %s", c.expression, err, c.want)
		}
	}
}

func TestAnExpressionThatDoesTooMuchIsEndedWhileItRuns(t *testing.T) {
	r := rules(t, config.Authorize{Rules: []config.AuthorizeRule{{Name: "deep", Allow: `identity.claims.list.all(a, identity.claims.list.all(b, identity.claims.list.all(c, a + b + c >= 0.0)))`}}})
	q := readShelf()
	list := make([]any, 400)
	for i := range list {
		list[i] = 1.0
	}
	q.Identity = (&Identity{Provider: "tokens", User: "ada", Claims: map[string]any{"list": list[:5]}}).seal()
	if v := r.Decide(q); !v.Allowed {
		t.Errorf("a small list is denied: %+v", v)
	}
	q.Identity = (&Identity{Provider: "tokens", User: "ada", Claims: map[string]any{"list": list}}).seal()
	if v := r.Decide(q); v.Allowed {
		t.Errorf("64 million steps are let pass: %+v", v)
	}
}

func TestAnExpressionAllocatesLittle(t *testing.T) {
	r := rules(t, config.Authorize{Rules: []config.AuthorizeRule{
		{Name: "banned", Deny: `identity.user == "eve"`},
		{Name: "own shelf", Allow: `request.method == "GET" && "clerk" in identity.roles && vars.shelf in identity.claims.shelves`},
	}})
	q := readShelf()
	if n := testing.AllocsPerRun(200, func() { r.Decide(q) }); n > 3 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRules(b *testing.B) {
	r := rules(b, config.Authorize{Rules: []config.AuthorizeRule{
		{Name: "own shelf", Allow: `request.method == "GET" && "clerk" in identity.roles && vars.shelf in identity.claims.shelves`},
	}})
	q := readShelf()
	b.ReportAllocs()
	for b.Loop() {
		if !r.Decide(q).Allowed {
			b.Fatal("denied")
		}
	}
}
