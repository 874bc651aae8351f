package descriptors

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// types is the message and extension types of one source. Message types are made once, so that finding one is a map
// look-up and each message has one type.
type types struct {
	*dynamicpb.Types
	messages map[protoreflect.FullName]protoreflect.MessageType
}

func newTypes(files *protoregistry.Files) *types {
	t := &types{dynamicpb.NewTypes(files), map[protoreflect.FullName]protoreflect.MessageType{}}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		t.add(f.Messages())
		return true
	})
	return t
}

func (t *types) add(list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		m := list.Get(i)
		t.messages[m.FullName()] = dynamicpb.NewMessageType(m)
		t.add(m.Messages())
	}
}

func (t *types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if m := t.messages[name]; m != nil {
		return m, nil
	}
	return nil, protoregistry.NotFound
}

func (t *types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return t.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}
