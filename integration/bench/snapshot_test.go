package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/gateway"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/routing"
)

const (
	services  = 250
	resources = 4 // of each service, with five standard methods each
	methods   = services * resources * 5
)

// manyMethods is a descriptor set of 5,000 methods: services with the standard methods of AIP-131 to 135 on resources of 15
// fields, 7,000 messages in all.
func manyMethods(t testing.TB) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(timestamppb.File_google_protobuf_timestamp_proto),
		protodesc.ToFileDescriptorProto(fieldmaskpb.File_google_protobuf_field_mask_proto),
	}}
	for i := range services {
		set.File = append(set.File, oneService(i))
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func oneService(n int) *descriptorpb.FileDescriptorProto {
	pkg := fmt.Sprintf("load.part%03d.v1", n)
	f := &descriptorpb.FileDescriptorProto{
		Name: proto.String(fmt.Sprintf("load/part%03d/v1/part.proto", n)), Package: &pkg, Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/timestamp.proto", "google/protobuf/field_mask.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("State"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("STATE_UNSPECIFIED"), Number: proto.Int32(0)}, {Name: proto.String("ACTIVE"), Number: proto.Int32(1)}}}},
	}
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Part")}
	for r := range resources {
		name, collection := fmt.Sprintf("Thing%d", r), fmt.Sprintf("thing%ds", r)
		add := func(method, request, response string, rule *annotations.HttpRule) {
			options := &descriptorpb.MethodOptions{}
			proto.SetExtension(options, annotations.E_Http, rule)
			service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
				Name: &method, InputType: proto.String("." + pkg + "." + request), OutputType: proto.String("." + pkg + "." + response), Options: options})
		}
		f.MessageType = append(f.MessageType,
			message(name, "name title note owner parent:string", "count size:int32", "big:int64", "ratio:double", "active:bool", "raw:bytes",
				"state:."+pkg+".State", "create_time update_time:.google.protobuf.Timestamp", "*tags:string"),
			message("List"+name+"sRequest", "parent filter page_token:string", "page_size:int32"),
			message("List"+name+"sResponse", "*items:."+pkg+"."+name, "next_page_token:string"),
			message("Get"+name+"Request", "name:string"),
			message("Create"+name+"Request", "parent thing_id:string", "thing:."+pkg+"."+name),
			message("Update"+name+"Request", "thing:."+pkg+"."+name, "update_mask:.google.protobuf.FieldMask"),
			message("Delete"+name+"Request", "name etag:string"))
		base := fmt.Sprintf("/part%03d/v1", n)
		add("List"+name+"s", "List"+name+"sRequest", "List"+name+"sResponse", &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Get{Get: base + "/{parent=projects/*}/" + collection}})
		add("Get"+name, "Get"+name+"Request", name, &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Get{Get: base + "/{name=projects/*/" + collection + "/*}"}})
		add("Create"+name, "Create"+name+"Request", name, &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Post{Post: base + "/{parent=projects/*}/" + collection}, Body: "thing"})
		add("Update"+name, "Update"+name+"Request", name, &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Patch{Patch: base + "/{thing.name=projects/*/" + collection + "/*}"}, Body: "thing"})
		add("Delete"+name, "Delete"+name+"Request", name, &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Delete{Delete: base + "/{name=projects/*/" + collection + "/*}"}})
	}
	f.Service = []*descriptorpb.ServiceDescriptorProto{service}
	return f
}

var scalarTypes = map[string]descriptorpb.FieldDescriptorProto_Type{
	"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "int32": descriptorpb.FieldDescriptorProto_TYPE_INT32,
	"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "double": descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
	"bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
}

// message makes a message of fields written as "name name:type", the names repeated where they begin with a star.
func message(name string, fields ...string) *descriptorpb.DescriptorProto {
	m := &descriptorpb.DescriptorProto{Name: &name}
	for _, f := range fields {
		names, kind, _ := strings.Cut(f, ":")
		for field := range strings.FieldsSeq(names) {
			label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
			if rest, ok := strings.CutPrefix(field, "*"); ok {
				field, label = rest, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
			}
			d := &descriptorpb.FieldDescriptorProto{Name: &field, Number: proto.Int32(int32(len(m.Field) + 1)), Label: &label}
			switch scalar, ok := scalarTypes[kind]; {
			case ok:
				d.Type = &scalar
			case strings.HasSuffix(kind, ".State"):
				d.Type, d.TypeName = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), &kind
			default:
				d.Type, d.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), &kind
			}
			m.Field = append(m.Field, d)
		}
	}
	return m
}

// manyMethodsConfig writes the descriptor set and a configuration that serves all of it.
func manyMethodsConfig(t testing.TB) (file, text string) {
	t.Helper()
	dir := t.TempDir()
	set := filepath.Join(dir, "many.binpb")
	if err := os.WriteFile(set, manyMethods(t), 0o600); err != nil {
		t.Fatal(err)
	}
	text = fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
log: {access: "off", level: error}
upstreams: [{name: many, endpoints: ["127.0.0.1:1"]}]
descriptors: [{file: %q}]
routes: [{name: many, grpc: {upstream: many}}]
`, set)
	file = filepath.Join(dir, "crossgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, text
}

// BenchmarkSnapshot compiles 5,000 methods, from a descriptor set on disk to a snapshot that could serve them. The goal is one second.
func BenchmarkSnapshot(b *testing.B) {
	file, _ := manyMethodsConfig(b)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		report, err := gateway.Check(context.Background(), file)
		if err != nil {
			b.Fatal(err)
		}
		if len(report.Bindings) != 2*methods {
			b.Fatalf("%d bindings", len(report.Bindings))
		}
	}
}

func TestASnapshotOf5000MethodsCostsLessThan200MB(t *testing.T) {
	_, text := manyMethodsConfig(t)
	before := heap()
	g := rig.StartGateway(t, text)
	cost := heap() - before
	runtime.KeepAlive(g)
	t.Logf("%d MB", cost>>20)
	if cost > 200<<20 {
		t.Errorf("the snapshot takes %d MB", cost>>20)
	}
}

// heap is the memory that is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// manyRules are the rules of all bindings of the 5,000 methods, and a request for each.
func manyRules(t testing.TB) (*routing.Table[int], []routing.Request) {
	t.Helper()
	file, _ := manyMethodsConfig(t)
	report, err := gateway.Check(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	var rules []routing.Rule[int]
	var requests []routing.Request
	for i, b := range report.Bindings {
		parse := routing.ParseTemplate
		if b.Kind == "rpc" {
			parse = routing.ExactPath
		}
		template, err := parse(b.Path)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, routing.Rule[int]{Methods: []string{b.Method}, Template: template, Value: i})
		path := b.Path
		if from := strings.IndexByte(path, '{'); from >= 0 {
			_, segments, _ := strings.Cut(path[from:strings.IndexByte(path, '}')], "=")
			path = path[:from] + strings.ReplaceAll(segments, "*", "an-id-0815") + path[strings.IndexByte(path, '}')+1:]
		}
		requests = append(requests, routing.Request{Host: "api.example.com", Method: b.Method, Path: path})
	}
	table, err := routing.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	return table, requests
}

func TestMatchingAmong10000BindingsAllocatesNothing(t *testing.T) {
	table, requests := manyRules(t)
	vars := make(routing.Vars, 0, 4)
	i := 0
	allocations := testing.AllocsPerRun(len(requests), func() {
		r := &requests[i%len(requests)]
		i++
		if _, _, outcome := table.Match(r, vars); outcome != routing.Matched {
			t.Fatalf("%s %s: outcome %d", r.Method, r.Path, outcome)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// BenchmarkMatch finds the binding of a request among 10,000: the REST bindings of 5,000 methods and their own paths. The
// requests are for all of them in turn, in random order. The goal is one microsecond.
func BenchmarkMatch(b *testing.B) {
	table, requests := manyRules(b)
	vars := make(routing.Vars, 0, 4)
	b.ReportAllocs()
	defer reportCPU(b)()
	i := 0
	for b.Loop() {
		if _, _, outcome := table.Match(&requests[i], vars); outcome != routing.Matched {
			b.Fatal(requests[i])
		}
		if i++; i == len(requests) {
			i = 0
		}
	}
}

// reportCPU reports the processor's time for each operation, of all threads, which other programs on the machine change less.
func reportCPU(b *testing.B) func() {
	start := cpu(b)
	return func() { b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op") }
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
