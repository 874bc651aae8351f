package validation_test

import (
	"fmt"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/transcoder/validation"
)

func Example() {
	// message Item { string title = 1 [(buf.validate.field).string.min_len = 3]; }
	options := &descriptorpb.FieldOptions{}
	proto.SetExtension(options, validate.E_Field, &validate.FieldRules{
		Type: &validate.FieldRules_String_{String_: &validate.StringRules{MinLen: proto.Uint64(3)}},
	})
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("item.proto"), Syntax: proto.String("proto3"), Dependency: []string{"buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Item"), Field: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("title"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Options: options,
		}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		panic(err)
	}
	rules, err := validation.NewCompiler(protoregistry.GlobalTypes, nil).Compile(file.Messages().Get(0))
	if err != nil {
		panic(err)
	}
	fmt.Println(rules.Check([]byte("\x0a\x05river")))
	fmt.Println(rules.Check([]byte("\x0a\x01x")))
	// Output:
	// <nil>
	// title: must be at least 3 characters [string.min_len]
}
