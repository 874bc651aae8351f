package descriptors

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// reflecting starts a backend on address, which may be "127.0.0.1:0", that tells of the services called names in files.
func reflecting(t *testing.T, address string, register func(*grpc.Server, reflection.ServerOptions), names []string, files ...*descriptorpb.FileDescriptorProto) (at string, stop func()) {
	t.Helper()
	src, err := compileSet("backend", marshal(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	for _, name := range names {
		server.RegisterService(&grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil)}, struct{}{})
	}
	register(server, reflection.ServerOptions{Services: server, DescriptorResolver: src.files})
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	stop = func() {
		server.Stop()
		<-served
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func v1(s *grpc.Server, o reflection.ServerOptions) {
	reflectv1.RegisterServerReflectionServer(s, reflection.NewServerV1(o))
}

func v1alpha(s *grpc.Server, o reflection.ServerOptions) {
	reflectv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(o))
}

func dial(t *testing.T, address string) backend {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return backend{conn}
}

const reflectOnUp = "upstreams: [{name: up, endpoints: [\"127.0.0.1:1\"]}]\ndescriptors: [{reflection: {upstream: up}}]"

func TestServicesOfABackendAreKnownByEitherVersionOfReflection(t *testing.T) {
	common := service("common.proto", "common", "Unused")
	common.Service = nil
	file := annotated("a.proto", "a.v1", "A", &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/{name}"}})
	file.Dependency = append(file.Dependency, "common.proto", "google/protobuf/timestamp.proto")
	file.Service[0].Method[0].OutputType = proto.String(".common.M")
	for name, register := range map[string]func(*grpc.Server, reflection.ServerOptions){"v1 alone": v1, "v1alpha alone": v1alpha} {
		t.Run(name, func(t *testing.T) {
			address, _ := reflecting(t, "127.0.0.1:0", register, []string{"a.v1.A"}, common, file)
			up := dial(t, address)
			set, err := loader(t, reflectOnUp, nil, func(string) Backend { return up }, func() {}).Load(context.Background())
			if err != nil || len(set.Pending) != 0 || len(set.Services()) != 1 {
				t.Fatalf("%+v, %v", set, err)
			}
			a := set.Service("a.v1.A")
			if a.Source != "reflection on up" || len(a.Methods[0].Bindings) != 1 || a.Methods[0].Bindings[0].Template != "/v1/{name}" {
				t.Errorf("%+v, %+v", a, a.Methods[0])
			}
			if out := a.Methods[0].Descriptor.Output(); out.FullName() != "common.M" || out.Fields().Len() != 1 {
				t.Errorf("the answer is %v", out)
			}
		})
	}
}

func TestTwoBackendsMayServeDifferentServicesOfOneFile(t *testing.T) {
	file := service("a.proto", "a.v1", "A")
	second := proto.Clone(file.Service[0]).(*descriptorpb.ServiceDescriptorProto)
	second.Name = proto.String("B")
	file.Service = append(file.Service, second)
	backends := map[string]Backend{}
	for name, service := range map[string]string{"one": "a.v1.A", "two": "a.v1.B"} {
		address, _ := reflecting(t, "127.0.0.1:0", v1, []string{service}, file)
		backends[name] = dial(t, address)
	}
	set, err := loader(t, `
upstreams: [{name: one, endpoints: ["127.0.0.1:1"]}, {name: two, endpoints: ["127.0.0.1:1"]}]
descriptors: [{reflection: {upstream: one}}, {reflection: {upstream: two}}]`, nil,
		func(name string) Backend { return backends[name] }, func() {}).Load(context.Background())
	if err != nil || len(set.Services()) != 2 || set.Service("a.v1.B").Source != "reflection on two" {
		t.Errorf("%+v, %v", set, err)
	}
}

// shuffled lists services in another order each time it is asked.
type shuffled struct {
	reflectv1.ServerReflectionServer
	asked atomic.Int32
}

func (s *shuffled) ServerReflectionInfo(stream grpc.BidiStreamingServer[reflectv1.ServerReflectionRequest, reflectv1.ServerReflectionResponse]) error {
	return s.ServerReflectionServer.ServerReflectionInfo(&shuffledStream{stream, s.asked.Add(1)%2 == 0})
}

type shuffledStream struct {
	grpc.BidiStreamingServer[reflectv1.ServerReflectionRequest, reflectv1.ServerReflectionResponse]
	reverse bool
}

func (s *shuffledStream) Send(answer *reflectv1.ServerReflectionResponse) error {
	if list := answer.GetListServicesResponse(); list != nil && s.reverse {
		slices.Reverse(list.Service)
	}
	return s.BidiStreamingServer.Send(answer)
}

func TestTheSameServicesInAnotherOrderAreNoChange(t *testing.T) {
	address, _ := reflecting(t, "127.0.0.1:0", func(s *grpc.Server, o reflection.ServerOptions) {
		reflectv1.RegisterServerReflectionServer(s, &shuffled{ServerReflectionServer: reflection.NewServerV1(o)})
	}, []string{"a.v1.A", "b.v1.B"}, service("a.proto", "a.v1", "A"), service("b.proto", "b.v1", "B"))
	up := dial(t, address)
	first, err := reflectSet(context.Background(), "up", up.Conn())
	if err != nil {
		t.Fatal(err)
	}
	second, err := reflectSet(context.Background(), "up", up.Conn())
	if err != nil || second.digest != first.digest {
		t.Errorf("the digest differs; %v", err)
	}
}

func TestABackendThatComesBackWithMoreServicesIsAskedAgain(t *testing.T) {
	file := service("a.proto", "a.v1", "A")
	address, stop := reflecting(t, "127.0.0.1:0", v1, []string{"a.v1.A"}, file)
	up := dial(t, address)
	told := make(chan struct{}, 100)
	l := loader(t, reflectOnUp, nil, func(string) Backend { return up }, func() { told <- struct{}{} })
	if set, err := l.Load(context.Background()); err != nil || len(set.Services()) != 1 {
		t.Fatalf("%+v, %v", set, err)
	}
	if err := l.Watch(); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stop()
	reflecting(t, address, v1, []string{"a.v1.A", "b.v1.B"}, file, service("b.proto", "b.v1", "B"))
	eventually(t, "the new service is loaded", func() bool {
		select {
		case <-told:
			set, err := l.Load(context.Background())
			if err != nil || set.Service("a.v1.A") == nil {
				t.Fatalf("the service that was there is gone: %+v, %v", set, err)
			}
			return set.Service("b.v1.B") != nil && len(set.Pending) == 0
		default:
			return false
		}
	})
}

func TestABackendThatTellsNonsenseIsPendingAndHoldsUpNothing(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir+"/good.binpb", marshal(t, service("good.proto", "good.v1", "Good")))
	for _, c := range []struct {
		name    string
		backend func(t *testing.T) string
		want    string
	}{
		{"an annotation that is none", func(t *testing.T) string {
			address, _ := reflecting(t, "127.0.0.1:0", v1, []string{"a.v1.A"}, annotated("a.proto", "a.v1", "A", &annotations.HttpRule{Body: "*"}))
			return address
		}, "google.api.http annotation of a.v1.A.Get: there is no verb"},
		{"a service without descriptors", func(t *testing.T) string {
			address, _ := reflecting(t, "127.0.0.1:0", v1, []string{"x.v1.X"}, service("a.proto", "a.v1", "A"))
			return address
		}, "service x.v1.X: "},
		{"no services", func(t *testing.T) string {
			address, _ := reflecting(t, "127.0.0.1:0", v1, nil, service("a.proto", "a.v1", "A"))
			return address
		}, "no services besides reflection and health"},
		{"no reflection", func(t *testing.T) string {
			address, _ := reflecting(t, "127.0.0.1:0", func(*grpc.Server, reflection.ServerOptions) {}, nil, service("a.proto", "a.v1", "A"))
			return address
		}, "Unimplemented"},
		{"files that are none", func(t *testing.T) string { return garbage(t, [][]byte{[]byte("\xff\xff\xff")}) }, "descriptors: reflection on up: "},
		{"a file without the service", func(t *testing.T) string {
			return garbage(t, [][]byte{marshalFile(t, service("b.proto", "b.v1", "B"))})
		}, "descriptors: reflection on up: "},
		{"more than it may", func(t *testing.T) string {
			most := maxReflectedBytes
			maxReflectedBytes = 1 << 20
			t.Cleanup(func() { maxReflectedBytes = most })
			return garbage(t, nil)
		}, "answered more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := dial(t, c.backend(t))
			set, err := loader(t, strings.Replace(reflectOnUp, "[{reflection", "[{file: "+good+"}, {reflection", 1), nil,
				func(string) Backend { return up }, func() {}).Load(context.Background())
			if err != nil || set.Service("good.v1.Good") == nil || len(set.Services()) != 1 {
				t.Fatalf("%+v, %v", set, err)
			}
			if len(set.Pending) != 1 || !strings.Contains(set.Pending[0], c.want) {
				t.Errorf("pending %q, want %q", set.Pending, c.want)
			}
		})
	}
}

func marshalFile(t *testing.T, f *descriptorpb.FileDescriptorProto) []byte {
	t.Helper()
	raw, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// garbage starts a backend that says it serves a.v1.A and describes it with files; with none of them it never ends: each
// file imports another one.
func garbage(t *testing.T, files [][]byte) string {
	t.Helper()
	address, _ := reflecting(t, "127.0.0.1:0", func(s *grpc.Server, _ reflection.ServerOptions) {
		reflectv1.RegisterServerReflectionServer(s, hostile{files: files})
	}, nil, service("a.proto", "a.v1", "A"))
	return address
}

type hostile struct {
	reflectv1.UnimplementedServerReflectionServer
	files [][]byte
}

func (h hostile) ServerReflectionInfo(stream grpc.BidiStreamingServer[reflectv1.ServerReflectionRequest, reflectv1.ServerReflectionResponse]) error {
	padding := strings.Repeat("x", 3<<20)
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		answer := &reflectv1.ServerReflectionResponse{OriginalRequest: request}
		if _, ok := request.MessageRequest.(*reflectv1.ServerReflectionRequest_ListServices); ok {
			answer.MessageResponse = &reflectv1.ServerReflectionResponse_ListServicesResponse{
				ListServicesResponse: &reflectv1.ListServiceResponse{Service: []*reflectv1.ServiceResponse{{Name: "a.v1.A"}}}}
		} else {
			files := h.files
			if files == nil {
				f := &descriptorpb.FileDescriptorProto{Name: proto.String(request.GetFileByFilename()), Package: proto.String(padding)}
				if f.GetName() == "" {
					f.Name = proto.String("a.proto")
				}
				f.Dependency = []string{f.GetName() + "x"}
				raw, err := proto.Marshal(f)
				if err != nil {
					return err
				}
				files = [][]byte{raw}
			}
			answer.MessageResponse = &reflectv1.ServerReflectionResponse_FileDescriptorResponse{
				FileDescriptorResponse: &reflectv1.FileDescriptorResponse{FileDescriptorProto: files}}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
