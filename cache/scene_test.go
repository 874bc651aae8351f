package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// scene is a policy with a clock that the test sets and an origin whose answers it gives.
type scene struct {
	t      testing.TB
	store  *Store
	policy *Policy

	mu      sync.Mutex
	now     time.Time
	fetched int
	asked   http.Header // by the newest fetch
	answer  http.HandlerFunc
	body    string // of requests
}

var birth = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newScene returns a scene of a route whose cache is as left out, but for what change says.
func newScene(t testing.TB, change func(*config.Cache)) *scene {
	t.Helper()
	metrics := telemetry.New(config.Log{}, io.Discard)
	s := &scene{t: t, now: birth, store: NewStore(1<<20, metrics)}
	s.store.now = s.clock
	t.Cleanup(func() {
		s.store.Close()
		metrics.Close()
	})
	cfg := &config.Cache{MaxTTL: config.Duration(24 * time.Hour), MaxEntrySize: 1 << 16, SetCookie: "refuse", RequestDirectives: "honour", Coalesce: config.Duration(time.Minute)}
	if change != nil {
		change(cfg)
	}
	s.policy = Compile(cfg, Options{Store: s.store, Route: "r", Metrics: metrics.Route("r").Cache(), Computed: []string{"X-User"}})
	return s
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Fetch implements Origin.
func (s *scene) Fetch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.fetched++
	s.asked = r.Header.Clone()
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

// Detach implements Origin.
func (s *scene) Detach() (Origin, func()) { return s, func() {} }

// fetches returns how often the origin was asked.
func (s *scene) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// parse reads "first | Name: value | Name: value".
func parse(text string) (string, http.Header) {
	parts := strings.Split(text, " | ")
	h := http.Header{}
	for _, field := range parts[1:] {
		name, value, _ := strings.Cut(field, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return parts[0], h
}

// ask sends "METHOD /path | Name: value". "User: name" is who was admitted, and "Trusted: yes" that a trusted proxy sent it.
func (s *scene) ask(text string) *httptest.ResponseRecorder {
	line, h := parse(text)
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequestWithContext(context.Background(), method, "http://shop.example"+target, strings.NewReader(s.body))
	if host := h.Get("Host"); host != "" {
		r.Host = host
	}
	q := &Request{Request: r, Path: r.URL.EscapedPath(), Identity: h.Get("User"), Trusted: h.Get("Trusted") != ""}
	for _, name := range []string{"Host", "User", "Trusted"} {
		h.Del(name)
	}
	r.Header = h
	w := httptest.NewRecorder()
	if e := s.policy.Serve(w, q, s); e != nil {
		w.WriteHeader(e.Reason.HTTPStatus())
	}
	return w
}

// answers has the origin answer "STATUS | Name: value" from now on, with the number of the fetch as the body, and with 304 where
// the request has its ETag or Last-Modified. "Date: -10" is that of ten seconds ago; so are Expires and Last-Modified.
func (s *scene) answers(text string) {
	line, h := parse(text)
	status, err := strconv.Atoi(line)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range []string{"Date", "Expires", "Last-Modified"} {
		if n, err := strconv.Atoi(h.Get(name)); err == nil && n != 0 {
			h.Set(name, s.clock().Add(time.Duration(n)*time.Second).Format(http.TimeFormat))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		for name, values := range h {
			w.Header()[name] = values
		}
		if tag := h.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag || h.Get("Last-Modified") != "" && r.Header.Get("If-Modified-Since") == h.Get("Last-Modified") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead && status != http.StatusNoContent {
			fmt.Fprintf(w, "body %d", s.fetches())
		}
	}
}

// result is an answer in words: its status, whether the origin was asked, and its body.
func (s *scene) result(text string) string {
	before := s.fetches()
	w := s.ask(text)
	how := "kept"
	if s.fetches() > before {
		how = "fetched"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", w.Code, how, w.Body.String()))
}
