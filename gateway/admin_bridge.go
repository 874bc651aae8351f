package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	bridgev1 "github.com/crossgate/crossgate/proto/crossgate/bridge/v1"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/upstream"
)

// adminBridge serves crossgate.bridge.v1.Bridge on the admin listener: gRPC at the methods' own paths, and REST by the
// transcoder that serves everybody's methods, from the service's own descriptors.
type adminBridge struct {
	guard adminGuard
	rpc   *grpc.Server
	table *routing.Table[*transcoder.Method]
}

func newAdminBridge(g *Gateway, guard adminGuard) (*adminBridge, error) {
	server := &bridge{gateway: g}
	b := &adminBridge{guard: guard, rpc: grpc.NewServer()}
	bridgev1.RegisterBridgeServer(b.rpc, server)
	raw, err := proto.Marshal(descriptors.Closure(bridgev1.File_crossgate_bridge_v1_bridge_proto))
	if err != nil {
		return nil, fmt.Errorf("gateway: the bridge's descriptors: %w", err)
	}
	services, err := descriptors.Inspect("bridge", raw)
	if err != nil {
		return nil, fmt.Errorf("gateway: the bridge's descriptors: %w", err)
	}
	backend := &inProcess{server: server, methods: map[string]grpc.MethodHandler{}}
	for _, m := range bridgev1.Bridge_ServiceDesc.Methods {
		backend.methods["/"+bridgev1.Bridge_ServiceDesc.ServiceName+"/"+m.MethodName] = m.Handler
	}
	var rules []routing.Rule[*transcoder.Method]
	for _, s := range services {
		for _, m := range s.Methods {
			for _, binding := range m.Bindings {
				method, err := transcoder.Compile(m, binding, transcoder.Options{Backend: backend})
				if err != nil {
					return nil, err
				}
				rules = append(rules, routing.Rule[*transcoder.Method]{
					Methods: []string{binding.HTTPMethod}, Template: method.Template(), Value: method, Origin: m.FullMethod})
			}
		}
	}
	b.table, err = routing.Compile(rules)
	return b, err
}

// ServeHTTP answers what the admin listener has no handler of its own for.
func (b *adminBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		b.guard.change(b.rpc.ServeHTTP)(w, r)
		return
	}
	ask := routing.Request{Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header}
	method, vars, outcome := b.table.Match(&ask, nil)
	switch outcome {
	case routing.Matched:
		b.guard.change(func(w http.ResponseWriter, r *http.Request) { method.Serve(w, r, vars) })(w, r)
	case routing.MethodNotAllowed:
		w.Header().Set("Allow", strings.Join(b.table.Allow(&ask), ", "))
		transcoder.WriteError(w, r, fault.New(fault.MethodNotAllowed, "the path does not take the method "+r.Method))
	default:
		transcoder.WriteError(w, r, fault.New(fault.NoRoute, "the admin API has no such path"))
	}
}

// inProcess is a backend in this very process.
type inProcess struct {
	server  any
	methods map[string]grpc.MethodHandler
}

// Invoke implements transcoder.Backend.
func (p *inProcess) Invoke(ctx context.Context, call *upstream.Call, reply *upstream.Reply) error {
	method := p.methods[call.Method]
	if method == nil {
		return status.Error(codes.Unimplemented, "no such method")
	}
	answer, err := method(p.server, ctx, func(request any) error { return proto.Unmarshal(call.Request, request.(proto.Message)) }, nil)
	if err != nil {
		return err
	}
	wire, err := proto.Marshal(answer.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, "the answer cannot be encoded")
	}
	reply.SetBytes(wire)
	return nil
}

// NewStream implements transcoder.Backend.
func (p *inProcess) NewStream(context.Context, *grpc.StreamDesc, string) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no such method")
}
