package mirror

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a loaded machine may take for what takes no time.
const patience = 40 * time.Second

// start lays a mirror, with keys of its configuration, over the HTTP backend at one address; its copies go to another.
func start(t *testing.T, keys, address, copies string) (*laid, upstream.Backend) {
	t.Helper()
	cfg, err := config.Parse("crossgate.yaml", fmt.Appendf(nil, `
listeners: [{address: "127.0.0.1:0"}]
upstreams:
  - {name: app, protocol: http, endpoints: [%q]}
  - {name: next, protocol: http, endpoints: [%q]}
routes:
  - {name: app, match: {path_prefix: /}, http: {upstream: app}, mirror: {upstream: next, %s}}
`, address, copies, keys))
	if err != nil {
		t.Fatal(err)
	}
	pools, err := upstream.Open(cfg.Upstreams, upstream.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	metrics := telemetry.New(cfg.Log, io.Discard)
	t.Cleanup(metrics.Close)
	m := New(cfg.Routes[0].Mirror, Options{
		Backend: pools.Pool("next"), Credentials: []string{"authorization", "cookie"}, Metrics: metrics.Route("app"),
	})
	t.Cleanup(m.Close)
	l := &laid{m, metrics, cfg.Routes[0].Mirror, pools}
	return l, l.over()
}

// reloaded returns a mirror as after the configuration was loaded again.
func (m *laid) reloaded(t *testing.T) *laid {
	next := New(m.config, Options{Backend: m.pools.Pool("next"), Metrics: m.metrics.Route("app"), Previous: m.Mirror})
	t.Cleanup(next.Close)
	return &laid{next, m.metrics, m.config, m.pools}
}

// over returns the backend that answers, with copies.
func (m *laid) over() upstream.Backend { return m.Over(m.pools.Pool("app")) }

// laid is a mirror and what counts for it.
type laid struct {
	*Mirror
	metrics *telemetry.Telemetry
	config  *config.Mirror
	pools   *upstream.Set
}

// serve starts an HTTP backend and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// talk starts a server that does anything with each connection, and returns its address.
func talk(t *testing.T, with func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				with(c)
			})
		}
	})
	return l.Addr().String()
}

// ask makes a request and returns what was answered.
func ask(ctx context.Context, b upstream.Backend, r *http.Request) (string, error) {
	answer, err := b.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// post returns a request with a body, of a length that is told unless it is in chunks.
func post(body string, chunked bool) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://app/things?x=1", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.GetBody = nil
	if chunked {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	}
	return r
}

// counted returns what the metrics say.
func (m *laid) counted(t *testing.T) (counts [results]int) {
	t.Helper()
	page := httptest.NewRecorder()
	m.metrics.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		for r := range results {
			if n, ok := strings.CutPrefix(line, fmt.Sprintf(`crossgate_mirrored_requests_total{result=%q,route="app"} `, r)); ok {
				if _, err := fmt.Sscan(n, &counts[r]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return counts
}

// settled waits until nothing is held, and returns what was counted.
func (m *laid) settled(t *testing.T) [results]int {
	t.Helper()
	for deadline := time.Now().Add(patience); !m.Idle(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("copies are still held: %v", m.counted(t))
		}
	}
	return m.counted(t)
}

func TestACopyIsTheRequestWithAMark(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		request    *http.Request
		length     int64
		token      string
	}{
		{"without a body", "percent: 100", httptest.NewRequest(http.MethodDelete, "/things?x=1", nil), 0, ""},
		{"with a body", "percent: 100", post("hello", false), 5, ""},
		{"with a body in chunks", "percent: 100", post("hello", true), -1, ""},
		{"with credentials", "credentials: pass", post("hello", false), 5, "Bearer t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			type seen struct {
				*http.Request
				body string
			}
			got := make(chan seen, 2)
			record := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- seen{r, string(body)}
				io.WriteString(w, "ok")
			}
			m, b := start(t, c.keys, serve(t, record), serve(t, record))
			c.request.RequestURI = ""
			c.request.Header = http.Header{"Authorization": {"Bearer t"}, "Cookie": {"session=1"}, "X-Kept": {"a", "b"}, "Expect": {"100-continue"}}
			if text, err := ask(t.Context(), b, c.request); err != nil || text != "ok" {
				t.Fatalf("%q, %v", text, err)
			}
			if counts := m.settled(t); counts[answered] != 1 {
				t.Fatalf("counted %v", counts)
			}
			own, copied := <-got, <-got
			if own.Header.Get(Header) != "" {
				own, copied = copied, own
			}
			if own.Header.Get(Header) != "" || copied.Header.Get(Header) != "1" {
				t.Errorf("marks %q and %q", own.Header.Get(Header), copied.Header.Get(Header))
			}
			if own.Header.Get("Authorization") != "Bearer t" || own.Header.Get("Cookie") == "" {
				t.Errorf("the request itself came without credentials: %v", own.Header)
			}
			if copied.Method != own.Method || copied.URL.String() != own.URL.String() || copied.body != own.body || copied.ContentLength != c.length ||
				len(copied.Header["X-Kept"]) != 2 || copied.Header.Get("Expect") != "" || copied.Header.Get("Authorization") != c.token {
				t.Errorf("the copy is %s %s, %d bytes, %q, %v", copied.Method, copied.URL, copied.ContentLength, copied.body, copied.Header)
			}
		})
	}
}

// TestNothingThatABackendOfCopiesDoesReachesTheCaller has callers ask one after another, each of whom is answered while all
// that the backend of copies got before is stuck.
func TestNothingThatABackendOfCopiesDoesReachesTheCaller(t *testing.T) {
	head := func(c net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(c)) }
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	const callers, concurrent, pending = 60, 3, 5
	takesAll := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, c := range map[string]struct {
		backend func(net.Conn, <-chan struct{}) // until the test's end; nil: it is not there
		stuck   bool
	}{
		"it is not there":  {nil, false},
		"it is paused":     {func(_ net.Conn, end <-chan struct{}) { <-end }, true},
		"it never answers": {func(c net.Conn, _ <-chan struct{}) { takesAll(c) }, true},
		"it resets": {func(c net.Conn, _ <-chan struct{}) {
			head(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}, false},
		"it speaks garbage": {func(c net.Conn, _ <-chan struct{}) {
			head(c)
			_, _ = c.Write(bytes.Repeat([]byte("garbage\x00"), 9000))
		}, false},
		"its answer is stuck": {func(c net.Conn, _ <-chan struct{}) {
			head(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
			takesAll(c)
		}, true},
		"its answer is endless": {func(c net.Conn, _ <-chan struct{}) {
			head(c)
			for text := "HTTP/1.1 200 OK\r\n\r\n"; ; text = strings.Repeat("x", 4096) {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			address := gone.Addr().String()
			if c.backend != nil {
				end := make(chan struct{})
				address = talk(t, func(conn net.Conn) { c.backend(conn, end) })
				t.Cleanup(func() { close(end) })
			}
			m, b := start(t, fmt.Sprintf("max_concurrent: %d, max_pending: %d, timeout: 1h", concurrent, pending),
				serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), address)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i := range callers {
				want := fmt.Sprint("request ", i)
				if text, err := ask(ctx, b, post(want, i%2 == 0)); err != nil || text != want {
					t.Fatalf("%q, %v", text, err)
				}
			}
			if c.stuck {
				// All were answered, and all that there is room for is stuck still.
				if counts := m.counted(t); counts != [results]int{dropped: callers - concurrent - pending} || m.Idle() {
					t.Errorf("counted %v", counts)
				}
				m.Close()
			}
			counts := m.settled(t)
			if counts[answered]+counts[failed]+counts[dropped] != callers {
				t.Errorf("counted %v of %d", counts, callers)
			}
		})
	}
}

// TestCopiesThatAreStuckCountOverReloads loads the configuration again and again while a backend answers no copy. Then that backend
// answers, and what has waited is sent, for which of the configurations it was.
func TestCopiesThatAreStuckCountOverReloads(t *testing.T) {
	const concurrent, pending, reloads, requests = 3, 2, 10, 4
	answer := make(chan struct{})
	var arrived, atOnce, most atomic.Int64
	first, _ := start(t, fmt.Sprintf("max_concurrent: %d, max_pending: %d, timeout: 1h", concurrent, pending),
		serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
		serve(t, func(http.ResponseWriter, *http.Request) {
			arrived.Add(1)
			for n := atOnce.Add(1); ; {
				if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
					break
				}
			}
			<-answer
			atOnce.Add(-1)
		}))
	release := sync.OnceFunc(func() { close(answer) })
	t.Cleanup(release)
	all := []*laid{first}
	for range reloads {
		m := all[len(all)-1]
		for range requests {
			if text, err := ask(t.Context(), m.over(), post("x", false)); err != nil || text != "x" {
				t.Fatalf("%q, %v", text, err)
			}
		}
		all = append(all, m.reloaded(t))
	}
	held := 0
	for _, m := range all {
		if !m.Idle() {
			held++
		}
	}
	// The first takes four, the second the fifth; the others have no room.
	if counts := first.counted(t); counts != [results]int{dropped: reloads*requests - concurrent - pending} || held != 2 {
		t.Errorf("counted %v, and %d mirrors have copies", counts, held)
	}
	// One that is closed takes none of the others' copies with it, and leaves room.
	all[1].Close()
	last := all[len(all)-1]
	if text, err := ask(t.Context(), last.over(), post("x", false)); err != nil || text != "x" || last.Idle() {
		t.Errorf("%q, %v; there is no room where another had a copy", text, err)
	}
	release()
	for _, m := range all {
		m.settled(t)
	}
	if n, counts := arrived.Load(), first.counted(t); n != concurrent+pending || most.Load() > concurrent || counts[answered] != concurrent+pending {
		t.Errorf("%d copies came, %d at once, and %v was counted", n, most.Load(), counts)
	}
}

func TestWhatIsNotCopiedIsCounted(t *testing.T) {
	stopped := func() *http.Request { // a body that breaks off
		r := post("", true)
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("abc"), errorReader{}))
		return r
	}
	upgrade := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RequestURI = ""
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"x"}}
		return r
	}
	for _, c := range []struct {
		name    string
		keys    string
		request *http.Request
		address string // of the route's own backend; empty for one that echoes
		want    [results]int
	}{
		{"a body that is as large as may be", "max_body_size: 8", post("12345678", false), "", [results]int{answered: 1}},
		{"a body in chunks that is as large as may be", "max_body_size: 8", post("12345678", true), "", [results]int{answered: 1}},
		{"a body that is larger", "max_body_size: 8", post("123456789", false), "", [results]int{tooLarge: 1}},
		{"a body in chunks that is larger", "max_body_size: 8", post("123456789", true), "", [results]int{tooLarge: 1}},
		{"a body that breaks off", "percent: 100", stopped(), "", [results]int{incomplete: 1}},
		{"a body that nobody took", "percent: 100", post("x", false), "127.0.0.1:1", [results]int{incomplete: 1}},
		{"a connection that changes its protocol", "percent: 100", upgrade(), "", [results]int{}},
		{"a share of nothing", "percent: 0", post("x", false), "", [results]int{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.address == "" {
				c.address = serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
			}
			m, b := start(t, c.keys, c.address, serve(t, func(http.ResponseWriter, *http.Request) {}))
			_, _ = ask(t.Context(), b, c.request)
			if counts := m.settled(t); counts != c.want {
				t.Errorf("counted %v, want %v", counts, c.want)
			}
		})
	}
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("broken off") }

func TestACallerThatGoesAwayDoesNotEndTheCopy(t *testing.T) {
	come, release := make(chan struct{}), make(chan struct{})
	wait := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		come <- struct{}{}
		<-release
	}
	m, b := start(t, "timeout: 1h", serve(t, wait), serve(t, wait))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := ask(ctx, b, post("x", false))
		left <- err
	}()
	<-come
	<-come
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller left with %v", err)
	}
	close(release)
	if counts := m.settled(t); counts != [results]int{answered: 1} {
		t.Errorf("counted %v", counts)
	}
}

func TestABackendOfCopiesThatFailsIsCounted(t *testing.T) {
	var status atomic.Int32
	m, b := start(t, "timeout: 1h", serve(t, func(http.ResponseWriter, *http.Request) {}),
		serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	for _, s := range []int32{200, 404, 500, 503} {
		status.Store(s)
		if _, err := ask(t.Context(), b, post("x", false)); err != nil {
			t.Fatal(err)
		}
		m.settled(t)
	}
	if counts := m.counted(t); counts != [results]int{answered: 2, failed: 2} {
		t.Errorf("counted %v", counts)
	}
}

func TestAShareIsCopied(t *testing.T) {
	m, _ := start(t, "percent: 30, max_pending: 65536", "127.0.0.1:1", "127.0.0.1:1")
	const requests = 4000
	for range requests {
		m.reserve(0)
	}
	n := m.held.Swap(0)
	if n < requests/5 || n > requests*2/5 {
		t.Errorf("%d of %d requests are copied, want about 30 %%", n, requests)
	}
}

func TestARouteWithoutAMirrorHasNothingOfIt(t *testing.T) {
	_, b := start(t, "percent: 1", "127.0.0.1:1", "127.0.0.1:1")
	var none *Mirror
	if none.Over(b) != b {
		t.Error("the backend is another")
	}
}
