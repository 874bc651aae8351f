package demo

import (
	_ "embed" // the shop's descriptors
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The descriptors of shop.proto with its comments, which generated Go code leaves out.
//
//go:embed shop.binpb
var shopDescriptors []byte

// commented finds the shop's file with its comments, so that reflection tells them, and others among those linked in.
type commented struct{ shop *protoregistry.Files }

var commentedFiles = sync.OnceValues(func() (*commented, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(shopDescriptors, &set); err != nil {
		return nil, err
	}
	files := &protoregistry.Files{}
	for _, f := range set.File {
		fd, err := protodesc.NewFile(f, protoregistry.GlobalFiles)
		if err != nil {
			return nil, err
		}
		if err := files.RegisterFile(fd); err != nil {
			return nil, err
		}
	}
	return &commented{files}, nil
})

// FindFileByPath implements protodesc.Resolver.
func (c *commented) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if f, err := c.shop.FindFileByPath(path); err == nil {
		return f, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

// FindDescriptorByName implements protodesc.Resolver.
func (c *commented) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := c.shop.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}
