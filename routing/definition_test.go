package routing

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// definition is the precedence of doc.go written down as a scan over every rule, as slow and as plain as can be.
// Tables are held against it.
type definition []Rule[int]

// claim is how one rule matches a request: the ranks of what is compared, in order, the smaller the more specific.
type claim struct {
	rule  *Rule[int]
	ranks []int
	vars  Vars
}

func (d definition) match(r *Request) (int, Vars, Outcome) {
	if !definedPath(r.Path) {
		return 0, nil, BadPath
	}
	var best *claim
	outcome := NotFound
	for i := range d {
		c := claimOf(&d[i], r)
		if c == nil {
			continue
		}
		method := methodRank(c.rule.Methods, r.Method)
		if method < 0 {
			if outcome == NotFound {
				outcome = MethodNotAllowed
			}
			continue
		}
		if c.ranks = append(c.ranks, method); best == nil || slices.Compare(c.ranks, best.ranks) < 0 {
			best, outcome = c, Matched
		}
	}
	if best == nil {
		return 0, nil, outcome
	}
	return best.rule.Value, best.vars, Matched
}

func definedPath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	parts := strings.Split(path[1:], "/")
	stem, _ := definedVerb(parts[len(parts)-1])
	for _, p := range append(parts, stem) {
		if text, err := url.PathUnescape(p); err != nil || text == "." || text == ".." {
			return false
		}
	}
	return true
}

func definedVerb(segment string) (stem, verb string) {
	if i := strings.LastIndexByte(segment, ':'); i > 0 && i < len(segment)-1 {
		return segment[:i], segment[i+1:]
	}
	return segment, ""
}

// methodRank is 0 for the method itself, 1 for GET that stands in for HEAD, 2 for any method, -1 for none of these.
func methodRank(methods []string, method string) int {
	switch {
	case len(methods) == 0:
		return 2
	case slices.Contains(methods, method):
		return 0
	case method == http.MethodHead && slices.Contains(methods, http.MethodGet):
		return 1
	}
	return -1
}

// claimOf returns nil for a rule that does not have the request's host, path and headers, whatever the method.
func claimOf(rule *Rule[int], r *Request) *claim {
	host := -1
	for _, h := range rule.Hosts {
		rank := -1
		if suffix, ok := strings.CutPrefix(h, "*"); ok && strings.HasSuffix(strings.ToLower(r.Host), suffix) {
			rank = 1000 - len(suffix)
		} else if h == strings.ToLower(r.Host) {
			rank = 0
		}
		if rank >= 0 && (host < 0 || rank < host) {
			host = rank
		}
	}
	if len(rule.Hosts) == 0 {
		host = 1000
	}
	if host < 0 {
		return nil
	}
	exact := 0
	for _, c := range rule.Headers {
		values := r.Header[c.Name]
		if c.Value == "*" && len(values) > 0 {
			continue
		}
		if !slices.Contains(values, c.Value) {
			return nil
		}
		exact++
	}
	c := &claim{rule: rule, ranks: []int{host}}
	if !c.path(r.Path) {
		return nil
	}
	c.ranks = append(c.ranks, -len(rule.Headers), -exact)
	return c
}

func (c *claim) path(path string) bool {
	t := c.rule.Template
	parts := strings.Split(path[1:], "/")
	verbRank := 1
	if t.verb != "" {
		stem, verb := definedVerb(parts[len(parts)-1])
		if decoded, _ := url.PathUnescape(verb); verb == "" || decoded != t.verb {
			return false
		}
		parts[len(parts)-1], verbRank = stem, 0
	}
	c.ranks = append(c.ranks, verbRank)
	ends := true
	for i, s := range t.segments {
		part, there := "", i < len(parts)
		if there {
			part, _ = url.PathUnescape(parts[i])
		}
		switch s.kind {
		case literal:
			if !there || part != s.literal {
				return false
			}
			c.ranks = append(c.ranks, 1)
		case single:
			if part == "" {
				return false
			}
			c.ranks = append(c.ranks, 2)
		case multi:
			c.ranks = append(c.ranks, 3)
			ends = false
		case rest:
			if !there {
				return false
			}
			c.ranks = append(c.ranks, 4)
			ends = false
		}
	}
	if ends && len(parts) != len(t.segments) {
		return false
	}
	// A template that ends with the path is more specific than one whose ** takes nothing.
	c.ranks = append(c.ranks, 0)
	for len(c.ranks) < 40 {
		c.ranks = append(c.ranks, 0)
	}
	for _, v := range t.vars {
		to := v.to
		if v.open {
			to = len(parts)
		}
		value := ""
		if v.manySegments() {
			value = keepSlashes(strings.Join(parts[min(v.from, to):to], "/"))
		} else {
			value, _ = url.PathUnescape(parts[v.from])
		}
		c.vars = append(c.vars, Var{v.field, value})
	}
	return true
}

// keepSlashes decodes all but %2F and %2f.
func keepSlashes(s string) string {
	s = strings.NewReplacer("%2F", "%252F", "%2f", "%252f").Replace(s)
	s, _ = url.PathUnescape(s)
	return s
}

// invent makes a small random table: few words, so that rules meet often. It leaves out rules that are the same.
func invent(random *rand.Rand) definition {
	word := func(from ...string) string { return from[random.IntN(len(from))] }
	var rules definition
	for range 1 + random.IntN(14) {
		var text strings.Builder
		depth := 1 + random.IntN(4)
		for i := range depth {
			text.WriteByte('/')
			switch last := i == depth-1; {
			case last && random.IntN(5) == 0:
				text.WriteString(word("**", "{m=**}", "{m=a/**}"))
			case random.IntN(6) == 0 && i == 0:
				text.WriteString(word("{n=a/*}", "{n=*/b}"))
			default:
				text.WriteString(word("a", "a", "b", "c%2Fd", "*", fmt.Sprintf("{v%d}", i)))
			}
		}
		text.WriteString(word("", "", "", ":x", ":y"))
		template, err := ParseTemplate(text.String())
		if err == nil && random.IntN(8) == 0 {
			template, err = PathPrefix(word("/", "/a/", "/a/b/"))
		}
		if err == nil && random.IntN(8) == 0 {
			template, err = ExactPath(word("/", "/a", "/a/", "/a:x", "/a/b:y", "/a%3Ax"))
		}
		if err != nil {
			panic(err)
		}
		rule := Rule[int]{Template: template, Value: len(rules) + 1, Origin: text.String()}
		if random.IntN(3) > 0 {
			rule.Methods = []string{word("GET", "POST", "HEAD")}
		}
		if random.IntN(3) == 0 {
			rule.Hosts = []string{word("a.example.com", "*.example.com", "*.a.example.com")}
		}
		if random.IntN(4) == 0 {
			rule.Headers = append(rule.Headers, Header{"X-A", word("1", "*")})
		}
		if random.IntN(6) == 0 {
			rule.Headers = append(rule.Headers, Header{"X-B", word("1", "*")})
		}
		if _, err := Compile(append(slices.Clone(rules), rule)); err == nil {
			rules = append(rules, rule)
		}
	}
	return rules
}

func ask(random *rand.Rand) *Request {
	word := func(from ...string) string { return from[random.IntN(len(from))] }
	var path strings.Builder
	for range 1 + random.IntN(5) {
		path.WriteString("/" + word("a", "a", "b", "b", "c%2Fd", "c%2fd%20", "", "%61", "e", "..", "a%3Ax"))
	}
	path.WriteString(word("", "", "", ":x", ":y", ":", ":a:x", "%3Ax"))
	r := &Request{Method: word("GET", "GET", "POST", "HEAD", "PUT"), Path: path.String(), Header: http.Header{}}
	r.Host = word("", "a.example.com", "b.example.com", "B.a.example.com", "example.com")
	for _, name := range []string{"X-A", "X-B"} {
		if v := word("", "1", "2"); v != "" {
			r.Header[name] = []string{v}
		}
	}
	return r
}

func TestATableAnswersAsTheDefinitionDoesInAnyOrderOfRules(t *testing.T) {
	matched := 0
	for seed := range uint64(1500) {
		random := rand.New(rand.NewPCG(seed, 1))
		rules := invent(random)
		shuffled := slices.Clone(rules)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		table, err := Compile(shuffled)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			r := ask(random)
			want, wantVars, wantOutcome := rules.match(r)
			got, vars, outcome := table.Match(r, nil)
			if got != want && tied(rules, r, got, want) {
				continue
			}
			if got != want || outcome != wantOutcome || !slices.Equal(vars, wantVars) {
				t.Fatalf("seed %d: %+v: rule %d %v outcome %d, want %d %v %d\n%s", seed, r, got, vars, outcome, want, wantVars, wantOutcome, rules)
			}
			if outcome == Matched {
				matched++
			}
		}
	}
	if matched < 5000 {
		t.Errorf("only %d requests matched: the test tries too little", matched)
	}
}

// tied reports whether two rules differ in nothing that the definition ranks: as many conditions on other headers, or
// a variable's wildcard in place of a bare one. Those are told apart by the headers' names.
func tied(rules definition, r *Request, a, b int) bool {
	if a == 0 || b == 0 {
		return false
	}
	x, y := claimOf(&rules[a-1], r), claimOf(&rules[b-1], r)
	return x != nil && y != nil && slices.Equal(x.ranks, y.ranks) && headerKey(x.rule.Headers) != headerKey(y.rule.Headers) &&
		methodRank(x.rule.Methods, r.Method) >= 0 && methodRank(y.rule.Methods, r.Method) >= 0
}

func (d definition) String() string {
	lines := make([]string, len(d))
	for i, r := range d {
		lines[i] = fmt.Sprintf("%d: %v %s%s %v", r.Value, r.Methods, cmp.Or(strings.Join(r.Hosts, ","), "any"), r.Template, r.Headers)
	}
	return strings.Join(lines, "\n")
}
