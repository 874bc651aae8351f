package admission

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "0123456789abcdef0123456789abcdef"

// setUp is an admitter with one route for GET and POST of /items/{id}.
type setUp struct {
	*Admitter
	route *Route
}

func admitter(t testing.TB, cfg config.Route, stores Stores) setUp {
	t.Helper()
	providers, err := auth.Compile([]config.AuthProvider{
		{Name: "tokens", JWT: &config.JWT{Secret: secret, UserClaim: "sub", RolesClaim: "roles", ScopesClaim: "scope", MaxSize: 8 << 10},
			From: []config.CredentialSource{{Header: "Authorization"}, {Query: "token"}, {Subprotocol: "bearer."}, {Cookie: "session"}}},
		{Name: "keys", APIKeys: &config.APIKeys{Keys: []config.APIKey{
			{ID: "k1", Key: "key-one", User: "ada"}, {ID: "k2", Key: "key-two", User: "ada"},
		}}},
	}, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.Close)
	if cfg.Name == "" {
		cfg.Name = "shop"
	}
	if stores.Memory == nil {
		stores.Memory = ratelimit.NewMemory()
	}
	policy, err := CompilePolicy(&cfg, providers, stores)
	if err != nil {
		t.Fatal(err)
	}
	template, err := routing.ParseTemplate("/items/{id}")
	if err != nil {
		t.Fatal(err)
	}
	route := &Route{Policy: policy, Binding: template.String()}
	table, err := routing.Compile([]routing.Rule[*Route]{{Methods: []string{"GET", "POST"}, Template: template, Value: route, Origin: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	return setUp{New(table), route}
}

// request is GET /items/7 from an address, with headers given as name and value in turn.
func request(client string, headers ...string) *Request {
	r := &Request{Client: netip.MustParseAddr(client)}
	r.Method, r.Path, r.Header = "GET", "/items/7", http.Header{}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func token(t testing.TB, user string, roles ...string) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
		jwt.MapClaims{"sub": user, "roles": roles, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func as(t testing.TB, user string, roles ...string) []string {
	return []string{"Authorization", "Bearer " + token(t, user, roles...)}
}

// kind tries a request and returns how it was refused, 0 for an admission.
func (s setUp) kind(t testing.TB, r *Request) Kind {
	t.Helper()
	var ticket Ticket
	if f := s.Admit(t.Context(), r, &ticket); f != nil {
		if f.Reason == "" || f.Error() != f.Reason {
			t.Errorf("a refusal without a reason: %+v", f)
		}
		return f.Kind
	}
	return 0
}

func once(per string) config.RateLimit {
	return config.RateLimit{Per: []string{per}, Rate: config.Rate{Events: 1, Per: time.Hour}}
}

func TestAdmission(t *testing.T) {
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}, RateLimits: []config.RateLimit{once("ip"), once("user")}}, Stores{})
	var ticket Ticket
	if f := s.Admit(t.Context(), request("192.0.2.1", as(t, "ada")...), &ticket); f != nil {
		t.Fatal(f)
	}
	if ticket.Route != s.route || ticket.Vars.Get("id") != "7" || ticket.Identity.User != "ada" || ticket.Client != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("ticket %+v", ticket)
	}
	if len(ticket.Limits) != 2 || ticket.Limits[0].Limit != 1 || ticket.Limits[0].Remaining != 0 {
		t.Errorf("limits %+v", ticket.Limits)
	}
}

func TestRefusals(t *testing.T) {
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens", "keys"}, Roles: []string{"clerk"}}}, Stores{})
	with := func(change func(*Request)) *Request {
		r := request("192.0.2.1", as(t, "ada", "clerk")...)
		change(r)
		return r
	}
	for _, c := range []struct {
		name string
		r    *Request
		want Refusal
	}{
		{"a path that no route has", with(func(r *Request) { r.Path = "/nothing" }), Refusal{Kind: NoRoute}},
		{"a method that the path does not take", with(func(r *Request) { r.Method = "DELETE" }), Refusal{Kind: MethodNotAllowed, Allow: []string{"GET", "HEAD", "POST"}}},
		{"a path with a dot segment", with(func(r *Request) { r.Path = "/items/../admin" }), Refusal{Kind: BadRequest}},
		{"a path with a dot segment in escapes", with(func(r *Request) { r.Path = "/items/%2e%2E" }), Refusal{Kind: BadRequest}},
		{"a path with a broken escape", with(func(r *Request) { r.Path = "/items/%zz" }), Refusal{Kind: BadRequest}},
		{"no credential", request("192.0.2.1"), Refusal{Kind: Unauthenticated, Challenge: `Bearer realm="crossgate"`, Route: s.route}},
		{"a wrong credential", request("192.0.2.1", "X-Api-Key", "wrong"), Refusal{Kind: Unauthenticated, Route: s.route,
			Challenge: `Bearer realm="crossgate", error="invalid_token", error_description="the API key is not known"`}},
		{"an identity without the role", request("192.0.2.1", as(t, "ada", "guest")...), Refusal{Kind: PermissionDenied, Route: s.route}},
		{"two Authorization headers", request("192.0.2.1", append(as(t, "ada", "clerk"), as(t, "eve", "clerk")...)...),
			Refusal{Kind: Unauthenticated, Challenge: `Bearer realm="crossgate"`, Route: s.route}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ticket Ticket
			f := s.Admit(t.Context(), c.r, &ticket)
			if f == nil {
				t.Fatal("it is admitted")
			}
			if f.Kind != c.want.Kind || f.Challenge != c.want.Challenge || f.Route != c.want.Route || !slices.Equal(f.Allow, c.want.Allow) {
				t.Errorf("got  %+v\nwant %+v", *f, c.want)
			}
		})
	}
}

func TestCredentialsOfUpgrades(t *testing.T) {
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}}, Stores{})
	good := token(t, "ada")
	for _, c := range []struct {
		name    string
		upgrade bool
		query   string
		headers []string
		want    Kind
	}{
		{"the query of an upgrade may hold a token", true, "a=b&token=" + good, nil, 0},
		{"the query of another request may not", false, "token=" + good, nil, Unauthenticated},
		{"a query with two tokens has none", true, "token=" + good + "&token=" + good, nil, Unauthenticated},
		{"a broken query has none", true, "token=" + good + "&%zz", nil, Unauthenticated},
		{"a subprotocol of an upgrade may hold a token", true, "", []string{"Sec-WebSocket-Protocol", "chat, bearer." + good}, 0},
		{"a subprotocol may be in a second header", true, "", []string{"Sec-WebSocket-Protocol", "chat", "Sec-WebSocket-Protocol", "bearer." + good}, 0},
		{"a subprotocol of another request may not", false, "", []string{"Sec-WebSocket-Protocol", "bearer." + good}, Unauthenticated},
		{"a cookie may hold a token", false, "", []string{"Cookie", "a=b; session=" + good}, 0},
		{"a cookie may be quoted", false, "", []string{"Cookie", `session="` + good + `"`}, 0},
		{"a cookie may stand beside broken ones", false, "", []string{"Cookie", `flag; a b=c; =x; n=ü; prefs={"a":"1,2"}; session=` + good + `;`}, 0},
		{"a cookie may be in a second header", false, "", []string{"Cookie", "a=b", "Cookie", "session=" + good}, 0},
		{"the first of two cookies counts", false, "", []string{"Cookie", "session=wrong; session=" + good}, Unauthenticated},
		{"a cookie's name has a case", false, "", []string{"Cookie", "Session=" + good}, Unauthenticated},
		{"another cookie may not", false, "", []string{"Cookie", "sessions=" + good}, Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request("192.0.2.1", c.headers...)
			r.Upgrade, r.RawQuery = c.upgrade, c.query
			if got := s.kind(t, r); got != c.want {
				t.Errorf("kind %d, want %d", got, c.want)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	required := &config.RouteAuth{Require: []string{"tokens"}, Roles: []string{"clerk"}}
	for _, per := range []string{"ip", "route", "header:X-Tenant"} {
		t.Run("a limit per "+per+" is charged before credentials are looked at", func(t *testing.T) {
			s := admitter(t, config.Route{Auth: required, RateLimits: []config.RateLimit{once(per)}}, Stores{})
			if got := s.kind(t, request("192.0.2.1", "Authorization", "Bearer wrong")); got != Unauthenticated {
				t.Errorf("kind %d", got)
			}
			if got := s.kind(t, request("192.0.2.1", as(t, "ada", "clerk")...)); got != LimitExceeded {
				t.Errorf("guessing was free: kind %d", got)
			}
		})
	}
	for _, per := range []string{"user", "key"} {
		t.Run("a limit per "+per+" is charged to admitted callers only", func(t *testing.T) {
			s := admitter(t, config.Route{Auth: required, RateLimits: []config.RateLimit{once(per)}}, Stores{})
			for range 3 {
				if got := s.kind(t, request("192.0.2.1", "Authorization", "Bearer wrong")); got != Unauthenticated {
					t.Errorf("kind %d", got)
				}
				if got := s.kind(t, request("192.0.2.1", as(t, "ada", "guest")...)); got != PermissionDenied {
					t.Errorf("kind %d", got)
				}
			}
			if got := s.kind(t, request("192.0.2.1", as(t, "ada", "clerk")...)); got != 0 {
				t.Errorf("kind %d", got)
			}
			if got := s.kind(t, request("192.0.2.1", as(t, "ada", "clerk")...)); got != LimitExceeded {
				t.Errorf("kind %d", got)
			}
		})
	}
}

func TestWhoIsCountedTogether(t *testing.T) {
	long := strings.Repeat("x", maxKeyHeader)
	for _, c := range []struct {
		name          string
		per           string
		first, second *Request
		together      bool
	}{
		{"the same IPv4 address", "ip", request("192.0.2.1"), request("192.0.2.1"), true},
		{"two IPv4 addresses", "ip", request("192.0.2.1"), request("192.0.2.2"), false},
		{"two IPv6 addresses of one /64", "ip", request("2001:db8:0:1::1"), request("2001:db8:0:1:ffff::2"), true},
		{"IPv6 addresses of two /64", "ip", request("2001:db8:0:1::1"), request("2001:db8:0:2::1"), false},
		{"an IPv4 address and itself as IPv6", "ip", request("192.0.2.1"), request("::ffff:192.0.2.1"), true},
		{"two IPv4 addresses as IPv6", "ip", request("::ffff:192.0.2.1"), request("::ffff:198.51.100.1"), false},
		{"one user at two addresses", "user", request("192.0.2.1", as(t, "ada")...), request("192.0.2.2", as(t, "ada")...), true},
		{"two users at one address", "user", request("192.0.2.1", as(t, "ada")...), request("192.0.2.1", as(t, "eve")...), false},
		{"a user of two providers", "user", request("192.0.2.1", as(t, "ada")...), request("192.0.2.1", "X-Api-Key", "key-one"), false},
		{"two keys of one user, by user", "user", request("192.0.2.1", "X-Api-Key", "key-one"), request("192.0.2.2", "X-Api-Key", "key-two"), true},
		{"two keys of one user, by key", "key", request("192.0.2.1", "X-Api-Key", "key-one"), request("192.0.2.1", "X-Api-Key", "key-two"), false},
		{"one key at two addresses", "key", request("192.0.2.1", "X-Api-Key", "key-one"), request("192.0.2.2", "X-Api-Key", "key-one"), true},
		{"tokens, by key, at one address", "key", request("192.0.2.1", as(t, "ada")...), request("192.0.2.1", as(t, "eve")...), true},
		{"anonymous callers at one address, by user", "user", request("192.0.2.1"), request("192.0.2.1"), true},
		{"anonymous callers at two addresses, by user", "user", request("192.0.2.1"), request("192.0.2.2"), false},
		{"an anonymous caller and a user whose name is its address", "user", request("192.0.2.1"), request("192.0.2.1", as(t, "i192.0.2.1")...), false},
		{"everyone, by route", "route", request("192.0.2.1", as(t, "ada")...), request("2001:db8::1"), true},
		{"the same header at two addresses", "header:x-tenant", request("192.0.2.1", "X-Tenant", "a"), request("192.0.2.2", "X-Tenant", "a"), true},
		{"two headers at one address", "header:x-tenant", request("192.0.2.1", "X-Tenant", "a"), request("192.0.2.1", "X-Tenant", "b"), false},
		{"callers without the header at one address", "header:x-tenant", request("192.0.2.1"), request("192.0.2.1"), true},
		{"callers without the header at two addresses", "header:x-tenant", request("192.0.2.1"), request("192.0.2.2"), false},
		{"a header twice and no header", "header:x-tenant", request("192.0.2.1", "X-Tenant", "a", "X-Tenant", "b"), request("192.0.2.1"), true},
		{"headers that differ after what is looked at", "header:x-tenant", request("192.0.2.1", "X-Tenant", long+"a"), request("192.0.2.1", "X-Tenant", long+"b"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens", "keys"}, Optional: true}, RateLimits: []config.RateLimit{once(c.per)}}, Stores{})
			if got := s.kind(t, c.first); got != 0 {
				t.Fatalf("the first is refused: kind %d", got)
			}
			want := Kind(0)
			if c.together {
				want = LimitExceeded
			}
			if got := s.kind(t, c.second); got != want {
				t.Errorf("kind %d, want %d", got, want)
			}
		})
	}
	t.Run("two rules of a route do not share a bucket", func(t *testing.T) {
		s := admitter(t, config.Route{RateLimits: []config.RateLimit{once("ip"), once("ip")}}, Stores{})
		if got := s.kind(t, request("192.0.2.1")); got != 0 {
			t.Errorf("kind %d", got)
		}
	})
	t.Run("two routes do not share a bucket", func(t *testing.T) {
		stores := Stores{Memory: ratelimit.NewMemory()}
		for _, name := range []string{"a", "b", "a/0"} {
			s := admitter(t, config.Route{Name: name, RateLimits: []config.RateLimit{once("route")}}, stores)
			if got := s.kind(t, request("192.0.2.1")); got != 0 {
				t.Errorf("route %s: kind %d", name, got)
			}
		}
	})
}

func TestLimitExceeded(t *testing.T) {
	s := admitter(t, config.Route{RateLimits: []config.RateLimit{
		{Per: []string{"ip"}, Rate: config.Rate{Events: 60, Per: time.Hour}, Burst: 2},
		{Per: []string{"route"}, Rate: config.Rate{Events: 1000, Per: time.Second}},
	}}, Stores{})
	for range 2 {
		if got := s.kind(t, request("192.0.2.1")); got != 0 {
			t.Fatalf("kind %d", got)
		}
	}
	var ticket Ticket
	f := s.Admit(t.Context(), request("192.0.2.1"), &ticket)
	if f == nil || f.Kind != LimitExceeded || f.Route != s.route {
		t.Fatalf("got %+v", f)
	}
	if f.Limit.Limit != 2 || f.Limit.Remaining != 0 || f.RetryAfter != f.Limit.RetryAfter || f.RetryAfter <= 58*time.Second || f.RetryAfter > time.Minute {
		t.Errorf("got %+v", f)
	}
}

// broken is a store that is gone.
type broken struct{}

func (broken) Take(_ context.Context, dst []ratelimit.Decision, _ []ratelimit.Take) ([]ratelimit.Decision, error) {
	return dst, errors.New("dial tcp 10.0.0.7:6379: connection refused")
}

func (broken) Return([]ratelimit.Take) {}

func TestRedisIsGone(t *testing.T) {
	limit := func(onFailure string) []config.RateLimit {
		l := once("ip")
		l.Store, l.OnFailure = "redis", onFailure
		return []config.RateLimit{l}
	}
	for _, c := range []struct {
		name, onFailure string
		first, second   Kind
	}{
		{"local counts on this node", "local", 0, LimitExceeded},
		{"allow lets pass", "allow", 0, 0},
		{"deny refuses", "deny", Unavailable, Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, config.Route{RateLimits: limit(c.onFailure)}, Stores{Redis: ratelimit.NewDistributed(broken{}, ratelimit.NewMemory())})
			if got := s.kind(t, request("192.0.2.1")); got != c.first {
				t.Errorf("kind %d, want %d", got, c.first)
			}
			if got := s.kind(t, request("192.0.2.1")); got != c.second {
				t.Errorf("kind %d, want %d", got, c.second)
			}
		})
	}
	t.Run("a refusal does not tell where Redis is", func(t *testing.T) {
		s := admitter(t, config.Route{RateLimits: limit("deny")}, Stores{Redis: ratelimit.NewDistributed(broken{}, ratelimit.NewMemory())})
		var ticket Ticket
		f := s.Admit(t.Context(), request("192.0.2.1"), &ticket)
		if f == nil || strings.Contains(f.Reason, "10.0.0.7") || f.RetryAfter <= 0 {
			t.Errorf("got %+v", f)
		}
	})
}

func TestCompilePolicyErrors(t *testing.T) {
	redis, endless := once("ip"), once("ip")
	redis.Store = "redis"
	endless.Burst = 1 << 30
	for _, c := range []struct {
		name  string
		route config.Route
		want  string
	}{
		{"a limit in Redis where there is none", config.Route{RateLimits: []config.RateLimit{redis}}, "no Redis"},
		{"a burst that never fills", config.Route{RateLimits: []config.RateLimit{endless}}, "more than 100 years"},
		{"more limits than are charged at once", config.Route{RateLimits: slices.Repeat([]config.RateLimit{once("ip")}, maxRules+1)}, "at most 16"},
		{"a provider that there is not", config.Route{Auth: &config.RouteAuth{Require: []string{"nobody"}}}, `"nobody"`},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			_, err := CompilePolicy(&c.route, nil, Stores{Memory: ratelimit.NewMemory()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("as many limits as are charged at once are charged", func(t *testing.T) {
		s := admitter(t, config.Route{RateLimits: slices.Repeat([]config.RateLimit{once("ip")}, maxRules)}, Stores{})
		if got := s.kind(t, request("192.0.2.1")); got != 0 {
			t.Errorf("kind %d", got)
		}
	})
}

// session admits an upgrade.
func session(t *testing.T, s setUp, r *Request) *Ticket {
	t.Helper()
	ticket := new(Ticket)
	if f := s.Admit(t.Context(), r, ticket); f != nil {
		t.Fatal(f)
	}
	return ticket
}

func messages(t *testing.T, per ...string) setUp {
	t.Helper()
	ws := &config.WebSocketRoute{}
	for _, p := range per {
		ws.MessageRateLimits = append(ws.MessageRateLimits, once(p))
	}
	return admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens", "keys"}, Optional: true}, WebSocket: ws}, Stores{})
}

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		name                string
		per                 string
		first, second       *Request
		firstConn, nextConn string
		together            bool
	}{
		{"one connection", "connection", request("192.0.2.1"), request("192.0.2.1"), "a", "a", true},
		{"two connections of one address", "connection", request("192.0.2.1"), request("192.0.2.1"), "a", "b", false},
		{"two connections of one address, by IP", "ip", request("192.0.2.1"), request("192.0.2.1"), "a", "b", true},
		{"two connections of one user, by user", "user", request("192.0.2.1", as(t, "ada")...), request("192.0.2.2", as(t, "ada")...), "a", "b", true},
		{"two connections with one header of their upgrades", "header:X-Tenant", request("192.0.2.1", "X-Tenant", "t"), request("192.0.2.2", "X-Tenant", "t"), "a", "b", true},
		{"two connections with two headers of their upgrades", "header:X-Tenant", request("192.0.2.1", "X-Tenant", "t"), request("192.0.2.1", "X-Tenant", "u"), "a", "b", false},
		{"two connections, by route", "route", request("192.0.2.1"), request("192.0.2.2"), "a", "b", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := messages(t, c.per)
			one, two := session(t, s, c.first), session(t, s, c.second)
			if f := one.AdmitMessage(t.Context(), c.firstConn); f != nil {
				t.Fatalf("the first message is refused: %+v", f)
			}
			f := two.AdmitMessage(t.Context(), c.nextConn)
			if c.together != (f != nil) {
				t.Errorf("the second message: %+v", f)
			}
			if f != nil && (f.Kind != LimitExceeded || f.RetryAfter <= 0 || f.Route != s.route) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestMessagesEndWithTheToken(t *testing.T) {
	s := messages(t)
	for _, c := range []struct {
		name    string
		expires time.Time
		want    Kind
	}{
		{"a token that ends later", time.Now().Add(time.Hour), 0},
		{"a token that has ended", time.Now().Add(-time.Second), Unauthenticated},
		{"an identity that does not end", time.Time{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			ticket := session(t, s, request("192.0.2.1", as(t, "ada")...))
			id := *ticket.Identity
			id.Expires = c.expires
			ticket.Identity = &id
			f := ticket.AdmitMessage(t.Context(), "a")
			if c.want == 0 && f != nil || c.want != 0 && (f == nil || f.Kind != c.want) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens", "keys"}, Optional: true, Scopes: nil}}, Stores{})
	strict := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens", "keys"}, Roles: []string{"clerk"}}}, Stores{})
	for _, c := range []struct {
		name       string
		s          setUp
		headers    []string
		credential string
		want       Kind
	}{
		{"a new token of the same user goes on", s, as(t, "ada"), token(t, "ada", "new"), 0},
		{"a token of another user is refused", s, as(t, "ada"), token(t, "eve"), PermissionDenied},
		{"the same name at another provider is refused", s, as(t, "ada"), "key-one", PermissionDenied},
		{"a wrong token is refused", s, as(t, "ada"), "wrong", Unauthenticated},
		{"a token for an anonymous session is refused", s, nil, token(t, "ada"), PermissionDenied},
		{"a new token without the role is refused", strict, as(t, "ada", "clerk"), token(t, "ada"), PermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			ticket := session(t, c.s, request("192.0.2.1", c.headers...))
			before := ticket.Identity
			id, f := ticket.Refresh(t.Context(), c.credential)
			if c.want == 0 {
				if f != nil || ticket.Identity != id || id == before || !slices.Contains(id.Roles, "new") {
					t.Errorf("got %+v, %+v", id, f)
				}
				return
			}
			if f == nil || f.Kind != c.want || id != nil {
				t.Errorf("got %+v, %+v; want kind %d", id, f, c.want)
			}
			if ticket.Identity != before {
				t.Error("a refused credential changed the session's identity")
			}
		})
	}
}

func wide(per string) config.RateLimit {
	return config.RateLimit{Per: []string{per}, Rate: config.Rate{Events: 1e9, Per: time.Second}}
}

func TestAdmitAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		route config.Route
		r     *Request
	}{
		{"an anonymous request without limits", config.Route{}, request("192.0.2.1")},
		{"an anonymous request with limits", config.Route{RateLimits: []config.RateLimit{wide("ip"), wide("route"), wide("header:X-Tenant")}}, request("2001:db8::1", "X-Tenant", "a")},
		{"a token that was verified before", config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}, RateLimits: []config.RateLimit{wide("user")}}, request("192.0.2.1", as(t, "ada")...)},
		{"a token in a cookie", config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}}, request("192.0.2.1", "Cookie", "a=b; session="+token(t, "ada"))},
		{"a user with a limit", config.Route{Auth: &config.RouteAuth{Require: []string{"keys"}}, RateLimits: []config.RateLimit{wide("ip"), wide("user"), wide("key")}}, request("192.0.2.1", "X-Api-Key", "key-one")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, c.route, Stores{})
			ctx := t.Context()
			var ticket Ticket
			n := testing.AllocsPerRun(500, func() {
				if f := s.Admit(ctx, c.r, &ticket); f != nil {
					t.Fatal(f)
				}
			})
			if n != 0 && !raceEnabled {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
	t.Run("a message with a limit", func(t *testing.T) {
		s := admitter(t, config.Route{WebSocket: &config.WebSocketRoute{MessageRateLimits: []config.RateLimit{wide("connection"), wide("ip")}}}, Stores{})
		ticket, ctx := session(t, s, request("192.0.2.1")), t.Context()
		n := testing.AllocsPerRun(500, func() {
			if f := ticket.AdmitMessage(ctx, "connection"); f != nil {
				t.Fatal(f)
			}
		})
		if n != 0 && !raceEnabled {
			t.Errorf("%v allocations, want 0", n)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	for _, c := range []struct {
		name  string
		route config.Route
		r     *Request
	}{
		{"anonymous", config.Route{RateLimits: []config.RateLimit{wide("ip")}}, request("192.0.2.1")},
		{"token", config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}, RateLimits: []config.RateLimit{wide("ip"), wide("user")}}, request("192.0.2.1", as(b, "ada")...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, ctx := admitter(b, c.route, Stores{}), b.Context()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var ticket Ticket
				for pb.Next() {
					if f := s.Admit(ctx, c.r, &ticket); f != nil {
						b.Error(f)
						return
					}
				}
			})
		})
	}
}

func TestRevokedCredentialsAreRefused(t *testing.T) {
	revoked := new(auth.Revocations)
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}}, Stores{Revoked: revoked})
	open := session(t, s, request("192.0.2.1", as(t, "ada")...))
	revoked.Add(auth.Revocation{User: "ada", Before: time.Now(), Until: time.Now().Add(time.Hour)})
	var ticket Ticket
	f := s.Admit(t.Context(), request("192.0.2.1", as(t, "ada")...), &ticket)
	if f == nil || f.Kind != Unauthenticated || !strings.Contains(f.Challenge, "invalid_token") {
		t.Errorf("got %+v, want a refusal with a challenge", f)
	}
	if got := s.kind(t, request("192.0.2.1", as(t, "eve")...)); got != 0 {
		t.Errorf("another user is refused: kind %d", got)
	}
	if _, f := open.Refresh(t.Context(), token(t, "ada")); f == nil || f.Kind != Unauthenticated {
		t.Errorf("a session goes on with a revoked token: %+v", f)
	}
	if _, f := open.Verify(t.Context(), token(t, "ada")); f == nil || f.Kind != Unauthenticated {
		t.Errorf("a revoked token is believed: %+v", f)
	}
}
