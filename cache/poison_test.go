package cache

import (
	"testing"

	"github.com/crossgate/crossgate/config"
)

func TestWhatOneAsksForIsNotGivenToAnother(t *testing.T) {
	open := "200 | Cache-Control: max-age=10"
	tests := []struct {
		name           string
		change         func(*config.Cache)
		answers        string
		attack, victim string
		shared         bool
	}{
		{"the same request", nil, open, "GET /a", "GET /a", true},
		{"another host", nil, open, "GET /a | Host: evil.example", "GET /a", false},
		{"another case of the host", nil, open, "GET /a | Host: SHOP.example", "GET /a", false},
		{"a port in the host", nil, open, "GET /a | Host: shop.example:8080", "GET /a", false},
		{"another path", nil, open, "GET /a/", "GET /a", false},
		{"another spelling of the path", nil, open, "GET /%61", "GET /a", false},
		{"another case of an escape", nil, open, "GET /%2d", "GET /%2D", false},
		{"an empty query", nil, open, "GET /a?", "GET /a", false},
		{"a query of one more", nil, open, "GET /a?x=1&utm_content=y", "GET /a?x=1", false},
		{"another order of the query", nil, open, "GET /a?x=1&y=2", "GET /a?y=2&x=1", false},
		{"path and query that read the same", nil, open, "GET /a%3Fx", "GET /a?x", false},
		{"a header that backends take a URL from", nil, open, "GET /a | X-Original-URL: /admin", "GET /a", false},
		{"and another", nil, open, "GET /a | X-Rewrite-URL: /admin", "GET /a", false},
		{"a header that backends take a host from", nil, open, "GET /a | X-Host: evil.example", "GET /a", false},
		{"a header that backends take a method from", nil, open, "GET /a | X-HTTP-Method-Override: DELETE", "GET /a", false},
		{"a header that the route names", func(c *config.Cache) { c.BypassHeaders = []string{"x-debug"} }, open, "GET /a | X-Debug: 1", "GET /a", false},
		{"what a trusted proxy says of the host", nil, open, "GET /a | Trusted: yes | X-Forwarded-Host: evil.example", "GET /a | Trusted: yes", false},
		{"what a trusted proxy says of the scheme", nil, open, "GET /a | Trusted: yes | X-Forwarded-Proto: http", "GET /a | Trusted: yes | X-Forwarded-Proto: https", false},
		{"what nobody trusted says is dropped on the way", nil, open, "GET /a | X-Forwarded-Host: evil.example", "GET /a", true},
		{"a header that the key has", func(c *config.Cache) { c.Key.Headers = []string{"x-tenant"} }, open, "GET /a | X-Tenant: 1", "GET /a | X-Tenant: 2", false},
		{"two lines that read as one", func(c *config.Cache) { c.Key.Headers = []string{"x-tenant"} }, open, "GET /a | X-Tenant: 1 | X-Tenant: 2", "GET /a | X-Tenant: 1,2", false},
		{"two headers whose values run into each other", func(c *config.Cache) { c.Key.Headers = []string{"a", "b"} }, open, "GET /a | A: xy", "GET /a | A: x | B: y", false},
		{"a cookie that the key has", func(c *config.Cache) { c.Key.Cookies = []string{"lang"} }, open, "GET /a | Cookie: lang=de", "GET /a | Cookie: lang=en", false},
		{"a cookie twice", func(c *config.Cache) { c.Key.Cookies = []string{"lang"} }, open, "GET /a | Cookie: lang=en; lang=de", "GET /a | Cookie: lang=en", false},
		{"a header that Vary names", nil, open + " | Vary: X-Device", "GET /a | X-Device: 1", "GET /a", false},

		{"a user", nil, open, "GET /a | User: ann", "GET /a | User: ben", false},
		{"a user, and nobody", nil, open, "GET /a | User: ann", "GET /a", false},
		{"nobody, and a user", nil, open, "GET /a", "GET /a | User: ann", false},
		{"the same user", nil, open, "GET /a | User: ann", "GET /a | User: ann", false},
		{"a user where the answer is for all", nil, "200 | Cache-Control: public, max-age=10", "GET /a | User: ann", "GET /a | User: ben", true},
		{"a user where the answer is for all by s-maxage", nil, "200 | Cache-Control: s-maxage=10", "GET /a | User: ann", "GET /a", true},
		{"a user where the answer must only be revalidated", nil, "200 | Cache-Control: must-revalidate, max-age=10", "GET /a | User: ann", "GET /a | User: ben", false},
		{"a user where the answer varies by what the backend is told", nil, "200 | Cache-Control: public, max-age=10 | Vary: X-User", "GET /a | User: ann", "GET /a | User: ben", false},
		{"the same user where the key has it", func(c *config.Cache) { c.Key.User = true }, open, "GET /a | User: ann", "GET /a | User: ann", true},
		{"another user where the key has it", func(c *config.Cache) { c.Key.User = true }, "200 | Cache-Control: public, max-age=10", "GET /a | User: ann", "GET /a | User: ben", false},
		{"what is private, for the same user", func(c *config.Cache) { c.Key.User = true }, "200 | Cache-Control: private, max-age=10", "GET /a | User: ann", "GET /a | User: ann", false},
		{"a credential that the gateway does not know", nil, open, "GET /a | Authorization: Basic x", "GET /a | Authorization: Basic x", false},
		{"and one where the answer is for all", nil, "200 | Cache-Control: public, max-age=10", "GET /a | Authorization: Basic x", "GET /a", true},
		{"such a credential beside a key with users", func(c *config.Cache) { c.Key.User = true }, open, "GET /a | Authorization: Basic x", "GET /a | Authorization: Basic y", false},
		{"a cookie, by the route's ttl", func(c *config.Cache) { c.TTL = ttl10 }, "200", "GET /a | Cookie: session=1", "GET /a | Cookie: session=2", false},
		{"nobody, and a cookie, by the route's ttl", func(c *config.Cache) { c.TTL = ttl10 }, "200", "GET /a", "GET /a | Cookie: session=2", false},
		{"a cookie that the key has, by the route's ttl", func(c *config.Cache) { c.TTL, c.Key.Cookies = ttl10, []string{"lang"} }, "200", "GET /a | Cookie: lang=de", "GET /a | Cookie: lang=de", true},
		{"a cookie, and an answer that says how long it is fresh", nil, open, "GET /a | Cookie: x=1", "GET /a", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, test.change)
			s.answers(test.answers)
			s.result(test.attack)
			want := "200 fetched body 2"
			if test.shared {
				want = "200 kept body 1"
			}
			if got := s.result(test.victim); got != want {
				t.Errorf("%s, expected %s", got, want)
			}
		})
	}
}

func TestARequestWithABodyPassesTheCacheBy(t *testing.T) {
	s := newScene(t, nil)
	s.answers("200 | Cache-Control: max-age=10")
	s.body = "x"
	s.result("GET /a")
	s.body = ""
	if got := s.result("GET /a"); got != "200 fetched body 2" {
		t.Error(got)
	}
}
