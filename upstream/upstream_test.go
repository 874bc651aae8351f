package upstream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a grpc-go server that takes any method: unary ones and streams echo their messages.
type backend struct {
	t       testing.TB
	address string
	server  *grpc.Server
	calls   atomic.Int32
	conns   atomic.Int32
	creds   credentials.TransportCredentials
	health  *health.Server
	fails   atomic.Bool                              // every call but those of checks
	script  func(n int32, s grpc.ServerStream) error // of the n-th call; nil answers it. Set before any
	ended   chan error                               // what a /t.T/Hang call's context ended with
}

func startBackend(t testing.TB, creds credentials.TransportCredentials) *backend {
	t.Helper()
	b := &backend{t: t, address: "127.0.0.1:0", creds: creds, ended: make(chan error, 16)}
	b.start()
	t.Cleanup(func() { b.server.Stop() })
	return b
}

// start listens, at the same address as before if there was one.
func (b *backend) start() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.address = l.Addr().String()
	options := []grpc.ServerOption{grpc.UnknownServiceHandler(b.handle), grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(64 << 20)}
	if b.creds != nil {
		options = append(options, grpc.Creds(b.creds))
	}
	b.server = grpc.NewServer(options...)
	b.health = health.NewServer()
	healthpb.RegisterHealthServer(b.server, b.health)
	go b.server.Serve(countingListener{l, &b.conns})
}

type countingListener struct {
	net.Listener
	n *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func (b *backend) handle(_ any, s grpc.ServerStream) error {
	n := b.calls.Add(1)
	if b.script != nil {
		if err := b.script(n, s); err != nil {
			return err
		}
	}
	if b.fails.Load() {
		return status.Error(codes.Unavailable, "it fails")
	}
	method, _ := grpc.MethodFromServerStream(s)
	switch method {
	case "/t.T/Fail":
		return status.Error(codes.Unavailable, "said by the backend")
	case "/t.T/Hang":
		<-s.Context().Done()
		b.ended <- s.Context().Err()
		return s.Context().Err()
	}
	in, _ := metadata.FromIncomingContext(s.Context())
	if err := s.SetHeader(metadata.Pairs("x-address", b.address, "x-echo", strings.Join(in.Get("x-sent"), ","))); err != nil {
		return err
	}
	s.SetTrailer(metadata.Pairs("x-trailer", "t"))
	for {
		var m mem.Buffer
		if err := s.RecvMsg(&m); err != nil {
			return nil
		}
		err := s.SendMsg(m)
		m.Free()
		if err != nil {
			return err
		}
	}
}

func upstreamOf(endpoints ...string) config.Upstream {
	return config.Upstream{Name: "shop", Endpoints: endpoints, Connections: 2, ConnectTimeout: config.Duration(5 * time.Second), MaxMessageSize: 32 << 20}
}

func openSet(t testing.TB, prev *Set, cfg ...config.Upstream) *Set {
	t.Helper()
	s, err := Open(cfg, Options{}, prev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// testTime is how long a test waits for what is to come, on a machine that may be busy.
const testTime = time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	t.Cleanup(cancel)
	return ctx
}

// call echoes text and returns the address that answered.
func call(ctx context.Context, p *Pool, text string) (string, error) {
	reply := new(Reply)
	defer reply.Reset()
	if err := p.Invoke(ctx, &Call{Method: "/t.T/Echo", Request: []byte(text)}, reply); err != nil {
		return "", err
	}
	if string(reply.Bytes()) != text {
		return "", fmt.Errorf("echoed %d bytes of %d", len(reply.Bytes()), len(text))
	}
	return strings.Join(reply.Header["x-address"], ","), nil
}

// until retries f for as long as a test may wait.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTime); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// closedAddress is one that nobody listens at.
func closedAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCallsGoToTheEndpointsInTurn(t *testing.T) {
	a, b := startBackend(t, nil), startBackend(t, nil)
	cfg := upstreamOf(a.address, b.address)
	cfg.Balancing.Policy = "round_robin"
	p := openSet(t, nil, cfg).Pool("shop")
	ctx := testContext(t)
	until(t, "both to be connected", func() bool {
		if _, err := call(ctx, p, "x"); err != nil {
			t.Fatal(err)
		}
		return a.calls.Load() > 0 && b.calls.Load() > 0
	})
	a.calls.Store(0)
	b.calls.Store(0)
	for range 100 {
		if _, err := call(ctx, p, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if a.calls.Load() != 50 || b.calls.Load() != 50 {
		t.Errorf("%d and %d calls, want 50 each", a.calls.Load(), b.calls.Load())
	}
}

func TestAnEndpointThatIsDownIsPassedOver(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(closedAddress(t), a.address, closedAddress(t))).Pool("shop")
	for range 30 {
		if got, err := call(testContext(t), p, "x"); err != nil || got != a.address {
			t.Fatalf("answered by %q, %v", got, err)
		}
	}
}

func TestAnEndpointThatDoesNotAnswerHoldsNobodyUpOnceAnotherIsConnected(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word of HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	a := startBackend(t, nil)
	cfg := upstreamOf(a.address, mute.Addr().String())
	cfg.ConnectTimeout = config.Duration(time.Hour)
	p := openSet(t, nil, cfg).Pool("shop")
	until(t, "the first call", func() bool {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := call(short, p, "x")
		return err == nil
	})
	for range 20 {
		if _, err := call(testContext(t), p, "x"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWithoutABackendCallsFailAtOnce(t *testing.T) {
	cfg := upstreamOf(closedAddress(t), closedAddress(t))
	cfg.ConnectTimeout = config.Duration(time.Hour) // who waited for it would not be answered in the test's time
	p := openSet(t, nil, cfg).Pool("shop")
	_, err := call(testContext(t), p, "x")
	s := status.Convert(err)
	if s.Code() != codes.Unavailable || s.Message() != "no backend of upstream shop can be reached" {
		t.Errorf("status %v", s)
	}
	if !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error has no reason for the log: %v", err)
	}
	if _, err := p.NewStream(testContext(t), &grpc.StreamDesc{ServerStreams: true}, "/t.T/Echo"); status.Code(err) != codes.Unavailable {
		t.Errorf("stream: %v", err)
	}
}

func TestABackendThatComesBackServesAgain(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	ctx := testContext(t)
	if _, err := call(ctx, p, "x"); err != nil {
		t.Fatal(err)
	}
	a.server.Stop()
	until(t, "calls to fail", func() bool { _, err := call(ctx, p, "x"); return status.Code(err) == codes.Unavailable })
	a.start()
	until(t, "calls to succeed", func() bool { _, err := call(ctx, p, "x"); return err == nil })
}

func TestABackendsOwnUnavailableIsNotTriedAgain(t *testing.T) {
	a, b := startBackend(t, nil), startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address, b.address)).Pool("shop")
	err := p.Invoke(testContext(t), &Call{Method: "/t.T/Fail", Request: []byte("x")}, new(Reply))
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "said by the backend" {
		t.Errorf("status %v", s)
	}
	if n := a.calls.Load() + b.calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestMetadataGoesBothWays(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	reply := new(Reply)
	if err := p.Invoke(testContext(t), &Call{Method: "/t.T/Echo", Metadata: []string{"x-sent", "one"}, Request: []byte("x")}, reply); err != nil {
		t.Fatal(err)
	}
	if got := reply.Header.Get("x-echo"); len(got) != 1 || got[0] != "one" {
		t.Errorf("header %v", reply.Header)
	}
	if got := reply.Trailer.Get("x-trailer"); len(got) != 1 || got[0] != "t" {
		t.Errorf("trailer %v", reply.Trailer)
	}
	reply.Reset()
	if reply.Header != nil || reply.Trailer != nil || len(reply.Bytes()) != 0 {
		t.Error("Reset leaves something behind")
	}
}

func TestDeadlinesAndCancellationReachTheBackend(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	if _, err := call(testContext(t), p, "x"); err != nil {
		t.Fatal(err)
	}
	// The deadline may pass before the call has arrived.
	before := a.calls.Load()
	for wait := 50 * time.Millisecond; a.calls.Load() == before; wait *= 2 {
		short, cancel := context.WithTimeout(context.Background(), wait)
		err := p.Invoke(short, &Call{Method: "/t.T/Hang", Request: []byte("x")}, new(Reply))
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("error %v", err)
		}
	}
	<-a.ended

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	before = a.calls.Load()
	go func() { done <- p.Invoke(ctx, &Call{Method: "/t.T/Hang", Request: []byte("x")}, new(Reply)) }()
	until(t, "the call to arrive", func() bool { return a.calls.Load() > before })
	cancel()
	if err := <-done; status.Code(err) != codes.Canceled {
		t.Errorf("error %v", err)
	}
	<-a.ended
}

func TestMessagesUpToTheLimit(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	if _, err := call(testContext(t), p, strings.Repeat("x", 8<<20)); err != nil {
		t.Error(err)
	}
	small := upstreamOf(a.address)
	small.MaxMessageSize = 1000
	p = openSet(t, nil, small).Pool("shop")
	_, err := call(testContext(t), p, strings.Repeat("x", 1001))
	if s := status.Convert(err); s.Code() != codes.Internal || !strings.Contains(s.Message(), "max_message_size") {
		t.Errorf("status %v", s)
	}
}

func TestStreams(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(closedAddress(t), a.address)).Pool("shop")
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	s, err := p.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/t.T/Echo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		text := strings.Repeat("m", i*1000)
		if err := s.SendMsg(mem.Buffer(mem.SliceBuffer(text))); err != nil {
			t.Fatal(err)
		}
		var m mem.Buffer
		if err := s.RecvMsg(&m); err != nil {
			t.Fatal(err)
		}
		if string(m.ReadOnlyData()) != text {
			t.Errorf("message %d: %d bytes, want %d", i, m.Len(), len(text))
		}
		m.Free()
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var m mem.Buffer
	if err := s.RecvMsg(&m); err == nil || err.Error() != "EOF" {
		t.Errorf("end: %v", err)
	}
}

func TestAStreamWhoseBackendDiesSaysUnavailable(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	s, err := p.NewStream(testContext(t), &grpc.StreamDesc{ServerStreams: true}, "/t.T/Hang")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(mem.Buffer(mem.SliceBuffer("x"))); err != nil {
		t.Fatal(err)
	}
	until(t, "the call to arrive", func() bool { return a.calls.Load() > 0 })
	a.server.Stop()
	var m mem.Buffer
	err = s.RecvMsg(&m)
	if st := status.Convert(err); st.Code() != codes.Unavailable || strings.Contains(st.Message(), "127.0.0.1") {
		t.Errorf("status %v", st)
	}
}

func TestWatchTellsOfBackendsThatComeBack(t *testing.T) {
	a := startBackend(t, nil)
	p := openSet(t, nil, upstreamOf(a.address)).Pool("shop")
	ctx, cancel := context.WithCancel(testContext(t))
	ready := make(chan struct{}, 16)
	done := make(chan struct{})
	go func() { p.Watch(ctx, func() { ready <- struct{}{} }); close(done) }()
	<-ready
	a.server.Stop()
	until(t, "calls to fail", func() bool { _, err := call(ctx, p, "x"); return err != nil })
	a.start()
	<-ready
	cancel()
	<-done
}

func TestConnServesGeneratedClients(t *testing.T) {
	a := startBackend(t, nil)
	c := openSet(t, nil, upstreamOf(closedAddress(t), a.address)).Pool("shop").Conn()
	ctx := testContext(t)
	until(t, "a call to succeed", func() bool {
		var reply mem.Buffer
		err := c.Invoke(ctx, "/t.T/Echo", mem.Buffer(mem.SliceBuffer("x")), &reply)
		return err == nil && string(reply.ReadOnlyData()) == "x"
	})
}
