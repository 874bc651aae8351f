package cache

import (
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

// step is one request: what the origin answers from then on ("" for as before), how many seconds after the one before it comes,
// and what is got.
type step struct {
	answers string
	after   int
	ask     string
	want    string
}

const ttl10 = config.Duration(10 * time.Second)

func TestTheRulesOfRFC9111(t *testing.T) {
	get := "GET /a"
	// twice asks for one answer twice, a second apart.
	twice := func(answer, want string) []step {
		return []step{{answer, 0, get, "200 fetched body 1"}, {"", 1, get, want}}
	}
	const kept, again = "200 kept body 1", "200 fetched body 2"
	ttl := func(c *config.Cache) { c.TTL = ttl10 }
	tests := []struct {
		name   string
		change func(*config.Cache)
		steps  []step
	}{
		{"max-age is how long an answer is fresh", nil, []step{
			{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 9, get, kept}, {"", 2, get, again}, {"", 1, get, "200 kept body 2"}}},
		{"s-maxage goes before max-age", nil, []step{
			{"200 | Cache-Control: max-age=100, s-maxage=5", 0, get, "200 fetched body 1"}, {"", 4, get, kept}, {"", 2, get, again}}},
		{"max-age goes before Expires", nil, twice("200 | Cache-Control: max-age=10 | Expires: -10", kept)},
		{"Expires counts from Date", nil, []step{
			{"200 | Date: -2 | Expires: 8", 0, get, "200 fetched body 1"}, {"", 7, get, kept}, {"", 2, get, again}}},
		{"an Expires that is no date has passed", ttl, twice("200 | Expires: 0", again)},
		{"an Age counts", nil, []step{
			{"200 | Cache-Control: max-age=10 | Age: 6", 0, get, "200 fetched body 1"}, {"", 3, get, kept}, {"", 2, get, again}}},
		{"a Date that is long ago is an age", nil, []step{
			{"200 | Cache-Control: max-age=10 | Date: -6", 0, get, "200 fetched body 1"}, {"", 3, get, kept}, {"", 2, get, again}}},
		{"a number may be quoted, and directives have no case", nil, twice(`200 | Cache-Control: MAX-AGE="10"`, kept)},
		{"a number that is none is 0", ttl, twice("200 | Cache-Control: max-age=1O", again)},
		{"a negative number is 0", ttl, twice("200 | Cache-Control: max-age=-5", again)},
		{"of two numbers the smaller counts", nil, twice("200 | Cache-Control: max-age=10, max-age=0", again)},
		{"a number without end is a long time", nil, twice("200 | Cache-Control: max-age=99999999999999999999", kept)},
		{"max_ttl bounds all", func(c *config.Cache) { c.MaxTTL = ttl10 }, []step{
			{"200 | Cache-Control: max-age=1000", 0, get, "200 fetched body 1"}, {"", 9, get, kept}, {"", 2, get, again}}},
		{"what a quoted value has is no directive", nil, twice(`200 | Cache-Control: max-age=10, x="no-store, private"`, kept)},
		{"a quote without an end allows nothing that follows", nil, twice(`200 | Cache-Control: x="a, max-age=10`, again)},
		{"no-store is not kept", ttl, twice("200 | Cache-Control: no-store, max-age=10", again)},
		{"private is not kept", ttl, twice("200 | Cache-Control: private, max-age=10", again)},
		{"private with a field's name is not kept either", ttl, twice(`200 | Cache-Control: max-age=10, private="X-A"`, again)},
		{"must-understand makes up for no-store", nil, twice("200 | Cache-Control: must-understand, no-store, max-age=10", kept)},
		{"must-understand does not where the status is not understood", nil, []step{
			{"299 | Cache-Control: must-understand, no-store, max-age=10", 0, get, "299 fetched body 1"}, {"", 1, get, "299 fetched body 2"}}},
		{"immutable and unknown directives are harmless", nil, twice("200 | Cache-Control: immutable, max-age=10, x, y=z", kept)},
		{"an answer that says nothing is not kept", nil, twice("200 | Etag: \"1\"", again)},
		{"an answer that says nothing has the route's ttl", ttl, []step{{"200", 0, get, "200 fetched body 1"}, {"", 9, get, kept}, {"", 2, get, again}}},
		{"an answer that says something has no use for the ttl", ttl, twice("200 | Cache-Control: max-age=0", again)},
		{"a heuristic is not used untold", nil, []step{{"200 | Last-Modified: -1000", 0, get, "200 fetched body 1"}, {"200", 1, get, again}}},
		{"a heuristic is a tenth of the age", func(c *config.Cache) { c.Heuristic = true }, []step{
			{"200 | Last-Modified: -100", 0, get, "200 fetched body 1"}, {"", 9, get, kept}}},
		{"Set-Cookie is not kept", ttl, twice("200 | Set-Cookie: a=b | Cache-Control: max-age=10", again)},
		{"Set-Cookie may be stripped", func(c *config.Cache) { c.SetCookie = "strip" }, twice("200 | Set-Cookie: a=b | Cache-Control: max-age=10", kept)},
		{"a redirect is kept", nil, []step{{"301 | Cache-Control: max-age=10", 0, get, "301 fetched body 1"}, {"", 1, get, "301 kept body 1"}}},
		{"a 404 is kept where it says so", ttl, []step{{"404 | Cache-Control: max-age=10", 0, get, "404 fetched body 1"}, {"", 1, get, "404 kept body 1"}}},
		{"a 404 has no ttl of the route", ttl, []step{{"404", 0, get, "404 fetched body 1"}, {"", 1, get, "404 fetched body 2"}}},
		{"an error is never kept", ttl, []step{{"400 | Cache-Control: max-age=10", 0, get, "400 fetched body 1"}, {"", 1, get, "400 fetched body 2"},
			{"503 | Cache-Control: max-age=10", 0, get, "503 fetched body 3"}, {"", 1, get, "503 fetched body 4"}}},
		{"206 is not kept", ttl, []step{{"206 | Cache-Control: max-age=10 | Content-Range: bytes 0-5/9", 0, get, "206 fetched body 1"}, {"", 1, get, "206 fetched body 2"}}},
		{"an answer that is too large is not kept", func(c *config.Cache) { c.MaxEntrySize = 3 }, twice("200 | Cache-Control: max-age=10", again)},

		{"Vary: *", nil, twice("200 | Cache-Control: max-age=10 | Vary: *", again)},
		{"Vary tells requests apart", nil, []step{
			{"200 | Cache-Control: max-age=10 | Vary: accept-language", 0, get + " | Accept-Language: de", "200 fetched body 1"},
			{"", 1, get + " | Accept-Language: en", "200 fetched body 2"},
			{"", 1, get + " | Accept-Language: de", "200 kept body 1"},
			{"", 0, get + " | Accept-Language: en", "200 kept body 2"},
			{"", 0, get, "200 fetched body 3"},
			{"", 0, get + " | Accept-Language: ", "200 fetched body 4"}}},
		{"Vary compares lists by their elements", nil, []step{
			{"200 | Cache-Control: max-age=10 | Vary: X", 0, get + " | X: a,b", "200 fetched body 1"},
			{"", 0, get + " | X: a ,  b", "200 kept body 1"}, {"", 0, get + " | X: a | X: b", "200 kept body 1"}, {"", 0, get + " | X: ab", "200 fetched body 2"}}},
		{"Vary by what the gateway itself puts in is not kept", nil, twice("200 | Cache-Control: max-age=10 | Vary: X-Forwarded-For", again)},

		{"a request's no-cache asks", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 1, get + " | Cache-Control: no-cache", again}, {"", 1, get, "200 kept body 2"}}},
		{"Pragma is no-cache for who knows no other", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 1, get + " | Pragma: no-cache", again}}},
		{"Pragma is nothing beside Cache-Control", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 1, get + " | Pragma: no-cache | Cache-Control: max-age=5", kept}}},
		{"a request's no-store is not kept", nil, []step{{"200 | Cache-Control: max-age=10", 0, get + " | Cache-Control: no-store", "200 fetched body 1"}, {"", 1, get, again}}},
		{"a request's max-age", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 4, get + " | Cache-Control: max-age=5", kept}, {"", 2, get + " | Cache-Control: max-age=5", again}}},
		{"a request's min-fresh", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 4, get + " | Cache-Control: min-fresh=5", kept}, {"", 2, get + " | Cache-Control: min-fresh=5", again}}},
		{"a request's max-stale", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 14, get + " | Cache-Control: max-stale=5", kept}, {"", 0, get + " | Cache-Control: max-stale", kept},
			{"200 | Cache-Control: max-age=10", 2, get + " | Cache-Control: max-stale=5", again}}},
		{"max-stale does not go before must-revalidate", nil, []step{{"200 | Cache-Control: max-age=10, must-revalidate", 0, get, "200 fetched body 1"}, {"", 14, get + " | Cache-Control: max-stale=5", again}}},
		{"only-if-cached", nil, []step{{"200 | Cache-Control: max-age=10", 0, get + " | Cache-Control: only-if-cached", "504 kept"}, {"", 0, get, "200 fetched body 1"},
			{"", 0, get + " | Cache-Control: only-if-cached", kept}}},
		{"request directives may be ignored", func(c *config.Cache) { c.RequestDirectives = "ignore" }, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"", 0, get + " | Cache-Control: no-cache, no-store", kept}}},

		{"a stale answer that is good still is given again", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"", 11, get, "200 fetched body 1"}, {"", 9, get, kept}}},
		{"Last-Modified does as well", nil, []step{{"200 | Last-Modified: -100 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 11, get, "200 fetched body 1"}, {"", 9, get, kept}}},
		{"no-cache asks each time", nil, []step{{"200 | Etag: \"1\" | Cache-Control: no-cache, max-age=10", 0, get, "200 fetched body 1"}, {"", 1, get, "200 fetched body 1"}}},
		{"an answer that has changed takes the place of the stale one", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"200 | Etag: \"2\" | Cache-Control: max-age=10", 11, get, again}, {"", 9, get, "200 kept body 2"}}},
		{"a client that has the answer gets 304", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"", 1, get + ` | If-None-Match: "0", W/"1"`, "304 kept"}, {"", 0, get + ` | If-None-Match: "2"`, kept}, {"", 0, get + ` | If-None-Match: *`, "304 kept"}, {"", 11, get + ` | If-None-Match: "1"`, "304 fetched"}}},
		{"If-Modified-Since", nil, []step{{"200 | Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"", 1, get + " | If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT", "304 kept"}, {"", 0, get + " | If-Modified-Since: Wed, 31 Dec 2025 00:00:00 GMT", kept},
			{"", 0, get + ` | If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT | If-None-Match: "1"`, kept}}},
		{"a client that has the answer gets 304 though it was just fetched", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get + ` | If-None-Match: "1"`, "304 fetched"}, {"", 0, get, kept}}},
		{"If-Match is the backend's", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 1, get + ` | If-Match: "1"`, again}}},
		{"a part of what is there", nil, []step{{"200 | Etag: \"1\" | Cache-Control: max-age=10", 0, get, "200 fetched body 1"},
			{"", 0, get + " | Range: bytes=0-2", "206 kept bod"}, {"", 0, get + " | Range: bytes=5-", "206 kept 1"}, {"", 0, get + " | Range: bytes=-3", "206 kept y 1"}, {"", 0, get + " | Range: bytes=2-99", "206 kept dy 1"},
			{"", 0, get + " | Range: bytes=99-", "416 kept"}, {"", 0, get + " | Range: bytes=-0", "416 kept"}, {"", 0, get + " | Range: bytes=0-1,3-4", kept}, {"", 0, get + " | Range: lines=1-2", kept},
			{"", 0, get + " | Range: bytes=2-1", kept}, {"", 0, get + ` | Range: bytes=0-2 | If-Range: "1"`, "206 kept bod"}, {"", 0, get + ` | Range: bytes=0-2 | If-Range: W/"1"`, kept}, {"", 0, get + ` | Range: bytes=0-2 | If-Range: "2"`, kept}}},
		{"a part of what is not there is the backend's, and not kept", nil, []step{{"200 | Cache-Control: max-age=10", 0, get + " | Range: bytes=0-2", "200 fetched body 1"}, {"", 0, get, again}}},
		{"HEAD from GET", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"", 0, "HEAD /a", "200 kept"}}},
		{"HEAD keeps nothing", nil, []step{{"200 | Cache-Control: max-age=10", 0, "HEAD /a", "200 fetched"}, {"", 0, get, again}}},

		{"stale-while-revalidate gives the stale answer", nil, []step{{"200 | Cache-Control: max-age=10, stale-while-revalidate=5", 0, get, "200 fetched body 1"}, {"", 16, get, again}}},
		{"stale-if-error gives the stale answer for a failure", nil, []step{{"200 | Cache-Control: max-age=10, stale-if-error=5", 0, get, "200 fetched body 1"},
			{"503", 14, get, "200 fetched body 1"}, {"404", 0, get, "404 fetched body 3"}, {"503", 2, get, "503 fetched body 4"}}},
		{"must-revalidate goes before stale-if-error", nil, []step{{"200 | Cache-Control: max-age=10, must-revalidate, stale-if-error=5", 0, get, "200 fetched body 1"}, {"503", 14, get, "503 fetched body 2"}}},
		{"the route may say stale_if_error", func(c *config.Cache) { c.StaleIfError = ttl10 }, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"500", 14, get, "200 fetched body 1"}}},
		{"s-maxage forbids what only the route says", func(c *config.Cache) { c.StaleIfError = ttl10 }, []step{{"200 | Cache-Control: s-maxage=10", 0, get, "200 fetched body 1"}, {"500", 14, get, "500 fetched body 2"}}},
		{"a request may say stale-if-error", nil, []step{{"200 | Cache-Control: max-age=10", 0, get, "200 fetched body 1"}, {"500", 14, get + " | Cache-Control: stale-if-error=9", "200 fetched body 1"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t, test.change)
			for i, step := range test.steps {
				s.pass(time.Duration(step.after) * time.Second)
				if step.answers != "" {
					s.answers(step.answers)
				}
				if got := s.result(step.ask); got != step.want {
					t.Fatalf("step %d, %s: %s, expected %s", i+1, step.ask, got, step.want)
				}
			}
		})
	}
}
