package testserver

import (
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/integration/testproto"
)

// DescriptorSet returns test.proto with all its imports, each file after those it imports.
func DescriptorSet() *descriptorpb.FileDescriptorSet {
	return descriptors.Closure(testproto.File_integration_testproto_test_proto)
}
