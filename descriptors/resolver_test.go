package descriptors

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func TestAServiceFindsItsOwnMessagesAndThoseOfOthersAndLinkedInOnes(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir+"/one.binpb", marshal(t, service("a.proto", "a.v1", "A")))
	two := write(t, dir+"/two.binpb", marshal(t, service("b.proto", "b.v1", "B")))
	set, err := load(t, "descriptors: [{file: "+one+"}, {file: "+two+"}]", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := set.Service("b.v1.B").Resolver()
	for _, name := range []protoreflect.FullName{"b.v1.M", "a.v1.M", "google.rpc.ErrorInfo", "google.protobuf.StringValue", "google.api.HttpBody"} {
		for _, prefix := range []string{"", "type.googleapis.com/", "https://example.com/types/"} {
			if m, err := r.FindMessageByURL(prefix + string(name)); err != nil || m.Descriptor().FullName() != name {
				t.Errorf("%s%s: %v, %v", prefix, name, m, err)
			}
		}
	}
	for _, name := range []protoreflect.FullName{"", "b.v1.B", "b.v1.Nothing"} {
		if _, err := r.FindMessageByName(name); err != protoregistry.NotFound {
			t.Errorf("%q: error %v, want NotFound, which codecs look for", name, err)
		}
	}
	if x, err := r.FindExtensionByName("google.api.http"); err != nil || x.TypeDescriptor().Number() != 72295728 {
		t.Errorf("%v, %v", x, err)
	}
}

func TestFindingAMessageAllocatesNothing(t *testing.T) {
	services, err := Inspect(etcdSet, read(t, etcdSet))
	if err != nil {
		t.Fatal(err)
	}
	r := services[0].Resolver()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.FindMessageByName("etcdserverpb.RangeRequest"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.FindMessageByURL("type.googleapis.com/google.rpc.ErrorInfo"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
