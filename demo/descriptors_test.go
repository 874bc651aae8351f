package demo

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

func TestTheCommentedDescriptorsAreThoseOfTheCode(t *testing.T) {
	files, err := commentedFiles()
	if err != nil {
		t.Fatal(err)
	}
	code := demov1.File_crossgate_demo_v1_shop_proto
	f, err := files.FindFileByPath(code.Path())
	if err != nil {
		t.Fatal(err)
	}
	got := protodesc.ToFileDescriptorProto(f)
	got.SourceCodeInfo = nil
	if !proto.Equal(got, protodesc.ToFileDescriptorProto(code)) {
		t.Error("shop.binpb is stale, run make generate")
	}
	item := f.Messages().ByName("Item")
	if text := f.SourceLocations().ByDescriptor(item).LeadingComments; !strings.Contains(text, "An item on a shelf.") {
		t.Errorf("the comment of Item is %q", text)
	}
}
