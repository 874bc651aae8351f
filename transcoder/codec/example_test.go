package codec_test

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

func Example() {
	md := new(descriptorpb.FileDescriptorProto).ProtoReflect().Descriptor()
	request, err := codec.Reference.CompileRequest(md, "options", codec.Options{})
	if err != nil {
		panic(err)
	}
	name := []protoreflect.FieldDescriptor{md.Fields().ByName("name")}
	wire, err := request.AppendWire(nil, []byte(`{"goPackage":"shop"}`), []codec.Param{{Path: name, Value: "shop.proto"}})
	if err != nil {
		panic(err)
	}
	response, err := codec.Reference.CompileResponse(md, "", codec.Options{ProtoNames: true})
	if err != nil {
		panic(err)
	}
	text, err := response.AppendJSON(nil, wire)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", text)

	_, err = request.AppendWire(nil, []byte(`{"goPackage":7}`), nil)
	fmt.Println(err)
	// Output:
	// {"name":"shop.proto","options":{"go_package":"shop"}}
	// options.goPackage: expected string, got 7 (line 1, column 14)
}
