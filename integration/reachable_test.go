package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// TestEveryBindingOfEveryDescriptorSetIsReachable loads every descriptor set at hand and sends a request to each binding,
// made from its template. The backend must see the method, with what the path says.
func TestEveryBindingOfEveryDescriptorSetIsReachable(t *testing.T) {
	sets := map[string][]byte{"the test services": testSet(t)}
	files, err := filepath.Glob("testdata/*.binpb")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if sets[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, raw := range sets {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "set.binpb")
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			services, err := descriptors.Inspect(name, raw)
			if err != nil {
				t.Fatal(err)
			}
			b := startAny(t, services)
			g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
upstreams: [{name: any, endpoints: ["%s"]}]
descriptors: [{file: %q}]
routes: [{name: any, grpc: {upstream: any}}]
`, b.address, file))
			n := 0
			for _, s := range services {
				for _, m := range s.Methods {
					for _, binding := range m.Bindings {
						n++
						b.reach(t, g.URL, m, binding)
					}
				}
			}
			if n == 0 {
				t.Error("no bindings")
			}
			t.Logf("%d bindings", n)
		})
	}
}

// anyBackend answers each method of some services, with an empty message or what it was sent, and notes what it got.
type anyBackend struct {
	address string
	methods map[string]protoreflect.MethodDescriptor
	got     chan anyCall
}

type anyCall struct {
	method  string
	message proto.Message
}

func startAny(t *testing.T, services []*descriptors.Service) *anyBackend {
	t.Helper()
	b := &anyBackend{methods: map[string]protoreflect.MethodDescriptor{}, got: make(chan anyCall, 16)}
	for _, s := range services {
		for _, m := range s.Methods {
			b.methods[m.FullMethod] = m.Descriptor
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = listener.Addr().String()
	server := grpc.NewServer(grpc.UnknownServiceHandler(b.handle))
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return b
}

func (b *anyBackend) handle(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	md := b.methods[name]
	m := dynamicpb.NewMessage(md.Input())
	if err := stream.RecvMsg(m); err != nil {
		return err
	}
	b.got <- anyCall{name, m}
	if md.Input() == md.Output() {
		return stream.SendMsg(m) // an empty google.protobuf.Value would have no JSON
	}
	return stream.SendMsg(dynamicpb.NewMessage(md.Output()))
}

// variable is {field} or {field=segments} in a template.
var variable = regexp.MustCompile(`\{([^=}]*)(?:=([^}]*))?\}`)

func (b *anyBackend) reach(t *testing.T, base string, m *descriptors.Method, binding descriptors.Binding) {
	t.Helper()
	var params []codec.Param
	fill := func(segments, value string) string {
		return strings.ReplaceAll(strings.ReplaceAll(segments, "**", value+"/and/more"), "*", value)
	}
	path := variable.ReplaceAllStringFunc(binding.Template, func(v string) string {
		parts := variable.FindStringSubmatch(v)
		fields, err := transcoder.ResolvePath(m.Descriptor.Input(), parts[1])
		if err != nil {
			t.Fatal(err)
		}
		if parts[2] == "" {
			parts[2] = "*"
		}
		value := fill(parts[2], sample(fields[len(fields)-1]))
		params = append(params, codec.Param{Path: fields, Value: value})
		return value
	})
	path = fill(path, "x")
	method, body := binding.HTTPMethod, ""
	switch {
	case binding.Body == "*":
		body = bodyOf(m.Descriptor.Input())
	case binding.Body != "":
		body = "null"
	}
	if method == "*" {
		method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	answer, err := send(ctx, method, base+path, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s (%s): status %d", method, path, binding.Template, answer.StatusCode)
		return
	}
	got := <-b.got
	if got.method != m.FullMethod {
		t.Errorf("%s %s reached %s, not %s", method, path, got.method, m.FullMethod)
		return
	}
	for _, p := range params {
		if have, want := at(got.message, p.Path), at(expected(t, m, p), p.Path); !have.Equal(want) {
			t.Errorf("%s %s: %v is %v, want %v", method, path, p.Path[len(p.Path)-1].FullName(), have, want)
		}
	}
}

// expected is the request that has nothing but one parameter.
func expected(t *testing.T, m *descriptors.Method, p codec.Param) proto.Message {
	t.Helper()
	request, err := codec.Reference.CompileRequest(m.Descriptor.Input(), "", codec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := request.AppendWire(nil, nil, []codec.Param{p})
	if err != nil {
		t.Fatal(err)
	}
	message := dynamicpb.NewMessage(m.Descriptor.Input())
	if err := proto.Unmarshal(wire, message); err != nil {
		t.Fatal(err)
	}
	return message
}

func at(m proto.Message, path []protoreflect.FieldDescriptor) protoreflect.Value {
	v := protoreflect.ValueOfMessage(m.ProtoReflect())
	for _, fd := range path {
		// The backend's descriptors are equal, and not the same.
		v = v.Message().Get(v.Message().Descriptor().Fields().ByNumber(fd.Number()))
	}
	return v
}

// sample is a text for a field.
func sample(fd protoreflect.FieldDescriptor) string {
	if md := fd.Message(); md != nil {
		switch md.FullName() {
		case "google.protobuf.Timestamp":
			return "2026-01-02T03:04:05Z"
		case "google.protobuf.Duration":
			return "5s"
		}
		fd = md.Fields().ByNumber(1)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true"
	case protoreflect.StringKind:
		return "a-name"
	case protoreflect.BytesKind:
		return "aGk="
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return string(values.Get(values.Len() - 1).Name())
	}
	return "7"
}

// bodyOf is a small body for a message.
func bodyOf(md protoreflect.MessageDescriptor) string {
	switch md.FullName() {
	case "google.protobuf.Value":
		return "1"
	case "google.protobuf.ListValue":
		return "[]"
	case "google.protobuf.Timestamp":
		return `"2026-01-02T03:04:05Z"`
	case "google.protobuf.StringValue":
		return `""`
	}
	return "{}"
}
