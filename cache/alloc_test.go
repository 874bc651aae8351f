//go:build !race

package cache

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/crossgate/crossgate/config"
)

// sink is a client that takes anything.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

// hit returns what asks for an answer that is there from the second time on.
func (s *scene) hit(t testing.TB, q *Request) func() {
	w := sink{http.Header{}}
	hit := func() {
		clear(w.h)
		if e := s.policy.Serve(w, q, s); e != nil {
			t.Fatal(e)
		}
	}
	hit()
	hit()
	if n := s.fetches(); n != 1 {
		t.Fatalf("%d fetches", n)
	}
	return hit
}

// aHit returns what asks for an answer that is there.
func aHit(t testing.TB) func() {
	s := newScene(t, func(c *config.Cache) { c.Key.Headers = []string{"Accept-Language"} })
	s.answers("200 | Cache-Control: max-age=1000 | Vary: Accept-Encoding | Etag: \"1\" | Content-Type: text/plain")
	r := httptest.NewRequestWithContext(t.Context(), "GET", "http://shop.example/some/path?with=query", http.NoBody)
	r.Header = http.Header{"Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}, "User-Agent": {"test"}}
	q := &Request{Request: r, Path: "/some/path"}
	return s.hit(t, q)
}

// aCallHit returns what calls for an answer that is there.
func aCallHit(t testing.TB) func() {
	s := newScene(t, nil)
	s.ended("Cache-Control: max-age=1000 | X-Kind: 1", string(frameOf("answer")), "Grpc-Status: 0")
	q := aCall("question", "X-Tenant", "1", "X-Kind", "2")
	return s.hit(t, q)
}

func TestAHitAllocatesNothing(t *testing.T) {
	for name, hit := range map[string]func(){"a GET": aHit(t), "a call": aCallHit(t)} {
		if n := testing.AllocsPerRun(1000, hit); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCallHit(b *testing.B) {
	hit := aCallHit(b)
	b.ReportAllocs()
	for b.Loop() {
		hit()
	}
}

func BenchmarkHit(b *testing.B) {
	hit := aHit(b)
	b.ReportAllocs()
	for b.Loop() {
		hit()
	}
}
