package testserver

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/testproto"
)

// Server is a running backend.
type Server struct {
	// Address is where it listens, host:port.
	Address string

	grpc            *grpc.Server
	served          chan struct{}
	calls, canceled atomic.Int64
}

// Start serves all services of testproto and reflection (v1 and v1alpha) on a free loopback port until the test ends.
func Start(t testing.TB, options ...grpc.ServerOption) *Server {
	t.Helper()
	return StartAt(t, "127.0.0.1:0", options...)
}

// StartAt serves on an address, as a backend does that comes back.
func StartAt(t testing.TB, address string, options ...grpc.ServerOption) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: listener.Addr().String(), served: make(chan struct{})}
	options = append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.WaitForHandlers(true),
	}, options...)
	s.grpc = grpc.NewServer(options...)
	testproto.RegisterEchoServer(s.grpc, echo{})
	testproto.RegisterBindingsServer(s.grpc, bindings{})
	testproto.RegisterStreamsServer(s.grpc, streams{})
	testproto.RegisterControlServer(s.grpc, control{})
	reflection.Register(s.grpc)
	go func() {
		defer close(s.served)
		// Stopped before it served is stopped all the same.
		if err := s.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("test server at %s: %v", s.Address, err)
		}
	}()
	t.Cleanup(s.Stop)
	return s
}

// Stop closes every connection and returns when no handler runs. It may be called again.
func (s *Server) Stop() {
	s.grpc.Stop()
	<-s.served
}

// Calls returns how many calls came, those of reflection among them.
func (s *Server) Calls() int64 { return s.calls.Load() }

// Canceled returns how many calls ended because the caller was gone.
func (s *Server) Canceled() int64 { return s.canceled.Load() }

func (s *Server) ended(err error) {
	if status.Code(err) == codes.Canceled {
		s.canceled.Add(1)
	}
}
