package codec_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/apipb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// A program needs a descriptor and nothing else; here it comes from a generated type, elsewhere from a file or from server reflection.
func ExampleCompile() {
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
