package demo

import (
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// ShopServer is a shop on a port of its own.
type ShopServer struct {
	grpc     *grpc.Server
	listener net.Listener
	served   chan struct{}
}

// StartShop serves a new shop at a TCP address, port 0 for a free one, with server reflection (v1 and v1alpha).
func StartShop(address string) (*ShopServer, error) {
	files, err := commentedFiles()
	if err != nil {
		return nil, fmt.Errorf("demo shop: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("demo shop: %w", err)
	}
	s := &ShopServer{
		grpc:     grpc.NewServer(grpc.WaitForHandlers(true)),
		listener: listener,
		served:   make(chan struct{}),
	}
	NewShop().Register(s.grpc)
	o := reflection.ServerOptions{Services: s.grpc, DescriptorResolver: files}
	reflectionv1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(o))
	reflectionv1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(o))
	// Serves until Close.
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(listener)
	}()
	return s, nil
}

// Register offers the shop on a gRPC server.
func (s *Shop) Register(server grpc.ServiceRegistrar) { demov1.RegisterShopServer(server, s) }

// Address returns where the shop listens, host:port.
func (s *ShopServer) Address() string { return s.listener.Addr().String() }

// Close ends every call, watches among them, and returns when none runs. It is to be called once.
func (s *ShopServer) Close() {
	s.grpc.Stop()
	<-s.served
}
