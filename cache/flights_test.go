package cache

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it never was", what)
		}
	}
}

// receive waits for something on a channel.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: it never came", what)
		panic("unreachable")
	}
}

// held is an origin whose answers the test lets go.
type held struct {
	arrived chan *http.Request
	header  chan http.Header // what an answer's header is
	body    chan struct{}    // its body follows
}

func (s *scene) hold() *held {
	h := &held{make(chan *http.Request, 1000), make(chan http.Header), make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		n := s.fetches()
		h.arrived <- r
		select {
		case header := <-h.header:
			for name, values := range header {
				w.Header()[name] = values
			}
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusOK)
		select {
		case <-h.body:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "body %d", n)
	}
	return h
}

// start asks for /a in the background, until ctx ends.
func (s *scene) start(ctx context.Context) <-chan string {
	done := make(chan string, 1)
	go func() { // ends with the request
		defer func() {
			if recover() != nil {
				done <- "broken off"
			}
		}()
		r := httptest.NewRequestWithContext(ctx, "GET", "http://shop.example/a", http.NoBody)
		w := httptest.NewRecorder()
		if e := s.policy.Serve(w, &Request{Request: r, Path: "/a"}, s); e != nil {
			done <- e.Reason.String()
			return
		}
		done <- w.Body.String()
	}()
	return done
}

var maxAge = http.Header{"Cache-Control": {"max-age=10"}}

func TestAStampedeIsOneFetch(t *testing.T) {
	s := newScene(t, nil)
	h := s.hold()
	leader := s.start(context.Background())
	receive(t, "the leader's request", h.arrived)
	var waiters []<-chan string
	for range 200 {
		waiters = append(waiters, s.start(context.Background()))
	}
	gone, leave := context.WithCancel(context.Background())
	left := s.start(gone)
	leave()
	if got := receive(t, "who left", left); got != "CLIENT_GONE" {
		t.Errorf("who left got %s", got)
	}
	h.header <- maxAge
	close(h.body)
	for _, w := range append(waiters, leader) {
		if got := receive(t, "an answer", w); got != "body 1" {
			t.Fatalf("somebody got %s", got)
		}
	}
	if n := s.fetches(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestWhatIsNotKeptIsSharedWithNobodyAndHoldsNobodyUp(t *testing.T) {
	s := newScene(t, nil)
	h := s.hold()
	leader := s.start(context.Background())
	receive(t, "the leader's request", h.arrived)
	other := s.start(context.Background())
	h.header <- http.Header{"Cache-Control": {"private"}}
	// The leader's body has not come, and the other goes all the same.
	receive(t, "the other's request", h.arrived)
	third := s.start(context.Background())
	receive(t, "the request of a third, who did not wait at all", h.arrived)
	h.header <- http.Header{"Cache-Control": {"private"}}
	h.header <- http.Header{"Cache-Control": {"private"}}
	close(h.body)
	got := map[string]bool{}
	for _, w := range []<-chan string{leader, other, third} {
		got[receive(t, "an answer", w)] = true
	}
	if len(got) != 3 {
		t.Errorf("answers %v", got)
	}
}

func TestWhereTheLeaderIsGoneAnotherGoes(t *testing.T) {
	s := newScene(t, nil)
	h := s.hold()
	ctx, leave := context.WithCancel(context.Background())
	leader := s.start(ctx)
	receive(t, "the leader's request", h.arrived)
	other := s.start(context.Background())
	leave()
	if got := receive(t, "the leader's answer", leader); got != "broken off" {
		t.Errorf("the leader got %s", got)
	}
	receive(t, "the other's request", h.arrived)
	h.header <- maxAge
	close(h.body)
	if got := receive(t, "the other's answer", other); got != "body 2" {
		t.Errorf("the other got %s", got)
	}
}

func TestASlowLeaderIsNotWaitedForForEver(t *testing.T) {
	s := newScene(t, func(c *config.Cache) { c.Coalesce = config.Duration(10 * time.Millisecond) })
	h := s.hold()
	leader := s.start(context.Background())
	receive(t, "the leader's request", h.arrived)
	other := s.start(context.Background())
	receive(t, "the other's request", h.arrived)
	h.header <- maxAge
	h.header <- maxAge
	close(h.body)
	receive(t, "the leader's answer", leader)
	receive(t, "the other's answer", other)
}

func TestAStaleAnswerIsGivenWhileOneFetchInTheBackgroundGetsANewOne(t *testing.T) {
	s := newScene(t, func(c *config.Cache) { c.StaleWhileRevalidate = ttl10 })
	s.answers("200 | Cache-Control: max-age=10")
	s.result("GET /a")
	s.pass(15 * time.Second)
	h := s.hold()
	for range 50 {
		w := s.ask("GET /a")
		if w.Body.String() != "body 1" || w.Header().Get("Cache-Status") != "crossgate; hit; ttl=-5" || w.Header().Get("Age") != "15" {
			t.Fatalf("%s, %v", w.Body, w.Header())
		}
	}
	receive(t, "the request in the background", h.arrived)
	h.header <- maxAge
	close(h.body)
	eventually(t, "the new answer", func() bool { return s.ask("GET /a").Body.String() == "body 2" })
	if n := s.fetches(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestWhatIsPurgedWhileItIsFetchedIsNotKept(t *testing.T) {
	s := newScene(t, nil)
	h := s.hold()
	leader := s.start(context.Background())
	receive(t, "the request", h.arrived)
	s.policy.Invalidate(t.Context(), "shop.example", "/a", "")
	h.header <- maxAge
	close(h.body)
	receive(t, "the answer", leader)
	s.answers("200")
	if got := s.result("GET /a"); got != "200 fetched body 2" {
		t.Error(got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := newScene(t, nil)
	body := make([]byte, 32<<10)
	var fetched atomic.Int64
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		w.Header()["Cache-Control"] = []string{"max-age=10"}
		_, _ = w.Write(body)
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				s.ask(fmt.Sprintf("GET /%d/%d", g, i))
			}
		})
	}
	all.Wait()
	eventually(t, "less than a mebibyte", func() bool {
		s.store.memory.CleanUp()
		return s.store.memory.WeightedSize() <= 1<<20
	})
	s.store.index.mu.Lock()
	defer s.store.index.mu.Unlock()
	if n := len(s.store.index.keys); n == 0 || n > 32 || n != s.store.memory.EstimatedSize() {
		t.Errorf("%d URIs for %d resources", n, s.store.memory.EstimatedSize())
	}
}
