package routing

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func parse(t testing.TB, text string) *Template {
	t.Helper()
	parsed, err := ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// compile makes a table of rules written as "METHOD template" or "METHOD host template", valued by that text, in a
// random order.
func compile(t testing.TB, rules ...string) *Table[string] {
	t.Helper()
	var list []Rule[string]
	for _, text := range rules {
		f := strings.Fields(text)
		r := Rule[string]{Template: parse(t, f[len(f)-1]), Value: text, Origin: text}
		if f[0] != "ANY" {
			r.Methods = []string{f[0]}
		}
		if len(f) == 3 {
			r.Hosts = []string{f[1]}
		}
		list = append(list, r)
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	table, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMatchFollowsHTTPProto(t *testing.T) {
	for _, c := range []struct {
		template, path string
		want           string // "field=value ..." or "-" for no match
	}{
		{"/v1/messages/{message_id}", "/v1/messages/123456", "message_id=123456"},
		{"/v1/{name=messages/*}", "/v1/messages/123456", "name=messages/123456"},
		{"/v1/{name=messages/*}", "/v1/messages/1/2", "-"},
		{"/v1/{name=shelves/*/books/**}", "/v1/shelves/1/books/a/b", "name=shelves/1/books/a/b"},
		{"/v1/{name=shelves/*/books/**}", "/v1/shelves/1/books", "name=shelves/1/books"},
		{"/v1/{name=**}", "/v1/a/b/c", "name=a/b/c"},
		{"/v1/{name=**}", "/v1", "name="},
		{"/v1/users/{user_id}/messages/{message_id}", "/v1/users/me/messages/1", "user_id=me message_id=1"},
		{"/v1/{a}", "/v1/", "-"},
		{"/v1/{a}", "/v1/x/", "-"},
		{"/v1/x", "/v1/x/", "-"},
		{"/v1/{name}:cancel", "/v1/op:cancel", "name=op"},
		{"/v1/{name}:cancel", "/v1/op:start", "-"},
		{"/v1/{name}", "/v1/op:start", "name=op:start"},
		{"/v1/{name=**}:cancel", "/v1/a/b:cancel", "name=a/b"},
		{"/v1/{a}", "/v1/a%2Fb%20c", "a=a/b c"},
		{"/v1/{a=**}", "/v1/a%2Fb%20c/d%2fe%C3%A9", "a=a%2Fb c/d%2feé"},
		{"/v1/{a=x/*}", "/v1/x/%41%2F", "a=x/A%2F"},
		{"/v1/foo", "/v1/%66oo", ""},
		{"/v1/café", "/v1/caf%C3%A9", ""},
		{"/v1/{a}:go", "/v1/b%3Ago", "-"},
		{"/v1/{a}:go", "/v1/%41:go", "a=A"},
		{"/v1/{a=**}:go", "/v1/x/%41:go", "a=x/A"},
	} {
		t.Run(c.template+" "+c.path, func(t *testing.T) {
			_, vars, outcome := compile(t, "GET "+c.template).Match(&Request{Method: "GET", Path: c.path}, nil)
			var got []string
			for _, v := range vars {
				got = append(got, v.Name+"="+v.Value)
			}
			text := strings.Join(got, " ")
			if outcome != Matched {
				text = "-"
			}
			if text != c.want {
				t.Errorf("got %q (%d), want %q", text, outcome, c.want)
			}
		})
	}
}

func TestTheMostSpecificRuleIsMeantInAnyOrder(t *testing.T) {
	rules := []string{
		"GET /v1/items/{id}", "GET /v1/items/latest", "GET /v1/items/{id=**}", "GET /v1/{a}/latest", "GET /v1/items/{id}:open",
		"ANY /v1/items/{id}", "GET api.example.com /v1/items/{id}", "GET *.example.com /v1/items/{id}",
		"GET *.eu.example.com /v1/items/{id}", "POST /v1/items/{id}:open",
	}
	for _, c := range []struct{ method, host, path, want string }{
		{"GET", "", "/v1/items/latest", "GET /v1/items/latest"},
		{"GET", "", "/v1/items/7", "GET /v1/items/{id}"},
		{"DELETE", "", "/v1/items/7", "ANY /v1/items/{id}"},
		{"DELETE", "", "/v1/items/latest", "ANY /v1/items/{id}"},
		{"GET", "", "/v1/items/7/8", "GET /v1/items/{id=**}"},
		{"GET", "", "/v1/other/latest", "GET /v1/{a}/latest"},
		{"GET", "", "/v1/items/7:open", "GET /v1/items/{id}:open"},
		{"POST", "", "/v1/items/7:open", "POST /v1/items/{id}:open"},
		{"DELETE", "", "/v1/items/7:open", "ANY /v1/items/{id}"},
		{"GET", "API.example.com", "/v1/items/7", "GET api.example.com /v1/items/{id}"},
		{"GET", "x.example.com", "/v1/items/7", "GET *.example.com /v1/items/{id}"},
		{"GET", "x.y.example.com", "/v1/items/7", "GET *.example.com /v1/items/{id}"},
		{"GET", "x.eu.example.com", "/v1/items/7", "GET *.eu.example.com /v1/items/{id}"},
		{"GET", "example.com", "/v1/items/7", "GET /v1/items/{id}"},
		{"GET", "api.example.com", "/v1/items/latest", "GET api.example.com /v1/items/{id}"},
		{"HEAD", "", "/v1/items/latest", "GET /v1/items/latest"},
	} {
		for range 5 {
			got, _, outcome := compile(t, rules...).Match(&Request{Host: c.host, Method: c.method, Path: c.path}, nil)
			if got != c.want {
				t.Errorf("%s %s%s: %q (%d), want %q", c.method, c.host, c.path, got, outcome, c.want)
			}
		}
	}
}

func TestHeaderConditions(t *testing.T) {
	rule := func(name string, headers ...Header) Rule[string] {
		return Rule[string]{Template: parse(t, "/x"), Headers: headers, Value: name, Origin: name}
	}
	table, err := Compile([]Rule[string]{
		rule("plain"), rule("version two", Header{"X-Version", "2"}), rule("any tenant", Header{"X-Tenant", "*"}),
		rule("both", Header{"X-Version", "2"}, Header{"X-Tenant", "a"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		header http.Header
	}{
		{"plain", nil},
		{"plain", http.Header{"X-Version": {"3"}}},
		{"version two", http.Header{"X-Version": {"1", "2"}}},
		{"any tenant", http.Header{"X-Tenant": {"b"}}},
		{"both", http.Header{"X-Version": {"2"}, "X-Tenant": {"a"}}},
	} {
		if got, _, _ := table.Match(&Request{Method: "GET", Path: "/x", Header: c.header}, nil); got != c.want {
			t.Errorf("%v: %q, want %q", c.header, got, c.want)
		}
	}
}

func TestPrefixesAndExactPaths(t *testing.T) {
	prefix := func(p string) *Template {
		t.Helper()
		parsed, err := PathPrefix(p)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	exact, err := ExactPath("/ws")
	if err != nil {
		t.Fatal(err)
	}
	root, err := ExactPath("/")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Compile([]Rule[string]{
		{Template: prefix("/"), Value: "all"}, {Template: prefix("/v1/"), Value: "v1"}, {Template: exact, Value: "ws"},
		{Template: root, Value: "root"}, {Template: parse(t, "/v1/{a}"), Methods: []string{"GET"}, Value: "a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "root", "/ws": "ws", "/ws/": "all", "/v1": "all", "/v1/": "v1", "/v1/x": "a", "/v1/x/y": "v1", "/v1//": "v1",
	} {
		if got, _, _ := table.Match(&Request{Method: "GET", Path: path}, nil); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestOutcomes(t *testing.T) {
	table := compile(t, "GET /v1/x", "POST /v1/x", "PUT /v1/{a}", "GET /v1/{a=**}:do")
	for _, c := range []struct {
		method, path string
		want         Outcome
	}{
		{"GET", "/v1/x", Matched}, {"DELETE", "/v1/x", MethodNotAllowed}, {"GET", "/nothing", NotFound},
		{"GET", "/v1/%zz", BadPath}, {"GET", "/v1/..", BadPath}, {"GET", "/v1/%2e%2E/x", BadPath}, {"GET", "/v1/./x", BadPath},
		{"GET", "", BadPath}, {"OPTIONS", "*", BadPath}, {"GET", "/v1/%", BadPath},
	} {
		if _, _, got := table.Match(&Request{Method: c.method, Path: c.path}, nil); got != c.want {
			t.Errorf("%s %s: outcome %d, want %d", c.method, c.path, got, c.want)
		}
	}
	if got := table.Allow(&Request{Path: "/v1/x"}); !slices.Equal(got, []string{"GET", "HEAD", "POST", "PUT"}) {
		t.Errorf("Allow = %v", got)
	}
}

func TestCompileRefusesDuplicatesAndNamesBoth(t *testing.T) {
	_, err := Compile([]Rule[int]{
		{Template: parse(t, "/v1/{a}"), Methods: []string{"GET"}, Origin: "one.yaml:1:1"},
		{Template: parse(t, "/v1/{b}"), Methods: []string{"GET", "PUT"}, Origin: "two.yaml:2:2"},
		{Template: parse(t, "/v1/x/{c=*}:do"), Origin: "three.yaml:3:3"},
		{Template: parse(t, "/v1/x/*:do"), Origin: "four.yaml:4:4"},
		{Template: parse(t, "/v1/x/*:do"), Methods: []string{"GET"}, Origin: "five.yaml:5:5"},
	})
	want := "two.yaml:2:2: matches the same requests as one.yaml:1:1\nfour.yaml:4:4: matches the same requests as three.yaml:3:3"
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := compile(t, "GET /v1/{name=shelves/*/books/*}", "GET api.example.com /v1/{a}/{b}")
	vars := make(Vars, 0, 4)
	r := &Request{Host: "api.example.com", Method: "GET", Path: "/v1/shelves/1/books/2"}
	if n := testing.AllocsPerRun(100, func() { _, vars, _ = table.Match(r, vars) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMatch holds tables of fuzzed templates against the definition. A word of templates may have the method before it:
// "POST/v1/x".
func FuzzMatch(f *testing.F) {
	f.Add("/a/b /a/{x} /a/{x=**} /{y}/b:v", "GET", "/a/b:v")
	f.Add("/{a=**} POST/x/* /x/y/z:q HEAD/x/{a=y/*}", "HEAD", "/x/y/z:q")
	f.Add("/v1/{name=shelves/*/books/**} GET/v1/{a}/{b=**}:go PUT/v1/caf%C3%A9", "PUT", "/v1/shelves/%41%2F/books/c%2fd%20/e:go")
	f.Fuzz(func(t *testing.T, templates, method, path string) {
		var rules definition
		for text := range strings.FieldsSeq(templates) {
			methods, rest, _ := strings.Cut(text, "/")
			template, err := ParseTemplate("/" + rest)
			if err != nil || len(template.segments) > 30 || len(rules) == 20 {
				continue
			}
			rule := Rule[int]{Template: template, Value: len(rules) + 1, Origin: text}
			if methods != "" {
				rule.Methods = []string{methods}
			}
			rules = append(rules, rule)
		}
		table, err := Compile(rules)
		if err != nil {
			return
		}
		r := &Request{Method: method, Path: path}
		want, wantVars, wantOutcome := rules.match(r)
		got, vars, outcome := table.Match(r, nil)
		if got != want || outcome != wantOutcome || !slices.Equal(vars, wantVars) {
			t.Fatalf("%s %q in %q: rule %d %v outcome %d, want %d %v %d", method, path, templates, got, vars, outcome, want, wantVars, wantOutcome)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var rules []string
		for i := range n {
			rules = append(rules, fmt.Sprintf("GET /v1/service%d/{name=things/*}/parts/{part}", i))
		}
		table := compile(b, rules...)
		vars := make(Vars, 0, 4)
		r := &Request{Host: "api.example.com", Method: "GET", Path: fmt.Sprintf("/v1/service%d/things/abc/parts/def", n/2)}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, vars, _ = table.Match(r, vars)
			}
		})
	}
}

func TestHostRankOrdersAsMatchDoes(t *testing.T) {
	template, err := ExactPath("/")
	if err != nil {
		t.Fatal(err)
	}
	rules := [][]string{nil, {"*.com"}, {"*.example.com", "other.org"}, {"api.example.com"}, {"*.b.example.com"}}
	var table []Rule[int]
	for i, hosts := range rules {
		table = append(table, Rule[int]{Hosts: hosts, Template: template, Value: i})
	}
	compiled, err := Compile(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"api.example.com", "API.example.COM", "b.example.com", "a.b.example.com", "example.com", ".example.com", "com", "other.org", "x.other.org", "", "192.0.2.1",
		strings.Repeat("a", 300) + ".example.com",
	} {
		want, _, _ := compiled.Match(&Request{Host: host, Method: "GET", Path: "/"}, nil)
		best, most := -1, -1
		for i, hosts := range rules {
			if rank := HostRank(hosts, host); rank > most {
				best, most = i, rank
			}
		}
		if best != want {
			t.Errorf("%s: rule %d ranks highest, and rule %d matches", host, best, want)
		}
	}
}
