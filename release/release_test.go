package release

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
)

// releaseOf compiles the release r of a configuration that has the upstreams a to c.
func releaseOf(t testing.TB, text string) *Release {
	t.Helper()
	s, err := Compile(configOf(t, text).Releases, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Release("r")
}

func configOf(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("c.yaml", []byte(`upstreams:
  - {name: a, endpoints: ["127.0.0.1:1"]}
  - {name: b, endpoints: ["127.0.0.1:1"]}
  - {name: c, endpoints: ["127.0.0.1:1"]}
`+text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// of returns a request of a user, with headers as name, value, ...
func of(user string, headers ...string) (*admission.Request, *admission.Ticket) {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	client := netip.MustParseAddr("192.0.2.7")
	id := auth.Anonymous
	if user != "" {
		id = &auth.Identity{Provider: "main", User: user, Roles: []string{"role-of-" + user},
			Claims: map[string]any{"plan": "plan-of-" + user, "groups": []any{"all", "group-of-" + user}}}
	}
	route := &admission.Route{Policy: &admission.Policy{Name: "r"}, Binding: "/x"}
	return &admission.Request{Request: routing.Request{Method: "GET", Path: "/x", Header: h}, Client: client},
		&admission.Ticket{Route: route, Identity: id, Client: client}
}

func sideOf(r *Release, user string) string {
	q, t := of(user)
	return r.Choose(q, t).Name
}

func TestSharesAreWhatIsConfiguredWithinTheBoundsOfChance(t *testing.T) {
	const users = 20_000
	for _, percent := range []float64{0, 0.01, 1, 5, 50, 99.99, 100} {
		r := releaseOf(t, fmt.Sprintf(`releases: [{name: r, variants: [{name: canary, upstream: b, percent: %v}]}]`, percent))
		n := 0
		for i := range users {
			if sideOf(r, fmt.Sprintf("user-%d", i)) == "canary" {
				n++
			}
		}
		p := percent / 100
		if off := math.Abs(float64(n) - p*users); off > 5*math.Sqrt(users*p*(1-p)) {
			t.Errorf("%v %%: %d of %d users are with the canary", percent, n, users)
		}
	}
}

func TestNobodyGoesBackAsASharesGrows(t *testing.T) {
	const two = `releases: [{name: r, variants: [{name: one, upstream: b, percent: %v}, {name: two, upstream: c, percent: 20}]}]`
	before := releaseOf(t, fmt.Sprintf(two, 0.5))
	for _, percent := range []float64{0.51, 3, 40, 80} {
		after := releaseOf(t, fmt.Sprintf(two, percent))
		for i := range 2000 {
			user := fmt.Sprintf("user-%d", i)
			was, is := sideOf(before, user), sideOf(after, user)
			if was == "one" && is != "one" || was != config.Stable && is == config.Stable {
				t.Fatalf("at %v %% %s went from %s to %s", percent, user, was, is)
			}
		}
		before = after
	}
}

func TestARollbackMovesNobodyBetweenTheOthers(t *testing.T) {
	r := releaseOf(t, `releases: [{name: r, variants: [{name: one, upstream: b, percent: 30}, {name: two, upstream: c, percent: 30}]}]`)
	was := map[string]string{}
	for i := range 2000 {
		user := fmt.Sprintf("user-%d", i)
		was[user] = sideOf(r, user)
	}
	r.variants[0].share.Store(rolledBack)
	for user, side := range was {
		if side == "one" {
			side = config.Stable
		}
		if is := sideOf(r, user); is != side {
			t.Errorf("%s was with %s and is with %s", user, was[user], is)
		}
	}
}

// Another version of the gateway must not move callers from one side to the other.
func TestACallersPointIsTheSameForEver(t *testing.T) {
	for user, want := range map[string]uint64{"user-1": 595305680, "ann@example.com": 1860388435, "": 844752730} {
		if got := point(hashOf("shop-2026-03"), hashOf(user)); got != want {
			t.Errorf("%q is at %d, not at %d", user, got, want)
		}
	}
	if got := point(hashOf("shop-2026-03"), hashOfAddr(netip.MustParseAddr("192.0.2.7"))); got != 1286211393 {
		t.Errorf("the address is at %d", got)
	}
}

func TestReleasesDivideCallersIndependently(t *testing.T) {
	s, err := Compile(configOf(t, `releases:
  - {name: r, variants: [{name: canary, upstream: b, percent: 50}]}
  - {name: q, variants: [{name: canary, upstream: b, percent: 50}]}`).Releases, nil)
	if err != nil {
		t.Fatal(err)
	}
	both := 0
	for i := range 10_000 {
		user := fmt.Sprintf("user-%d", i)
		if sideOf(s.Release("r"), user) == "canary" && sideOf(s.Release("q"), user) == "canary" {
			both++
		}
	}
	if both < 2280 || both > 2720 { // five standard deviations around a quarter
		t.Errorf("%d of 10000 users are with both canaries, not about 2500", both)
	}
}

func TestACallerIsToldByWhatTheReleaseSays(t *testing.T) {
	tests := []struct {
		name, by string
		headers  []string
		same     bool // as the address alone
	}{
		{"a user", "user", nil, false},
		{"a header", "header:X-Tenant", []string{"X-Tenant", "t-%d"}, false},
		{"a cookie", "cookie:seat", []string{"Cookie", "odd; seat=s-%d"}, false},
		{"an address", "ip", []string{"X-Tenant", "t-%d"}, true},
		{"a header that is missing", "header:X-Tenant", nil, true},
		{"a header that is there twice", "header:X-Tenant", []string{"X-Tenant", "t-%d", "X-Tenant", "u-%d"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := releaseOf(t, fmt.Sprintf(`releases: [{name: r, by: %q, variants: [{name: canary, upstream: b, percent: 50}]}]`, test.by))
			sides := map[string]bool{}
			for i := range 64 {
				headers := append([]string(nil), test.headers...)
				for j := 1; j < len(headers); j += 2 {
					headers[j] = fmt.Sprintf(headers[j], i)
				}
				user := ""
				if test.by == "user" {
					user = fmt.Sprintf("user-%d", i)
				}
				q, ticket := of(user, headers...)
				first := r.Choose(q, ticket).Name
				if again := r.Choose(q, ticket).Name; again != first {
					t.Fatalf("request %d went to %s and then to %s", i, first, again)
				}
				sides[first] = true
			}
			if (len(sides) == 1) != test.same {
				t.Errorf("64 callers are on the sides %v", sides)
			}
		})
	}
}

func TestAClientWithoutTheCookieIsGivenOneThatKeepsItsSide(t *testing.T) {
	r := releaseOf(t, `releases: [{name: r, by: "cookie:seat", issue_cookie: {}, variants: [{name: canary, upstream: b, percent: 50}]}]`)
	seen := map[string]bool{}
	for range 64 {
		q, ticket := of("")
		first := r.Choose(q, ticket)
		if first.Cookie == "" {
			t.Fatal("no cookie is issued")
		}
		seen[first.Name] = true
		q, ticket = of("", "Cookie", "seat="+first.Cookie)
		if again := r.Choose(q, ticket); again.Name != first.Name || again.Cookie != "" {
			t.Fatalf("with its cookie a client goes from %s to %s, and is given %q", first.Name, again.Name, again.Cookie)
		}
	}
	if len(seen) != 2 {
		t.Errorf("all of 64 clients are on one side: %v", seen)
	}
}

func TestCohortsAndTestersComeBeforeShares(t *testing.T) {
	const text = `releases:
  - name: r
    force: {header: X-Side, roles: [role-of-tester], addresses: [198.51.100.0/24]}
    variants:
      - {name: one, upstream: b, cohorts: [{header: x-beta, values: ["1", "yes"]}, {claim: plan, values: [plan-of-ann]}, {claim: groups, values: [group-of-bob]}]}
      - {name: two, upstream: c, cohorts: [{cookie: beta}, {when: 'request.path == "/x" && identity.user.startsWith("q")'}]}`
	tests := []struct {
		name, user string
		headers    []string
		client     string
		want       string
		rolledBack string // with one of them rolled back
	}{
		{name: "nobody in particular", user: "eve", want: "stable", rolledBack: "stable"},
		{name: "a header", headers: []string{"X-Beta", "yes"}, want: "one", rolledBack: "stable"},
		{name: "a header with another value", headers: []string{"X-Beta", "no"}, want: "stable", rolledBack: "stable"},
		{name: "a claim", user: "ann", want: "one", rolledBack: "stable"},
		{name: "an element of a claim", user: "bob", want: "one", rolledBack: "stable"},
		{name: "a cookie of any value", headers: []string{"Cookie", "a=b; beta=x"}, want: "two", rolledBack: "two"},
		{name: "an expression", user: "queen", want: "two", rolledBack: "two"},
		{name: "a cohort of each", user: "queen", headers: []string{"X-Beta", "1"}, want: "one", rolledBack: "stable"},
		{name: "a tester by role", user: "tester", headers: []string{"X-Side", "one"}, want: "one", rolledBack: "one"},
		{name: "a tester by address", client: "198.51.100.9", headers: []string{"X-Side", "two"}, want: "two", rolledBack: "two"},
		{name: "a tester who wants stable", user: "tester", headers: []string{"X-Side", "stable", "X-Beta", "1"}, want: "stable", rolledBack: "stable"},
		{name: "a tester who wants what is not there", user: "tester", headers: []string{"X-Side", "three"}, want: "stable", rolledBack: "stable"},
		{name: "somebody who is no tester", user: "eve", headers: []string{"X-Side", "one"}, want: "stable", rolledBack: "stable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := releaseOf(t, text)
			q, ticket := of(test.user, test.headers...)
			if test.client != "" {
				ticket.Client = netip.MustParseAddr(test.client)
			}
			if got := r.Choose(q, ticket).Name; got != test.want {
				t.Errorf("goes to %s, not to %s", got, test.want)
			}
			r.variants[0].share.Store(rolledBack)
			if got := r.Choose(q, ticket).Name; got != test.rolledBack {
				t.Errorf("once one is rolled back goes to %s, not to %s", got, test.rolledBack)
			}
		})
	}
}

// measured gives a release its metrics, as being in force does.
func measured(t testing.TB, r *Release) {
	t.Helper()
	tel := telemetry.New(config.Log{}, io.Discard)
	t.Cleanup(tel.Close)
	newController(Options{Telemetry: tel}).Install(&Set{map[string]*Release{"r": r}})
}

func TestAChoiceAllocatesNothing(t *testing.T) {
	r := releaseOf(t, `releases:
  - name: r
    by: cookie:seat
    force: {roles: [tester]}
    variants:
      - {name: one, upstream: b, percent: 20, cohorts: [{header: X-Beta}, {cookie: beta}, {claim: groups, values: [x]}]}
      - {name: two, upstream: c, percent: 20}`)
	measured(t, r)
	q, ticket := of("ann", "Cookie", "seat=12345; other=1")
	if n := testing.AllocsPerRun(100, func() {
		c := r.Choose(q, ticket)
		c.Observe(Failed, time.Millisecond, false)
	}); n != 0 {
		t.Errorf("a choice and its outcome allocate %v times", n)
	}
}

func TestABucketIsNoWiderThanAnEighthOfWhatItCounts(t *testing.T) {
	if err := quick.Check(func(n uint64) bool {
		d := time.Duration(n % uint64(2*time.Minute))
		end := bucketEnd(bucketOf(d))
		return d < end && end-d <= max(d/8, delayUnit)+delayUnit
	}, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
	if bucketOf(time.Hour) != delayBuckets-1 {
		t.Error("an hour is not in the last bucket")
	}
}

func TestAnExpressionThatIsNoneIsRefusedWithItsPlace(t *testing.T) {
	_, err := Compile(configOf(t, `releases: [{name: r, variants: [{name: canary, upstream: b, cohorts: [{when: "identity.usr == 'x'"}]}]}]`).Releases, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:5:") || !strings.Contains(err.Error(), "release r: variant canary: cohorts: when:1:1: undeclared reference") {
		t.Error(err)
	}
}

func TestTheManualsConfigurationIsOne(t *testing.T) {
	page, err := os.ReadFile("../docs/releases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(text, "```")
	cfg, err := config.Parse("releases.md", []byte(text))
	if err != nil || !found {
		t.Fatal(err)
	}
	if _, err := Compile(cfg.Releases, nil); err != nil || len(cfg.Releases) != 1 {
		t.Error(err)
	}
}

func BenchmarkChoose(b *testing.B) {
	r := releaseOf(b, `releases: [{name: r, variants: [{name: canary, upstream: b, percent: 5}]}]`)
	measured(b, r)
	q, ticket := of("some-user-of-the-usual-length")
	b.ReportAllocs()
	for b.Loop() {
		c := r.Choose(q, ticket)
		c.Observe(Answered, time.Millisecond, false)
	}
}
