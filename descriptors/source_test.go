package descriptors

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// annotated is service with a google.api.http annotation on its method.
func annotated(path, pkg, name string, rule *annotations.HttpRule) *descriptorpb.FileDescriptorProto {
	f := service(path, pkg, name)
	f.Dependency = append(f.Dependency, "google/api/annotations.proto")
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, annotations.E_Http, rule)
	f.Service[0].Method[0].Options = options
	return f
}

func TestAMissingTypeIsNamedWithThePlaceThatRefersToIt(t *testing.T) {
	str := proto.String
	field := func(f *descriptorpb.FileDescriptorProto, typeName string) {
		f.MessageType[0].Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		f.MessageType[0].Field[0].TypeName = str(typeName)
	}
	for _, c := range []struct {
		name   string
		change func(*descriptorpb.FileDescriptorProto)
		want   string
	}{
		{"of a field", func(f *descriptorpb.FileDescriptorProto) { field(f, ".a.v1.Colour") },
			`descriptors: x.binpb: message a.v1.M, field 1: type "a.v1.Colour" is not in the set`},
		{"of a field in a nested message", func(f *descriptorpb.FileDescriptorProto) {
			inner := proto.Clone(f.MessageType[0]).(*descriptorpb.DescriptorProto)
			f.MessageType[0].NestedType = append(f.MessageType[0].NestedType, inner)
			inner.Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum()
			inner.Field[0].TypeName = str(".a.v1.M.Kind")
		}, `message a.v1.M.M, field 1: type "a.v1.M.Kind" is not in the set`},
		{"of a method", func(f *descriptorpb.FileDescriptorProto) { f.Service[0].Method[0].OutputType = str(".a.v1.Answer") },
			`method a.v1.A.Get: type "a.v1.Answer" is not in the set`},
		{"that an extension extends", func(f *descriptorpb.FileDescriptorProto) {
			x := proto.Clone(f.MessageType[0].Field[0]).(*descriptorpb.FieldDescriptorProto)
			x.Extendee, x.JsonName = str(".a.v1.Base"), nil
			f.Extension = append(f.Extension, x)
		}, `extension a.v1.name: type "a.v1.Base" is not in the set`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := service("a.proto", "a.v1", "A")
			c.change(f)
			_, err := Inspect("x.binpb", marshal(t, f))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnImportThatTheGatewayFillsInAddsNoService(t *testing.T) {
	f := service("a.proto", "a.v1", "A")
	f.Dependency = []string{"grpc/health/v1/health.proto"}
	services, err := Inspect("x", marshal(t, f))
	if err != nil || len(services) != 1 {
		t.Errorf("%v, %v; want a.v1.A alone", services, err)
	}
}

func TestFilesThatImportEachOtherAreRefused(t *testing.T) {
	a, b := service("a.proto", "a.v1", "A"), service("b.proto", "b.v1", "B")
	a.Dependency, b.Dependency = []string{"b.proto"}, []string{"a.proto"}
	if _, err := Inspect("x", marshal(t, a, b)); err == nil || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("error %v, want an import cycle", err)
	}
}

func TestTheKindOfAMethodIsItsStreaming(t *testing.T) {
	f := service("a.proto", "a.v1", "A")
	get := f.Service[0].Method[0]
	f.Service[0].Method = nil
	want := []string{"unary", "client stream", "server stream", "bidi stream"}
	for i := range want {
		m := proto.Clone(get).(*descriptorpb.MethodDescriptorProto)
		m.Name = proto.String(string(rune('A' + i)))
		m.ClientStreaming, m.ServerStreaming = proto.Bool(i&1 != 0), proto.Bool(i&2 != 0)
		f.Service[0].Method = append(f.Service[0].Method, m)
	}
	services, err := Inspect("x", marshal(t, f))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range services[0].Methods {
		if m.Kind() != want[i] {
			t.Errorf("%s is %s, want %s", m.FullMethod, m.Kind(), want[i])
		}
	}
}
