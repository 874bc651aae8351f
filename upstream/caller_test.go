package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
)

func ms(n int) config.Duration { return config.Duration(time.Duration(n) * time.Millisecond) }

// retrying is a route that tries again.
func retrying(on ...string) *config.Route {
	return &config.Route{Retry: &config.Retry{Retries: 2, On: on, Backoff: ms(1), MaxBackoff: ms(2), Buffer: 1000}}
}

// ask makes a unary call by a backend, as REST/JSON does, or with native set as a gRPC client's call passes.
func ask(ctx context.Context, b Backend, native bool, text string) error {
	if !native {
		return b.Invoke(ctx, &Call{Method: "/t.T/Echo", Request: []byte(text)}, new(Reply))
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))
	answer, err := b.RoundTrip((&http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/t.T/Echo"}, Host: "shop.example.com", Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}},
		Body: io.NopCloser(bytes.NewReader(append(frame, text...))), ContentLength: -1,
	}).WithContext(ctx))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	text = answer.Header.Get("Grpc-Status") + answer.Trailer.Get("Grpc-Status")
	var code codes.Code
	if _, err := fmt.Sscan(text, (*uint32)(&code)); err != nil {
		return err
	}
	return status.Error(code, "")
}

func TestCallsAreTriedAgainAsTheRouteSays(t *testing.T) {
	unavailable := status.Error(codes.Unavailable, "for now")
	failing := func(times int32, err error, md ...string) func(int32, grpc.ServerStream) error {
		return func(n int32, s grpc.ServerStream) error {
			if n > times {
				return nil
			}
			s.SetTrailer(metadata.Pairs(md...))
			return err
		}
	}
	hanging := func(n int32, s grpc.ServerStream) error {
		if n == 1 {
			<-s.Context().Done()
			return s.Context().Err()
		}
		return nil
	}
	timed := retrying("timeout")
	timed.TryTimeout = ms(100)
	told := retrying()
	told.Retry.NonIdempotent = true
	spent := upstreamOf()
	for _, c := range []struct {
		name       string
		script     func(int32, grpc.ServerStream) error
		route      *config.Route
		idempotent bool
		budget     config.RetryBudget
		text       string
		calls      int32 // that the backend gets
		code       codes.Code
	}{
		{"UNAVAILABLE twice", failing(2, unavailable), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 3, codes.OK},
		{"three times is more than two retries", failing(3, unavailable), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 3, codes.Unavailable},
		{"what is not idempotent", failing(1, unavailable), retrying(), false, config.RetryBudget{MinConcurrent: 3}, "x", 1, codes.Unavailable},
		{"unless told", failing(1, unavailable), told, false, config.RetryBudget{MinConcurrent: 3}, "x", 2, codes.OK},
		{"a code that is not listed", failing(1, status.Error(codes.Internal, "")), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 1, codes.Internal},
		{"one that is", failing(1, status.Error(codes.Aborted, "")), retrying("aborted"), true, config.RetryBudget{MinConcurrent: 3}, "x", 2, codes.OK},
		{"the backend says when", failing(1, unavailable, "grpc-retry-pushback-ms", "5"), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 2, codes.OK},
		{"the backend says never", failing(1, unavailable, "grpc-retry-pushback-ms", "-1"), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 1, codes.Unavailable},
		{"not in time for the deadline", failing(1, unavailable, "grpc-retry-pushback-ms", "60000"), retrying(), true, config.RetryBudget{MinConcurrent: 3}, "x", 1, codes.Unavailable},
		{"a try that takes too long", hanging, timed, true, config.RetryBudget{MinConcurrent: 3}, "x", 2, codes.OK},
		{"the budget is spent", failing(1, unavailable), retrying(), true, config.RetryBudget{Percent: 20}, "x", 1, codes.Unavailable},
	} {
		for _, native := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, native %v", c.name, native), func(t *testing.T) {
				b := startBackend(t, nil)
				b.script = c.script
				cfg := spent
				cfg.Endpoints, cfg.RetryBudget = []string{b.address}, c.budget
				p := openSet(t, nil, cfg).Pool("shop")
				err := ask(testContext(t), p.For(c.route, c.idempotent), native, c.text)
				if status.Code(err) != c.code || b.calls.Load() != c.calls {
					t.Errorf("%v after %d calls, want %v after %d", err, b.calls.Load(), c.code, c.calls)
				}
				if n := p.budget.extra.Load() + p.budget.requests.Load(); n != 0 {
					t.Errorf("the budget has %d left over", n)
				}
			})
		}
	}
}

func TestARetryGoesToAnotherEndpoint(t *testing.T) {
	good, bad := startBackend(t, nil), startBackend(t, nil)
	bad.fails.Store(true)
	p := openSet(t, nil, withBudget(upstreamOf(good.address, bad.address))).Pool("shop")
	b := p.For(retrying(), true)
	failed := 0
	for range 100 {
		if err := ask(testContext(t), b, false, "x"); err != nil {
			failed++
		}
	}
	if failed != 0 || bad.calls.Load() == 0 {
		t.Errorf("%d of 100 calls failed, the bad endpoint had %d", failed, bad.calls.Load())
	}
}

func withBudget(cfg config.Upstream) config.Upstream {
	cfg.RetryBudget = config.RetryBudget{Percent: 20, MinConcurrent: 3}
	return cfg
}

// httpBackend is an upstream of protocol http.
func httpUpstream(servers ...*httptest.Server) config.Upstream {
	cfg := withBudget(upstreamOf())
	cfg.Protocol, cfg.HTTPVersion, cfg.MaxIdleConnections, cfg.MaxHeaderSize = "http", "auto", 4, 1<<16
	for _, s := range servers {
		cfg.Endpoints = append(cfg.Endpoints, s.Listener.Addr().String())
	}
	return cfg
}

func TestBodiesAreSentAgainUnlessMoreOfThemIsGoneThanIsKept(t *testing.T) {
	for _, c := range []struct {
		name, method string
		size         int
		calls        int32
		status       int
	}{
		{"a PUT", http.MethodPut, 900, 3, 200},
		{"without a body", http.MethodGet, 0, 3, 200},
		{"a POST is not idempotent", http.MethodPost, 10, 1, 503},
		{"a PUT beyond the buffer", http.MethodPut, 5000, 1, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) != c.size || strings.Trim(string(body), "x") != "" {
					t.Errorf("try %d has %d bytes of %d", calls.Load(), len(body), c.size)
				}
				if calls.Add(1) < 3 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			defer s.Close()
			p := openSet(t, nil, httpUpstream(s)).Pool("shop")
			var body io.Reader
			if c.size > 0 {
				body = strings.NewReader(strings.Repeat("x", c.size))
			}
			r, _ := http.NewRequestWithContext(testContext(t), c.method, "http://shop/", body)
			r.GetBody = nil
			answer, err := p.For(retrying(), false).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != c.status || calls.Load() != c.calls {
				t.Errorf("%d after %d calls, want %d after %d", answer.StatusCode, calls.Load(), c.status, c.calls)
			}
		})
	}
}

func TestALateReadOfAnEarlierTryTakesNothingFromTheNext(t *testing.T) {
	in, out := io.Pipe()
	r := &replay{source: in, most: 100}
	first := r.again()
	done := make(chan struct{})
	go func() { // waits for the caller
		defer close(done)
		_, _ = first.Read(make([]byte, 10))
	}()
	if _, err := out.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	<-done
	waits := make(chan struct{})
	go func() { // and once more, for longer than its try lasts
		defer close(waits)
		_, _ = first.Read(make([]byte, 10))
	}()
	first.Close()
	next := r.again() // is there at once, whoever reads
	go func() {
		_, _ = out.Write([]byte("def"))
		out.Close()
	}()
	got, err := io.ReadAll(next)
	<-waits
	if string(got) != "abcdef" || err != nil {
		t.Errorf("the next try reads %q, %v", got, err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("the first try reads on: %v", err)
	}
}

func TestASlowRequestIsHedgedAndTheFirstAnswerCounts(t *testing.T) {
	slow, fast := startBackend(t, nil), startBackend(t, nil)
	slow.script = func(_ int32, s grpc.ServerStream) error {
		<-s.Context().Done()
		return s.Context().Err()
	}
	p := openSet(t, nil, withBudget(upstreamOf(slow.address, fast.address))).Pool("shop")
	route := &config.Route{Hedge: &config.Hedge{After: ms(20)}}
	for _, native := range []bool{false, true} {
		slow.calls.Store(0)
		until(t, "the slow one to be asked", func() bool {
			if err := ask(testContext(t), p.For(route, true), native, "x"); err != nil {
				t.Fatal(err, native)
			}
			return slow.calls.Load() > 0
		})
	}

	// More than is kept goes to one endpoint, which is the slow one some time.
	ctx, cancel := context.WithCancel(testContext(t))
	before := slow.calls.Load()
	ended := make(chan error, 1)
	go func() {
		for slow.calls.Load() == before {
			if err := ask(ctx, p.For(route, true), true, strings.Repeat("x", hedgeBuffer)); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	until(t, "the slow one to be asked", func() bool { return slow.calls.Load() > before })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is too large for a second endpoint ended with %v", err)
	}

	var calls atomic.Int32
	stuck := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "second")
	}))
	defer stuck.Close()
	q := openSet(t, nil, httpUpstream(stuck)).Pool("shop")
	r, _ := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://shop/", nil)
	answer, err := q.For(route, false).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); string(body) != "second" || err != nil {
		t.Errorf("the answer is %q, %v", body, err)
	}
}

func TestAStreamThatIsSilentForTooLongIsGivenUp(t *testing.T) {
	b := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(b.address)).Pool("shop")
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	caller := p.For(&config.Route{StreamIdleTimeout: ms(300)}, false)
	// A slow machine may make a stream silent for too long before its time, but not each.
	until(t, "a stream that goes on for longer than the limit", func() bool {
		s, err := caller.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/t.T/Echo")
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // much longer in all than the limit
			if err := s.SendMsg(mem.Buffer(mem.SliceBuffer("x"))); err != nil {
				return false
			}
			var m mem.Buffer
			if err := s.RecvMsg(&m); err != nil {
				t.Log(err)
				return false
			}
			m.Free()
			time.Sleep(20 * time.Millisecond)
		}
		if err := s.RecvMsg(new(mem.Buffer)); !errors.Is(err, errSilent) {
			t.Fatalf("the silent stream ends with %v", err)
		}
		return true
	})
}

func TestOnlySoManyRequestsAreUnderWayAndWait(t *testing.T) {
	b := startBackend(t, nil)
	open := make(chan struct{})
	b.script = func(_ int32, s grpc.ServerStream) error {
		select {
		case <-open:
		case <-s.Context().Done():
		}
		return nil
	}
	cfg := upstreamOf(b.address)
	cfg.Concurrency = &config.Concurrency{MaxRequests: 2, MaxPending: 1, PendingTimeout: config.Duration(testTime)}
	p := openSet(t, nil, cfg).Pool("shop")
	ctx := testContext(t)
	var callers sync.WaitGroup
	var served atomic.Int32
	for i := range 3 {
		callers.Go(func() {
			if err := ask(ctx, p, i == 1, "x"); err != nil {
				t.Error(err)
			}
			served.Add(1)
		})
	}
	until(t, "two under way and one waiting", func() bool {
		p.gate.mu.Lock()
		defer p.gate.mu.Unlock()
		return p.gate.active == 2 && len(p.gate.waiting) == 1
	})
	for _, native := range []bool{false, true} {
		err := ask(ctx, p, native, "x")
		if own, ok := errors.AsType[*fault.Error](err); !ok || own.Reason != fault.UpstreamOverloaded {
			t.Errorf("one too many ends with %v", err)
		}
	}
	if _, err := p.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/t.T/Echo"); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream too many: %v", err)
	}
	close(open)
	callers.Wait()
	until(t, "all to have left", func() bool {
		p.gate.mu.Lock()
		defer p.gate.mu.Unlock()
		return p.gate.active == 0
	})
}

func TestAnAdaptiveLimitFollowsWhatTheBackendCanDo(t *testing.T) {
	// A backend that works on ten at a time, 10 ms each: more than that only wait there.
	latency := func(active int) time.Duration { return time.Duration(max(active, 10)) * time.Millisecond }
	a := newAdaptive(4, 1000)
	limit := int(a.limit)
	for range 100 * window {
		limit = a.observe(latency(limit), succeeded, limit)
	}
	if limit < 10 || limit > 120 {
		t.Errorf("the limit comes to %d, want about what it can do", limit)
	}
	before := limit
	for range 10 * window {
		limit = a.observe(time.Second, endedByTimeout, limit)
	}
	if limit > before/2 {
		t.Errorf("when requests time out the limit goes from %d to %d only", before, limit)
	}
	for range 3 * window { // nobody comes: that says nothing
		limit = a.observe(time.Millisecond, succeeded, 1)
	}
	if limit > before {
		t.Errorf("without load the limit goes to %d", limit)
	}
}

// TestAnAdaptiveLimitIsFoundForPlainHTTPToo has more requests under way than the limit begins with.
func TestAnAdaptiveLimitIsFoundForPlainHTTPToo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 10 { // not all of which comes
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			w.Header().Set("Connection", "close")
			_ = rc.Flush()
		}
	}))
	defer s.Close()
	cfg := httpUpstream(s)
	cfg.Concurrency = &config.Concurrency{MaxRequests: 1000, MinRequests: 1, MaxPending: 100, PendingTimeout: config.Duration(time.Minute), Adaptive: true}
	p := openSet(t, nil, cfg).Pool("shop")
	limit := func() int {
		p.gate.mu.Lock()
		defer p.gate.mu.Unlock()
		return p.gate.limit
	}
	requests := func(body func() io.Reader) {
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				r, _ := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://shop/", body())
				answer, err := p.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			})
		}
		all.Wait()
	}
	begin := limit()
	for range window + 10 { // answered before the caller has sent all: that says nothing
		reader, writer := io.Pipe()
		r, _ := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://shop/", reader)
		r.ContentLength = 10
		if answer, err := p.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
		writer.Close()
	}
	if got := limit(); got != begin {
		t.Errorf("unfinished requests change the limit to %d", got)
	}
	until(t, "the limit to change", func() bool {
		requests(func() io.Reader { return strings.NewReader("x") })
		return limit() != begin
	})
}

func TestABrokenConnectionIsTriedAgainWhereItMayBe(t *testing.T) {
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer good.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes requests and breaks off
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 1024))
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}()
		}
	}()
	cfg := httpUpstream(good)
	cfg.Endpoints = append(cfg.Endpoints, l.Addr().String())
	p := openSet(t, nil, cfg).Pool("shop")
	failed := map[string]int{}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for range 50 {
			r, _ := http.NewRequestWithContext(testContext(t), method, "http://shop/", strings.NewReader("x"))
			r.GetBody = nil
			answer, err := p.For(retrying(), false).RoundTrip(r)
			if err != nil {
				failed[method]++
				continue
			}
			answer.Body.Close()
		}
	}
	if failed[http.MethodGet] != 0 || failed[http.MethodPost] == 0 {
		t.Errorf("%d GET of 50 failed, want none; %d POST, which may not be repeated", failed[http.MethodGet], failed[http.MethodPost])
	}
}
