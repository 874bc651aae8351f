package codec_test

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/apipb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// A program needs a descriptor and nothing else; here it comes from a generated type, elsewhere from a file or from server reflection.
func Example() {
	p, err := codec.Compile(new(apipb.Method).ProtoReflect().Descriptor(), codec.Options{})
	if err != nil {
		panic(err)
	}
	wire, err := p.AppendWire(nil, []byte(`{"name": "Get", "requestTypeUrl": "shop.v1.GetRequest", "responseStreaming": true}`))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q\n", wire)
	text, err := p.AppendJSON(nil, wire)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", text)

	_, err = p.AppendWire(nil, []byte(`{"name": "Get", "requestStreaming": "yes"}`))
	fmt.Println(err)
	// Output:
	// "\n\x03Get\x12\x12shop.v1.GetRequest(\x01"
	// {"name":"Get","requestTypeUrl":"shop.v1.GetRequest","responseStreaming":true}
	// requestStreaming: expected bool, got "yes" (line 1, column 37)
}

// A compiler shares the programs of all types it compiles.
func ExampleCompiler() {
	c := codec.NewCompiler(codec.Options{EmitUnpopulated: true, ProtoNames: true}, codec.Limits{Depth: 100, Output: 1 << 20})
	p, err := c.Compile(new(apipb.Mixin).ProtoReflect().Descriptor())
	if err != nil {
		panic(err)
	}
	text, err := p.AppendJSON([]byte("mixin: "), nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", text)
	// Output:
	// mixin: {"name":"","root":""}
}

// A gateway compiles a request and a response for each HTTP binding of a method. The parameter joins the message that the body is.
func ExampleWire() {
	var wires codec.Wire
	md := new(descriptorpb.FileDescriptorProto).ProtoReflect().Descriptor()
	request, err := wires.CompileRequest(md, "options", codec.Options{})
	if err != nil {
		panic(err)
	}
	options := md.Fields().ByName("options")
	optimizeFor := []protoreflect.FieldDescriptor{options, options.Message().Fields().ByName("optimize_for")}
	wire, err := request.AppendWire(nil, []byte(`{"goPackage":"shop"}`), []codec.Param{{Path: optimizeFor, Value: "SPEED"}})
	if err != nil {
		panic(err)
	}
	response, err := wires.CompileResponse(md, "", codec.Options{ProtoNames: true})
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
	// {"options":{"optimize_for":"SPEED","go_package":"shop"}}
	// options.goPackage: expected string, got 7 (line 1, column 14)
}
