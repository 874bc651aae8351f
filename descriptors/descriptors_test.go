package descriptors

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/integration/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leaks()...) }

const etcdSet = "testdata/etcd.binpb"

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestInspectReadsRealSets(t *testing.T) {
	for _, c := range []struct {
		file              string
		methods, bindings int
	}{{etcdSet, 41, 44}, {"testdata/bench.binpb", 5, 5}} {
		services, err := Inspect(c.file, read(t, c.file))
		if err != nil {
			t.Fatal(err)
		}
		methods, bindings := 0, 0
		for _, s := range services {
			methods += len(s.Methods)
			for _, m := range s.Methods {
				bindings += len(m.Bindings)
			}
		}
		if methods != c.methods || bindings != c.bindings {
			t.Errorf("%s: %d methods and %d bindings, want %d and %d", c.file, methods, bindings, c.methods, c.bindings)
		}
	}
}

// marshal serializes a set of files written as descriptors.
func marshal(t testing.TB, files ...*descriptorpb.FileDescriptorProto) []byte {
	t.Helper()
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// service returns a file with one service of one method, Get, whose messages have one field, name.
func service(path, pkg, name string) *descriptorpb.FileDescriptorProto {
	str := func(s string) *string { return &s }
	return &descriptorpb.FileDescriptorProto{
		Name: str(path), Package: str(pkg), Syntax: str("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: str("M"), Field: []*descriptorpb.FieldDescriptorProto{{
			Name: str("name"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), JsonName: str("name")}}}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: str(name), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: str("Get"), InputType: str("." + pkg + ".M"), OutputType: str("." + pkg + ".M")}}}},
	}
}

func TestBrokenSetsAreRefusedWithTheReason(t *testing.T) {
	valid := service("a.proto", "a.v1", "A")
	broken := func(change func(*descriptorpb.FileDescriptorProto)) []byte {
		f := proto.Clone(valid).(*descriptorpb.FileDescriptorProto)
		change(f)
		return marshal(t, f)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty", nil, "has no files"},
		{"garbage", []byte("\xff\xff\xffnot a set"), "not a serialized google.protobuf.FileDescriptorSet"},
		{"truncated", marshal(t, valid)[:40], "not a serialized google.protobuf.FileDescriptorSet"},
		{"the same file twice", marshal(t, valid, valid), "a.proto is there twice"},
		{"an import is missing", broken(func(f *descriptorpb.FileDescriptorProto) { f.Dependency = []string{"b.proto"} }),
			"a.proto imports b.proto, which is not in the set"},
		{"a type is missing", broken(func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[0].InputType = proto.String(".a.v1.Nothing")
		}), "a.v1.Nothing"},
		{"a name that is none", broken(func(f *descriptorpb.FileDescriptorProto) { f.Service[0].Name = proto.String("9") }), "invalid"},
		{"a field number of zero", broken(func(f *descriptorpb.FileDescriptorProto) { f.MessageType[0].Field[0].Number = proto.Int32(0) }), "invalid number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Inspect("x.binpb", c.raw)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.binpb") {
				t.Errorf("error %v, want x.binpb and %q", err, c.want)
			}
		})
	}
}

func TestWellKnownImportsMayBeLeftOut(t *testing.T) {
	f := service("a.proto", "a.v1", "A")
	f.Dependency = []string{"google/api/annotations.proto", "google/protobuf/timestamp.proto", "google/rpc/status.proto"}
	if _, err := Inspect("x", marshal(t, f)); err != nil {
		t.Error(err)
	}
}

func load(t *testing.T, yaml string, registry *Registry) (*Set, error) {
	t.Helper()
	l := loader(t, yaml, registry, nil, func() {})
	return l.Load(context.Background())
}

func loader(t *testing.T, yaml string, registry *Registry, backends func(string) Backend, notify func()) *Loader {
	t.Helper()
	cfg, err := config.Parse("/etc/crossgate.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(cfg, backends, registry, nil, notify)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheSameServiceInTwoSourcesIsRefused(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir+"/one.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	two := write(t, dir+"/two.binpb", marshal(t, service("other.proto", "a.v1", "A")))
	_, err := load(t, "descriptors: [{file: "+one+"}, {name: second, file: "+two+"}]", nil)
	if err == nil || !strings.Contains(err.Error(), "a.v1.A is in both "+one+" and second") {
		t.Errorf("error %v", err)
	}
}

func TestTwoSourcesMayHaveTheirOwnVersionOfAFile(t *testing.T) {
	dir := t.TempDir()
	common := func(field string) *descriptorpb.FileDescriptorProto {
		f := service("common.proto", "common", "Unused")
		f.Service = nil
		f.MessageType[0].Field[0].Name = proto.String(field)
		return f
	}
	a, b := service("a.proto", "a.v1", "A"), service("b.proto", "b.v1", "B")
	a.Dependency, b.Dependency = []string{"common.proto"}, []string{"common.proto"}
	one := write(t, dir+"/one.binpb", marshal(t, common("old"), a))
	two := write(t, dir+"/two.binpb", marshal(t, common("new"), b))
	set, err := load(t, "descriptors: [{file: "+one+"}, {file: "+two+"}]", nil)
	if err != nil || len(set.Services()) != 2 {
		t.Fatalf("%v, %v", set, err)
	}
	for name, field := range map[string]string{"a.v1.A": "old", "b.v1.B": "new"} {
		mt, err := set.Service(protoreflect.FullName(name)).Resolver().FindMessageByURL("type.googleapis.com/common.M")
		if err != nil || string(mt.Descriptor().Fields().Get(0).Name()) != field {
			t.Errorf("%s sees another source's common.M: %v", name, err)
		}
	}
}

func TestRulesOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	set := write(t, dir+"/a.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	service := write(t, dir+"/service.yaml", []byte(`
type: google.api.Service
config_version: 3
name: a.example.com
http:
  rules:
  - selector: a.v1.A.Get
    get: /v1/{name=things/*}
    additional_bindings: [{post: "/v1/things:get", body: "*"}]
`))
	got, err := load(t, "descriptors: [{file: "+set+"}]\nhttp: {files: ["+service+"]}", nil)
	if err != nil {
		t.Fatal(err)
	}
	bindings := got.Service("a.v1.A").Methods[0].Bindings
	if len(bindings) != 2 || bindings[0] != (Binding{HTTPMethod: "GET", Template: "/v1/{name=things/*}"}) || bindings[1].Body != "*" {
		t.Errorf("bindings %+v", bindings)
	}

	for _, c := range []struct{ rules, want string }{
		{`{selector: a.v1.A.Get, get: /x, body: nothing}`, `/etc/crossgate.yaml:2:16: http rule of a.v1.A.Get: body: a.v1.M has no field "nothing"`},
		{`{selector: a.v1.A.Get, get: /x, response_body: nothing}`, `response_body: a.v1.M has no field "nothing"`},
	} {
		_, err := load(t, "descriptors: [{file: "+set+"}]\nhttp: {rules: ["+c.rules+"]}", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.rules, err, c.want)
		}
	}

	got, err = load(t, "http: {rules: [{selector: a.v1.Later.Get, get: /x}]}", nil)
	if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "no descriptor set has the method a.v1.Later.Get") {
		t.Errorf("%v, %v", got, err)
	}
}

const thing = `syntax = "proto3";
package thing.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
import "thing/common.proto";
service Things {
  rpc Get(Common) returns (Common) { option (google.api.http) = { get: "/v1/{name}" }; }
}
message At { google.protobuf.Timestamp at = 1; }
`

func TestATreeOfProtoFiles(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/thing/thing.proto", []byte(thing))
	write(t, root+"/thing/common.proto", []byte("syntax = \"proto3\";\npackage thing.v1;\nmessage Common { string name = 1; }\n"))
	yaml := "descriptors: [{protos: {root: " + root + "}}]"
	set, err := load(t, yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := set.Service("thing.v1.Things").Methods[0]
	if len(m.Bindings) != 1 || m.Bindings[0].Template != "/v1/{name}" || m.FullMethod != "/thing.v1.Things/Get" {
		t.Errorf("method %+v", m)
	}

	write(t, root+"/thing/common.proto", []byte("syntax = \"proto3\";\npackage thing.v1;\nmessage Common { strin name = 1; }\n"))
	_, err = load(t, yaml, nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(root, "thing/common.proto")+":3:18:") {
		t.Errorf("error %v, want common.proto:3:18", err)
	}
}

func TestRegistry(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx := context.Background()
	r := NewRegistry(client, "cg:", 3)
	for want, name := range []string{"a.proto", "moved.proto", "moved.proto"} {
		want = min(want, 1) + 1 // the same once more is no version
		if put, err := put(ctx, r, "a", marshal(t, service(name, "a.v1", "A"))); err != nil || put.Version != int64(want) {
			t.Fatalf("%+v, %v", put, err)
		}
	}
	list, _, err := r.List(ctx)
	if err != nil || len(list) != 1 || list[0].Version != 2 || len(list[0].SHA256) != 64 || time.Since(list[0].Created) > time.Minute {
		t.Fatalf("%+v, %v", list, err)
	}
	set, err := load(t, "", r)
	if err != nil || set.Service("a.v1.A") == nil || set.Service("a.v1.A").Source != "registered set a" {
		t.Errorf("%v, %v", set, err)
	}
	if err := remove(ctx, r, "a"); err != nil {
		t.Error(err)
	}
	if err := remove(ctx, r, "a"); err != ErrNotRegistered {
		t.Errorf("deleted twice: %v", err)
	}
	for _, name := range []string{"", "A", "a b", "../x", strings.Repeat("a", 64), "-a"} {
		if CheckName(name) == nil {
			t.Errorf("the name %q is taken", name)
		}
	}
}

func TestACandidateChangesNothing(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx := context.Background()
	r := NewRegistry(client, "cg:", 3)
	l := loader(t, "", r, nil, func() {})
	if set, err := l.LoadWith(ctx, "a", marshal(t, service("a.proto", "a.v1", "A"))); err != nil || set.Service("a.v1.A") == nil {
		t.Errorf("%v, %v", set, err)
	}
	if _, err := l.LoadWith(ctx, "a", []byte("no")); err == nil {
		t.Error("a broken candidate is taken")
	}
	if list, _, err := r.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("the registry has %v, %v", list, err)
	}
}

func TestTheRegistryTellsOtherNodesAndHealsAfterAnOutage(t *testing.T) {
	server := miniredis.RunT(t)
	one := redis.NewClient(&redis.Options{Addr: server.Addr()})
	two := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer one.Close()
	defer two.Close()
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		NewRegistry(two, "cg:", 3).Watch(ctx, func() { told <- struct{}{} })
	}()
	defer func() { cancel(); <-ended }()
	wait := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(patience):
			t.Fatal("not told of " + what)
		}
	}
	r := NewRegistry(one, "cg:", 3)
	// The watcher may subscribe after the first Put, and finds it by its version then.
	if _, err := put(ctx, r, "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := put(ctx, r, "b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	wait("a registration")
	server.Close()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a registration is taken again", func() bool { _, err := put(ctx, r, "c", []byte("x")); return err == nil })
	wait("a registration after an outage")
}

func TestRedisGoneLeavesSetsPending(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer client.Close()
	r := NewRegistry(client, "cg:", 3)
	if _, err := put(context.Background(), r, "a", marshal(t, service("a.proto", "a.v1", "A"))); err != nil {
		t.Fatal(err)
	}
	l := loader(t, "", r, nil, func() {})
	if _, err := l.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	server.Close()
	set, err := l.Load(context.Background())
	if err != nil || len(set.Pending) != 1 || set.Service("a.v1.A") == nil {
		t.Errorf("%+v, %v", set, err)
	}
}

// backend is a connection that reports when it comes up.
type backend struct{ *grpc.ClientConn }

func (b backend) Conn() grpc.ClientConnInterface { return b.ClientConn }

func (b backend) Watch(ctx context.Context, ready func()) {
	for {
		state := b.GetState()
		if state.String() == "READY" {
			ready()
		}
		b.Connect()
		if !b.WaitForStateChange(ctx, state) {
			return
		}
	}
}

func TestReflection(t *testing.T) {
	for name, register := range map[string]func(*grpc.Server){
		"v1 and v1alpha": func(s *grpc.Server) { reflection.Register(s) },
		"v1 alone":       func(s *grpc.Server) { reflection.RegisterV1(s) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			l.Close()
			conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var changes atomic.Int32
			ld := loader(t, "upstreams: [{name: up, endpoints: [\""+address+"\"]}]\ndescriptors: [{reflection: {upstream: up}}]", nil,
				func(string) Backend { return backend{conn} }, func() { changes.Add(1) })
			set, err := ld.Load(context.Background())
			if err != nil || len(set.Pending) != 1 || len(set.Services()) != 0 {
				t.Fatalf("with the backend down: %+v, %v", set, err)
			}
			if err := ld.Watch(); err != nil {
				t.Fatal(err)
			}
			defer ld.Close()

			if l, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			healthpb.RegisterHealthServer(server, health.NewServer())
			register(server)
			go server.Serve(l)
			defer server.Stop()
			eventually(t, "told that the backend came up", func() bool { return changes.Load() > 0 })
			set, err = ld.Load(context.Background())
			if err != nil || len(set.Pending) != 1 || !strings.Contains(set.Pending[0], "no services besides reflection and health") {
				t.Errorf("%+v, %v", set, err)
			}
		})
	}
}

func TestWatchFiles(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir+"/a/set.binpb", []byte("1"))
	write(t, dir+"/tree/x/y.proto", []byte("1"))
	changes := make(chan struct{}, 100)
	w, err := WatchFiles([]string{file, dir + "/tree"}, func() { changes <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wait := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(patience):
			t.Fatalf("%s goes unnoticed", what)
		}
	}
	write(t, file, []byte("2"))
	wait("a write")
	write(t, dir+"/a/new", []byte("3"))
	if err := os.Rename(dir+"/a/new", file); err != nil {
		t.Fatal(err)
	}
	wait("a replacement")
	write(t, dir+"/tree/x/y.proto", []byte("2"))
	wait("a file deep in a folder")
	write(t, dir+"/tree/new/z.proto", []byte("1"))
	wait("a new folder")
}

func FuzzInspect(f *testing.F) {
	f.Add(read(f, "testdata/bench.binpb"))
	f.Add(marshal(f, service("a.proto", "a.v1", "A")))
	f.Add(marshal(f, annotated("a.proto", "a.v1", "A", &annotations.HttpRule{
		Pattern: &annotations.HttpRule_Get{Get: "/x"}, AdditionalBindings: []*annotations.HttpRule{{Body: "name"}}})))
	f.Fuzz(func(t *testing.T, raw []byte) {
		services, err := Inspect("fuzz", raw)
		if err != nil {
			return
		}
		for _, s := range services {
			for _, m := range s.Methods {
				// What is accepted must be usable: a message of each type can be made, written and read.
				for _, d := range []protoreflect.MessageDescriptor{m.Descriptor.Input(), m.Descriptor.Output()} {
					mt, err := s.Resolver().FindMessageByName(d.FullName())
					if err != nil {
						t.Fatalf("%s: %v", d.FullName(), err)
					}
					empty, err := proto.MarshalOptions{AllowPartial: true}.Marshal(mt.New().Interface())
					if err != nil || len(empty) > 0 {
						t.Fatalf("%s: %x, %v", d.FullName(), empty, err)
					}
					_ = proto.Unmarshal(raw, mt.New().Interface())
				}
			}
		}
	})
}
