package transcoder

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shopProto = `
syntax = "proto3";
package shop;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";

enum Kind { KIND_UNSPECIFIED = 0; BOOK = 1; TOOL = 2; }
message Owner { string id = 1; string display_name = 2; Owner boss = 3; }
message Item {
  string name = 1; string title = 2; int32 count = 3; int64 big = 4; Kind kind = 5; Owner owner = 6; repeated string tags = 7;
  map<string, string> labels = 8; repeated Owner owners = 9; google.protobuf.Timestamp at = 10; bytes raw = 11;
  oneof choice { string left = 12; string right = 13; }
}
message Request {
  string name = 1; string parent = 2; Item item = 3; int32 page_size = 4; Kind kind = 5; repeated Kind kinds = 6; bool deep = 7;
  google.protobuf.FieldMask mask = 8; map<string, string> labels = 9; repeated Item items = 10; google.protobuf.Timestamp at = 11;
  oneof choice { string left = 12; string right = 13; } Owner owner = 14; repeated string tags = 15; double ratio = 16; bytes raw = 17;
}
message Revision { Item item = 1; google.protobuf.FieldMask update_mask = 2; string note = 3; }
// Answer says in JSON what the backend was sent.
message Answer { string request = 1; Item item = 2; repeated Item items = 3; }
message Detail { string why = 1; }

message File { string name = 1; google.api.HttpBody content = 2; string note = 3; repeated google.api.HttpBody more = 4; }

service Shop {
  rpc Get(Request) returns (Answer) { option (google.api.http) = {
    get: "/v1/{name=shelves/*/items/*}"
    additional_bindings { get: "/v1/owners/{owner.id}/items/{name}" }
    additional_bindings { get: "/v1/all/{name=**}" }
    additional_bindings { get: "/v1/kinds/{kind}/at/{at}" }
    additional_bindings { custom { kind: "REPORT" path: "/v1/report" } }
  }; }
  rpc Create(Request) returns (Answer) { option (google.api.http) = { post: "/v1/{parent=shelves/*}/items" body: "item" }; }
  rpc Update(Request) returns (Answer) { option (google.api.http) = {
    patch: "/v1/{item.name=shelves/*/items/*}" body: "item"
    additional_bindings { put: "/v1/{name=shelves/*/items/*}" body: "*" }
    additional_bindings { put: "/v1/tags" body: "tags" }
  }; }
  rpc Revise(Revision) returns (Answer) { option (google.api.http) = {
    patch: "/v1/{item.name=shelves/*/items/*}:revise" body: "item"
    additional_bindings { put: "/v1/{item.name=shelves/*/items/*}:revise" body: "item" }
    additional_bindings { patch: "/v1/revise" body: "*" }
    additional_bindings { patch: "/v1/note" body: "note" }
  }; }
  rpc Delete(Request) returns (Answer) { option (google.api.http) = { delete: "/v1/{name=shelves/*/items/*}" }; }
  rpc Move(Request) returns (Answer) { option (google.api.http) = { post: "/v1/{name=shelves/*/items/*}:move" body: "*" }; }
  rpc Echo(Item) returns (Item) { option (google.api.http) = { post: "/v1/echo" body: "*" }; }
  rpc Items(Request) returns (Answer) { option (google.api.http) = { get: "/v1/items" response_body: "items" }; }
  rpc Search(Request) returns (Answer) { option (google.api.http) = { get: "/v1/search" }; }
  rpc Fail(Request) returns (Answer) { option (google.api.http) = { get: "/v1/fail/{page_size}" }; }
  rpc Hang(Request) returns (Answer) { option (google.api.http) = { get: "/v1/hang" }; }
  rpc Broken(Request) returns (Answer) { option (google.api.http) = { get: "/v1/broken" }; }
  rpc PutFile(File) returns (File) { option (google.api.http) = {
    put: "/v1/files/{name}" body: "content" response_body: "content"
    additional_bindings { post: "/v1/files/{name}" body: "*" }
    additional_bindings { put: "/v1/files/{name}/more" body: "more" }
  }; }
  rpc Raw(google.api.HttpBody) returns (google.api.HttpBody) { option (google.api.http) = { post: "/v1/raw" body: "*" }; }
  rpc Fetch(Request) returns (stream google.api.HttpBody) { option (google.api.http) = { get: "/v1/fetch" }; }
  rpc Push(stream File) returns (Answer) { option (google.api.http) = { post: "/v1/push/{name}" body: "content" }; }
  rpc Pipe(stream google.api.HttpBody) returns (stream File) { option (google.api.http) = { post: "/v1/pipe" body: "*" response_body: "content" }; }
  rpc Watch(Request) returns (stream Item) { option (google.api.http) = { get: "/v1/watch" additional_bindings { post: "/v1/watch" body: "*" } }; }
  rpc Upload(stream Item) returns (Answer) { option (google.api.http) = { post: "/v1/upload" body: "*" }; }
  rpc Chat(stream Item) returns (stream Item) { option (google.api.http) = { post: "/v1/chat" body: "*" }; }
}
`

func methods(t testing.TB) map[string]*descriptors.Method { return compileProto(t, shopProto) }

// compileProto compiles the one service of a .proto file as a descriptor source would, and returns its methods by name.
func compileProto(t testing.TB, source string) map[string]*descriptors.Method {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{"shop.proto": source}),
		}),
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		}),
	}}
	files, err := c.Compile(context.Background(), "shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])}})
	if err != nil {
		t.Fatal(err)
	}
	services, err := descriptors.Inspect("shop.binpb", raw)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*descriptors.Method{}
	for _, m := range services[0].Methods {
		byName[string(m.Descriptor.Name())] = m
	}
	return byName
}

// shop is a gRPC backend of the test service and a gateway of nothing but transcoded methods before it.
type shop struct {
	t        testing.TB
	methods  map[string]*descriptors.Method
	backend  string // its address
	server   *grpc.Server
	pool     *upstream.Pool
	gateway  *httptest.Server
	calls    atomic.Int32
	files    map[protoreflect.Name]func(protoreflect.MethodDescriptor, grpc.ServerStream) error
	received chan metadata.MD
	ended    chan error // what a call of Hang or an endless Watch ended with
	deadline atomic.Int64
}

func startShop(t testing.TB, change func(*Options)) *shop {
	t.Helper()
	s := &shop{t: t, methods: methods(t), received: make(chan metadata.MD, 1024), ended: make(chan error, 64)}
	s.serveFiles()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.backend = l.Addr().String()
	s.server = grpc.NewServer(grpc.UnknownServiceHandler(s.handle), grpc.MaxRecvMsgSize(64<<20))
	go s.server.Serve(l)
	t.Cleanup(s.server.Stop)
	set, err := upstream.Open([]config.Upstream{{
		Name: "shop", Endpoints: []string{s.backend}, Connections: 1, ConnectTimeout: config.Duration(5 * time.Second), MaxMessageSize: 64 << 20,
	}}, upstream.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	s.pool = set.Pool("shop")
	o := Options{Backend: s.pool}
	if change != nil {
		change(&o)
	}
	s.serve(o)
	return s
}

func (s *shop) serve(o Options) {
	s.t.Helper()
	var rules []routing.Rule[*Method]
	add := func(m *Method, method string, template string) {
		parsed, err := routing.ParseTemplate(template)
		if err != nil {
			s.t.Fatal(err)
		}
		rules = append(rules, routing.Rule[*Method]{Methods: []string{method}, Template: parsed, Value: m})
	}
	for _, d := range s.methods {
		for _, b := range d.Bindings {
			m, err := Compile(d, b, o)
			if err != nil {
				s.t.Fatal(err)
			}
			add(m, b.HTTPMethod, b.Template)
		}
		m, err := CompileRPC(d, o)
		if err != nil {
			s.t.Fatal(err)
		}
		add(m, http.MethodPost, d.FullMethod)
	}
	table, err := routing.Compile(rules)
	if err != nil {
		s.t.Fatal(err)
	}
	s.gateway = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, vars, outcome := table.Match(&routing.Request{Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header}, nil)
		if outcome != routing.Matched {
			WriteError(w, r, fault.New(fault.NoRoute, "no route"))
			return
		}
		m.Serve(w, r, vars)
	}))
	s.gateway.Config.ErrorLog = noPanics(s.t)
	s.gateway.Config.Protocols = new(http.Protocols)
	s.gateway.Config.Protocols.SetHTTP1(true)
	s.gateway.Config.Protocols.SetUnencryptedHTTP2(true)
	s.gateway.Start()
	s.t.Cleanup(s.gateway.Close)
}

func (s *shop) handle(_ any, stream grpc.ServerStream) error {
	s.calls.Add(1)
	full, _ := grpc.MethodFromServerStream(stream)
	md := s.methods[full[strings.LastIndexByte(full, '/')+1:]].Descriptor
	in, _ := metadata.FromIncomingContext(stream.Context())
	s.received <- in
	if d, ok := stream.Context().Deadline(); ok {
		s.deadline.Store(int64(time.Until(d)))
	}
	if err := stream.SetHeader(metadata.Pairs("x-tenant", "acme", "x-hidden", "h", "x-raw-bin", "\x00\xff")); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs("x-cost", "7"))
	if serve := s.files[md.Name()]; serve != nil {
		return serve(md, stream)
	}
	if md.IsStreamingClient() {
		return s.stream(md, stream)
	}
	request := dynamicpb.NewMessage(md.Input())
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	field := func(name protoreflect.Name) protoreflect.Value {
		return request.Get(md.Input().Fields().ByName(name))
	}
	switch md.Name() {
	case "Echo":
		return stream.SendMsg(request)
	case "Fail":
		return failWith(s.t, md, codes.Code(field("page_size").Int()))
	case "Hang":
		<-stream.Context().Done()
		s.ended <- stream.Context().Err()
		return status.FromContextError(stream.Context().Err()).Err()
	case "Broken":
		m := dynamicpb.NewMessage(md.Output())
		m.SetUnknown([]byte{0x0a, 0x01, 0xff}) // field 1, a string that is no UTF-8
		return stream.SendMsg(m)
	case "Items":
		return stream.SendMsg(s.answer(md.Output(), `{"items":[{"title":"a"},{"title":"b"}]}`))
	case "Watch":
		for i := range field("page_size").Int() {
			item := dynamicpb.NewMessage(md.Output())
			item.Set(md.Output().Fields().ByName("count"), protoreflect.ValueOfInt32(int32(i)))
			if err := stream.SendMsg(item); err != nil {
				s.ended <- stream.Context().Err()
				return err
			}
		}
		switch field("name").String() {
		case "fail":
			return failWith(s.t, md, codes.Aborted)
		case "hang":
			<-stream.Context().Done()
			s.ended <- stream.Context().Err()
			return status.FromContextError(stream.Context().Err()).Err()
		}
		return nil
	}
	answer := dynamicpb.NewMessage(md.Output())
	answer.Set(md.Output().Fields().ByName("request"), protoreflect.ValueOfString(jsonOf(s.t, request)))
	return stream.SendMsg(answer)
}

func (s *shop) answer(md protoreflect.MessageDescriptor, text string) proto.Message {
	m := dynamicpb.NewMessage(md)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		s.t.Error(err)
	}
	return m
}

// stream echoes a chat, which it begins where x-greet says so, and counts an upload. An item titled "fail" ends either,
// one titled "stop" ends them well.
func (s *shop) stream(md protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	title := md.Input().Fields().ByName("title")
	if in, _ := metadata.FromIncomingContext(stream.Context()); in.Get("x-greet") != nil {
		if err := stream.SendMsg(s.answer(md.Output(), `{"title":"hello"}`)); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		item := dynamicpb.NewMessage(md.Input())
		if err := stream.RecvMsg(item); err != nil {
			s.ended <- err
			if err != io.EOF {
				return err
			}
			if md.IsStreamingServer() {
				return nil
			}
			answer := dynamicpb.NewMessage(md.Output())
			answer.Set(md.Output().Fields().ByName("request"), protoreflect.ValueOfString(strings.Repeat("+", n)))
			return stream.SendMsg(answer)
		}
		switch item.Get(title).String() {
		case "fail":
			return failWith(s.t, md, codes.Aborted)
		case "stop":
			return nil
		}
		if md.IsStreamingServer() {
			if err := stream.SendMsg(item); err != nil {
				return err
			}
		}
	}
}

// failWith fails with details of a type that only the source knows, of one that every gateway knows, and of one that
// nobody knows.
func failWith(t testing.TB, md protoreflect.MethodDescriptor, code codes.Code) error {
	detail := dynamicpb.NewMessage(md.ParentFile().Messages().ByName("Detail"))
	detail.Set(detail.Descriptor().Fields().ByName("why"), protoreflect.ValueOfString("because"))
	own, err := anypb.New(detail)
	if err != nil {
		t.Error(err)
	}
	retry, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(2300 * time.Millisecond)})
	if err != nil {
		t.Error(err)
	}
	return status.ErrorProto(&spb.Status{Code: int32(code), Message: "no <luck>", Details: []*anypb.Any{
		own, retry, {TypeUrl: "type.googleapis.com/no.Such", Value: []byte{1, 2}},
	}})
}

func jsonOf(t testing.TB, m proto.Message) string {
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// testClient speaks HTTP/1.1 or, where two is set, HTTP/2 without TLS, and leaves nothing behind.
func testClient(t testing.TB, two bool) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!two)
	tr.Protocols.SetUnencryptedHTTP2(two)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// do sends "METHOD path", with JSON when there is a body.
func (s *shop) do(line, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	method, target, _ := strings.Cut(line, " ")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.gateway.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := testClient(s.t, false).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, string(text)
}
