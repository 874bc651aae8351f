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

// manyMethods is a descriptor set of services with the standard methods of AIP-131 to 135 on resources of 15 fields; all of them
// are 5,000 methods and 7,000 messages.
func manyMethods(t testing.TB, services, resources int) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(timestamppb.File_google_protobuf_timestamp_proto),
		protodesc.ToFileDescriptorProto(fieldmaskpb.File_google_protobuf_field_mask_proto),
	}}
	for i := range services {
		set.File = append(set.File, oneService(i, resources))
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func oneService(n, resources int) *descriptorpb.FileDescriptorProto {
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
	if err := os.WriteFile(set, manyMethods(t, services, resources), 0o600); err != nil {
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

// rulesOf are the rules of all bindings of a configuration, and a request for each, in random order.
func rulesOf(t testing.TB, file string) (*routing.Table[int], []routing.Request) {
	t.Helper()
	report, err := gateway.Check(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	var rules []routing.Rule[int]
	var requests []routing.Request
	for i, b := range report.Bindings {
		template, err := templateOf(&b)
		if err != nil {
			t.Fatal(err)
		}
		rule := routing.Rule[int]{Hosts: b.Hosts, Template: template, Value: i}
		request := routing.Request{Host: "api.example.com", Method: "GET", Path: pathOf(b.Path)}
		if b.Method != "*" {
			rule.Methods, request.Method = []string{b.Method}, b.Method
		}
		if len(b.Hosts) > 0 {
			request.Host = b.Hosts[0]
		}
		rules, requests = append(rules, rule), append(requests, request)
	}
	table, err := routing.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	return table, requests
}

func templateOf(b *gateway.Binding) (*routing.Template, error) {
	if prefix, ok := strings.CutSuffix(b.Path, "/**"); ok {
		return routing.PathPrefix(prefix + "/")
	}
	if b.Kind == "rpc" {
		return routing.ExactPath(b.Path)
	}
	return routing.ParseTemplate(b.Path)
}

// pathOf is a path that matches a template, whose variables it gives values.
func pathOf(template string) string {
	path := strings.ReplaceAll(template, "**", "a/file-0815")
	for {
		from, to := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		if from < 0 {
			return path
		}
		_, segments, ok := strings.Cut(path[from+1:to], "=")
		if !ok {
			segments = "*"
		}
		path = path[:from] + strings.ReplaceAll(segments, "*", "an-id-0815") + path[to+1:]
	}
}

func TestMatchingAmong10000BindingsAllocatesNothing(t *testing.T) {
	file, _ := manyMethodsConfig(t)
	table, requests := rulesOf(t, file)
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
