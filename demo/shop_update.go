package demo

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// kept are the fields that an update leaves alone: the shop's own.
var kept = []string{"name", "etag", "create_time", "update_time"}

// merged returns a new item: old, with the fields of change that the mask names (AIP-134). Without a mask these are the
// ones that are set.
func merged(old, change *demov1.Item, mask *fieldmaskpb.FieldMask) (*demov1.Item, error) {
	item := proto.CloneOf(old)
	from, to := change.ProtoReflect(), item.ProtoReflect()
	paths := mask.GetPaths()
	switch {
	case len(paths) == 0:
		from.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			paths = append(paths, string(f.Name()))
			return true
		})
	case slices.Equal(paths, []string{"*"}):
		paths = nil
		for i := range from.Descriptor().Fields().Len() {
			paths = append(paths, string(from.Descriptor().Fields().Get(i).Name()))
		}
	}
	for _, path := range paths {
		if top, _, _ := strings.Cut(path, "."); slices.Contains(kept, top) {
			continue
		}
		if !copyField(to, from, path) {
			return nil, invalid("update_mask", "%q is no field of an item", path)
		}
	}
	// A message from elsewhere must not be shared with what the shop keeps.
	return proto.CloneOf(item), nil
}

// copyField sets the field at a dotted path as it is in from, which may mean to clear it. It returns false when there
// is no such field.
func copyField(to, from protoreflect.Message, path string) bool {
	name, rest, nested := strings.Cut(path, ".")
	f := to.Descriptor().Fields().ByName(protoreflect.Name(name))
	if f == nil {
		return false
	}
	if nested {
		return f.Message() != nil && !f.IsList() && !f.IsMap() &&
			copyField(to.Mutable(f).Message(), from.Get(f).Message(), rest)
	}
	// A member of a oneof that is not set must not clear another member that is.
	if !from.Has(f) {
		to.Clear(f)
		return true
	}
	to.Set(f, from.Get(f))
	return true
}
