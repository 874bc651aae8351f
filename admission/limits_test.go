package admission

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
)

func TestCombinationsAreCountedForThemselves(t *testing.T) {
	claims := func(org string) []string {
		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ada", "org": map[string]any{"id": org, "size": 7},
			"exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return []string{"Authorization", "Bearer " + signed}
	}
	at := func(r *Request, method, path string) *Request {
		r.Method, r.Path = method, path
		return r
	}
	tenant := func(user, tenant string) *Request {
		return request("192.0.2.1", append(as(t, user), "X-Tenant", tenant)...)
	}
	for _, c := range []struct {
		name          string
		per           []string
		first, second *Request
		together      bool
	}{
		{"a user and a tenant", []string{"user", "header:X-Tenant"}, tenant("ada", "a"), tenant("ada", "a"), true},
		{"a user with another tenant", []string{"user", "header:X-Tenant"}, tenant("ada", "a"), tenant("ada", "b"), false},
		{"a tenant with another user", []string{"user", "header:X-Tenant"}, tenant("ada", "a"), tenant("eve", "a"), false},
		{"parts that read the same together", []string{"header:X-A", "header:X-B"},
			request("192.0.2.1", "X-A", "ab", "X-B", "c"), request("192.0.2.1", "X-A", "a", "X-B", "bc"), false},
		{"a claim", []string{"claim:org.id"}, request("192.0.2.1", claims("x")...), request("192.0.2.2", claims("x")...), true},
		{"another claim", []string{"claim:org.id"}, request("192.0.2.1", claims("x")...), request("192.0.2.1", claims("y")...), false},
		{"a claim that is a number", []string{"claim:org.size"}, request("192.0.2.1", claims("x")...), request("192.0.2.2", claims("y")...), true},
		{"no claim, by IP", []string{"claim:org.id"}, request("192.0.2.1"), request("192.0.2.2"), false},
		{"a variable of the path", []string{"path:id"}, request("192.0.2.1"), request("192.0.2.2"), true},
		{"another value of the variable", []string{"path:id"}, request("192.0.2.1"), at(request("192.0.2.1"), "GET", "/items/8"), false},
		{"two methods", []string{"ip", "method"}, request("192.0.2.1"), at(request("192.0.2.1"), "POST", "/items/7"), false},
		{"everyone of a method", []string{"method", "route"}, request("192.0.2.1"), request("192.0.2.2"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}, Optional: true},
				RateLimits: []config.RateLimit{{Per: c.per, Rate: config.Rate{Events: 1, Per: time.Hour}}}}, Stores{})
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
	for bits, want := range map[int]Kind{48: LimitExceeded, 64: 0} {
		limit := once("ip")
		limit.IPv6Prefix = bits
		s := admitter(t, config.Route{RateLimits: []config.RateLimit{limit}}, Stores{})
		_ = s.kind(t, request("2001:db8:0:1::1"))
		if got := s.kind(t, request("2001:db8:0:2::1")); got != want {
			t.Errorf("two /64 with a prefix of %d: kind %d, want %d", bits, got, want)
		}
	}
}

func TestARequestIsChargedToAllLimitsOrNone(t *testing.T) {
	twice := func(per, store string) config.RateLimit {
		return config.RateLimit{Per: []string{per}, Rate: config.Rate{Events: 2, Per: time.Hour}, Store: store}
	}
	busy := config.RateLimit{Per: []string{"route"}, Concurrency: 1}
	required := &config.RouteAuth{Require: []string{"tokens"}}
	for _, c := range []struct {
		name   string
		limits []config.RateLimit
	}{
		{"before the caller is known, and after", []config.RateLimit{twice("ip", ""), once("user")}},
		{"in memory and in Redis", []config.RateLimit{twice("ip", ""), twice("user", ""), {Per: []string{"user"}, Rate: config.Rate{Events: 1, Per: time.Hour}, Store: "redis"}}},
		{"leased and in Redis", []config.RateLimit{twice("user", "leased"), {Per: []string{"user"}, Quota: 1, Period: "day", Store: "redis"}}},
		{"of several kinds", []config.RateLimit{twice("ip", ""), {Per: []string{"user"}, Quota: 1, Period: "month"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := admitter(t, config.Route{Auth: required, RateLimits: append(c.limits, busy)},
				Stores{Redis: ratelimit.NewMemory(), Leased: ratelimit.NewMemory()})
			try := func(user string) Kind {
				var ticket Ticket
				defer ticket.Release()
				if f := s.Admit(t.Context(), request("192.0.2.1", as(t, user)...), &ticket); f != nil {
					return f.Kind
				}
				return 0
			}
			for i, user := range []string{"ada", "ada", "ada", "eve"} {
				want := LimitExceeded
				if i == 0 || user == "eve" { // for whom the address has room
					want = 0
				}
				if got := try(user); got != want {
					t.Errorf("request %d, of %s: kind %d, want %d", i, user, got, want)
				}
			}
		})
	}
}

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	s := admitter(t, config.Route{RateLimits: []config.RateLimit{{Per: []string{"ip"}, Concurrency: 1}},
		WebSocket: &config.WebSocketRoute{MessageRateLimits: []config.RateLimit{once("connection")}}}, Stores{})
	first := session(t, s, request("192.0.2.1"))
	if got := s.kind(t, request("192.0.2.1")); got != LimitExceeded {
		t.Errorf("a second at the same time: kind %d", got)
	}
	// A message that is refused is not the session's end.
	for i, want := range []bool{true, false} {
		if f := first.AdmitMessage(t.Context(), "a"); (f == nil) != want {
			t.Errorf("message %d: %v", i, f)
		}
	}
	if got := s.kind(t, request("192.0.2.1")); got != LimitExceeded {
		t.Errorf("after a message that was refused: kind %d", got)
	}
	first.Release()
	first.Release()
	second := session(t, s, request("192.0.2.1"))
	if got := s.kind(t, request("192.0.2.1")); got != LimitExceeded {
		t.Errorf("a place was given back twice: kind %d", got)
	}
	// A ticket that is used again gives its place back first.
	if f := s.Admit(t.Context(), request("192.0.2.1"), second); f != nil {
		t.Errorf("got %v", f)
	}
}

func TestGuessesAreChargedToLimitsInRedis(t *testing.T) {
	limit := once("ip")
	limit.Store = "redis"
	s := admitter(t, config.Route{Auth: &config.RouteAuth{Require: []string{"tokens"}}, RateLimits: []config.RateLimit{limit}}, Stores{Redis: ratelimit.NewMemory()})
	for i, want := range []Kind{Unauthenticated, LimitExceeded} {
		if got := s.kind(t, request("192.0.2.1", "Authorization", "Bearer wrong")); got != want {
			t.Errorf("guess %d: kind %d, want %d", i, got, want)
		}
	}
	if got := s.kind(t, request("192.0.2.1", as(t, "ada")...)); got != LimitExceeded {
		t.Errorf("kind %d", got)
	}
}

func TestCostsByMethod(t *testing.T) {
	cfg := config.Route{RateLimits: []config.RateLimit{{Per: []string{"route"}, Rate: config.Rate{Events: 10, Per: time.Hour}, Cost: 2,
		Costs: []config.LimitCost{{Methods: []string{"shop.v1.Catalog.Search"}, Cost: 7}, {Methods: []string{"HEAD", "shop.v1.Health.*"}, Cost: 0}, {Methods: []string{"POST"}, Cost: 3}}}}}
	s := admitter(t, cfg, Stores{})
	plain := *s.route.Policy
	for i, c := range []struct {
		calls, method string
		left          int
	}{
		{"", "GET", 8}, {"", "POST", 5}, {"", "HEAD", -1}, {"shop.v1.Health.Check", "POST", -1}, {"shop.v1.Catalog.Get", "GET", 3},
		{"shop.v1.Catalog.Search", "POST", 3}, {"shop.v1.Catalog.Get", "POST", 0},
	} {
		s.route.Policy = plain.For(c.calls)
		r := request("192.0.2.1")
		r.Method = c.method
		var ticket Ticket
		f := s.Admit(t.Context(), r, &ticket)
		left := -1
		if len(ticket.Limits) > 0 {
			left = ticket.Limits[0].Remaining
		}
		if left != c.left || (f != nil) != (c.calls == "shop.v1.Catalog.Search") {
			t.Errorf("request %d: %v, %d are left, want %d", i, f, left, c.left)
		}
	}
}
