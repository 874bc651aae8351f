package routing

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDotSegmentsReachNoRule(t *testing.T) {
	table := compile(t, "GET /v1/{a}:go", "GET /v1/{b=**}:go", "GET /v1/{c=**}")
	for _, path := range []string{
		"/v1/.", "/v1/..", "/v1/../x", "/v1/%2e", "/v1/%2E%2e", "/v1/.%2e/x", "/v1/..:go", "/v1/.:go", "/v1/%2e%2e:go", "/v1/x/..:go", "/..",
		"/v1/..:anything",
	} {
		if _, vars, outcome := table.Match(&Request{Method: "GET", Path: path}, nil); outcome != BadPath {
			t.Errorf("%s: outcome %d with %v, want BadPath", path, outcome, vars)
		}
	}
	for _, path := range []string{"/v1/...", "/v1/..x", "/v1/.well-known", "/v1/x:..", "/v1/...:go"} {
		if _, _, outcome := table.Match(&Request{Method: "GET", Path: path}, nil); outcome != Matched {
			t.Errorf("%s: outcome %d, want Matched", path, outcome)
		}
	}
}

func TestExactPathMatchesThatPathAlone(t *testing.T) {
	paths := []string{
		"/", "/a", "/a/", "/a//b", "/a:", "/a", "/a:b", "/a%3Ab", "/:a", "/:a:b", "/a:b:c", "/x/a:b/c", "/caf%C3%A9", "/a%2Fb", "/a/b",
	}
	for _, path := range paths {
		template, err := ExactPath(path)
		if err != nil {
			t.Fatal(err)
		}
		table, err := Compile([]Rule[string]{{Template: template, Value: path}})
		if err != nil {
			t.Fatal(err)
		}
		for _, asked := range paths {
			// %3A is a colon that begins no verb.
			if path == "/a%3Ab" && asked == "/a:b" {
				continue
			}
			_, _, outcome := table.Match(&Request{Method: "GET", Path: asked}, nil)
			if (outcome == Matched) != (asked == path) {
				t.Errorf("the rule for %s and the request for %s: outcome %d", path, asked, outcome)
			}
		}
	}
}

func TestHeadGoesWhereGetWouldGo(t *testing.T) {
	rule := func(name, method string, headers ...Header) Rule[string] {
		r := Rule[string]{Template: parse(t, "/x"), Headers: headers, Value: name, Origin: name}
		if method != "" {
			r.Methods = []string{method}
		}
		return r
	}
	two := Header{"X-Version", "2"}
	for _, c := range []struct {
		name  string
		rules []Rule[string]
		want  string
	}{
		{"the GET rule before one for any method", []Rule[string]{rule("get", "GET"), rule("any", "")}, "get"},
		{"a rule for HEAD itself before the GET rule", []Rule[string]{rule("get", "GET"), rule("head", "HEAD")}, "head"},
		{"the GET rule with more header conditions", []Rule[string]{rule("any", ""), rule("get two", "GET", two)}, "get two"},
		{"the HEAD rule with more header conditions", []Rule[string]{rule("get", "GET"), rule("head two", "HEAD", two)}, "head two"},
		{"a rule for any method where there is no GET", []Rule[string]{rule("any", ""), rule("post", "POST")}, "any"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				table, err := Compile(c.rules)
				if err != nil {
					t.Fatal(err)
				}
				got, _, _ := table.Match(&Request{Method: "HEAD", Path: "/x", Header: http.Header{"X-Version": {"2"}}}, nil)
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				slices.Reverse(c.rules)
			}
		})
	}
}

func TestAnExactHeaderValueComesBeforeAnyValue(t *testing.T) {
	rules := []Rule[string]{
		{Template: parse(t, "/x"), Headers: []Header{{"X-Tenant", "*"}}, Value: "any"},
		{Template: parse(t, "/x"), Headers: []Header{{"X-Tenant", "acme"}}, Value: "acme"},
	}
	for range 2 {
		table, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		for tenant, want := range map[string]string{"acme": "acme", "other": "any"} {
			if got, _, _ := table.Match(&Request{Method: "GET", Path: "/x", Header: http.Header{"X-Tenant": {tenant}}}, nil); got != want {
				t.Errorf("tenant %s: %q, want %q", tenant, got, want)
			}
		}
		slices.Reverse(rules)
	}
}

func TestTheNextHostIsTriedWhereTheMoreSpecificHasNoMatch(t *testing.T) {
	table := compile(t, "GET api.example.com /a", "GET *.example.com /b", "GET /c", "POST /a", "PUT *.example.com /a")
	for _, c := range []struct {
		method, host, path string
		outcome            Outcome
		allow              []string
	}{
		{"GET", "api.example.com", "/a", Matched, nil},
		{"GET", "api.example.com", "/b", Matched, nil},
		{"GET", "api.example.com", "/c", Matched, nil},
		{"POST", "api.example.com", "/a", Matched, nil},
		{"DELETE", "api.example.com", "/a", MethodNotAllowed, []string{"GET", "HEAD", "POST", "PUT"}},
		{"GET", "x.example.com", "/a", MethodNotAllowed, []string{"POST", "PUT"}},
		{"GET", "example.com", "/b", NotFound, nil},
		{"GET", "notexample.com", "/b", NotFound, nil},
	} {
		r := &Request{Method: c.method, Host: c.host, Path: c.path}
		if _, _, outcome := table.Match(r, nil); outcome != c.outcome {
			t.Errorf("%s %s%s: outcome %d, want %d", c.method, c.host, c.path, outcome, c.outcome)
		}
		if c.outcome == MethodNotAllowed {
			if allow := table.Allow(r); !slices.Equal(allow, c.allow) {
				t.Errorf("%s%s: Allow %v, want %v", c.host, c.path, allow, c.allow)
			}
		}
	}
}

func TestAllowIsNilWhereAnyMethodIsTaken(t *testing.T) {
	table := compile(t, "ANY /a/{x}", "GET /a/b")
	if allow := table.Allow(&Request{Path: "/a/b"}); allow != nil {
		t.Errorf("Allow %v, want nil", allow)
	}
}

func TestAllowListsOnlyTheVerbThatIsMeant(t *testing.T) {
	table := compile(t, "POST /op/{name}:cancel", "GET /op/{name}", "POST /op/{name}:start")
	if allow := table.Allow(&Request{Path: "/op/1:cancel"}); !slices.Equal(allow, []string{"GET", "HEAD", "POST"}) {
		t.Errorf("Allow %v: {name} takes 1:cancel as well", allow)
	}
	if allow := table.Allow(&Request{Path: "/op/1"}); !slices.Equal(allow, []string{"GET", "HEAD"}) {
		t.Errorf("Allow %v", allow)
	}
}

func TestEveryDuplicateIsListed(t *testing.T) {
	_, err := Compile([]Rule[int]{
		{Template: parse(t, "/a"), Methods: []string{"GET"}, Origin: "one"},
		{Template: parse(t, "/a"), Methods: []string{"GET", "PUT"}, Origin: "two"},
		{Template: parse(t, "/a"), Methods: []string{"PUT"}, Origin: "three"},
		{Template: parse(t, "/a"), Hosts: []string{"x"}, Methods: []string{"GET"}, Origin: "another host"},
		{Template: parse(t, "/a"), Headers: []Header{{"X", "1"}}, Methods: []string{"GET"}, Origin: "another header"},
	})
	want := "two: matches the same requests as one\nthree: matches the same requests as two"
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

func TestValuesAreSubstringsOfThePath(t *testing.T) {
	table := compile(t, "GET /v1/{name=shelves/*/books/**}", "GET /v2/{a}/{b=*}:do")
	for path, want := range map[string]string{"/v1/shelves/1/books/2/3": "shelves/1/books/2/3", "/v2/x/y:do": "x"} {
		var vars Vars
		room := make(Vars, 0, 4)
		r := &Request{Method: "GET", Path: path}
		if n := testing.AllocsPerRun(50, func() { _, vars, _ = table.Match(r, room) }); n != 0 || vars[0].Value != want {
			t.Errorf("%s: %v allocations, %v", path, n, vars)
		}
	}
}

// A tree with both a literal and a wildcard at every level is the worst that configuration can do: its nodes are at
// most what the rules have segments, and a walk visits none twice.
func TestHostilePathsCostNoMoreThanTheRulesAllow(t *testing.T) {
	var rules []string
	for i := range 1 << 9 {
		var text strings.Builder
		for bit := range 9 {
			text.WriteString([]string{"/a", "/*"}[i>>bit&1])
		}
		rules = append(rules, "GET "+text.String()+"/end")
	}
	table := compile(t, append(rules, "GET /{all=**}:never")...)
	for _, path := range []string{
		strings.Repeat("/a", 9) + "/other", strings.Repeat("/a", 100_000), strings.Repeat("/", 100_000), strings.Repeat("/a%2Fb", 50_000),
		"/" + strings.Repeat(":", 100_000), "/" + strings.Repeat("a:", 50_000) + "b",
	} {
		start := time.Now()
		if _, _, outcome := table.Match(&Request{Method: "GET", Path: path}, nil); outcome != NotFound {
			t.Errorf("a path of %d bytes: outcome %d", len(path), outcome)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a path of %d bytes took %v", len(path), took)
		}
	}
}

func TestAHostLongerThanAnyNameIsUnderNoRuleOfAHost(t *testing.T) {
	rules := []string{"GET *.com /a", "POST /a"}
	for i := range 20 {
		rules = append(rules, fmt.Sprintf("GET *.example%d.com /a", i))
	}
	table := compile(t, rules...)
	for _, host := range []string{strings.Repeat("a.", 500_000) + "com", strings.Repeat(".", 1_000_000) + "com"} {
		start := time.Now()
		if _, _, outcome := table.Match(&Request{Method: "GET", Host: host, Path: "/a"}, nil); outcome != MethodNotAllowed {
			t.Errorf("outcome %d, want MethodNotAllowed", outcome)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a host of %d bytes took %v", len(host), took)
		}
	}
}
