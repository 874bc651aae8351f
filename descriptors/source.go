package descriptors

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// Linked in so that sets may leave these out, and so that google.api and buf.validate options in sets are understood.
	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// source is the compiled content of one source.
type source struct {
	name     string
	digest   [sha256.Size]byte
	files    *protoregistry.Files
	types    *types
	services []protoreflect.ServiceDescriptor
	checked  atomic.Pointer[ruleSet] // the rules that it was last found right with
}

// compileSet compiles a serialized FileDescriptorSet. Nothing in it is trusted.
func compileSet(name string, raw []byte) (*source, error) {
	var set descriptorpb.FileDescriptorSet
	// The resolver makes google.api options messages instead of unknown fields.
	if err := (proto.UnmarshalOptions{Resolver: protoregistry.GlobalTypes}).Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("descriptors: %s: not a serialized google.protobuf.FileDescriptorSet: %w", name, err)
	}
	if len(set.File) == 0 {
		return nil, fmt.Errorf("descriptors: %s: the FileDescriptorSet has no files", name)
	}
	src, err := compileFiles(name, &set)
	if err != nil {
		return nil, err
	}
	src.digest = sha256.Sum256(raw)
	return src, nil
}

func compileFiles(name string, set *descriptorpb.FileDescriptorSet) (src *source, err error) {
	// protodesc checks what it is given; should hostile input get past that, this source is refused and nothing else.
	defer func() {
		if r := recover(); r != nil {
			src, err = nil, fmt.Errorf("descriptors: %s: malformed descriptors: %v", name, r)
		}
	}()
	given := len(set.File)
	if err := complete(set); err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		if missing := checkReferences(set); missing != nil {
			err = missing
		}
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	src = &source{name: name, files: files, types: newTypes(files)}
	// In the order of the set, so that listings are stable. Services of the files that complete added are not the source's.
	for _, f := range set.File[:given] {
		fd, err := files.FindFileByPath(f.GetName())
		if err != nil {
			return nil, fmt.Errorf("descriptors: %s: %w", name, err)
		}
		for i := range fd.Services().Len() {
			src.services = append(src.services, fd.Services().Get(i))
		}
	}
	return src, nil
}

// complete adds the imports that the set leaves out and the gateway has itself: google/protobuf, google/api, google/rpc.
func complete(set *descriptorpb.FileDescriptorSet) error {
	have := make(map[string]bool, len(set.File))
	for _, f := range set.File {
		if have[f.GetName()] {
			return fmt.Errorf("the file %s is there twice", f.GetName())
		}
		have[f.GetName()] = true
	}
	for i := 0; i < len(set.File); i++ {
		f := set.File[i]
		for _, path := range f.Dependency {
			if have[path] {
				continue
			}
			known, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if errors.Is(err, protoregistry.NotFound) {
				return fmt.Errorf("%s imports %s, which is not in the set (write sets with their imports: protoc --include_imports)", f.GetName(), path)
			} else if err != nil {
				return err
			}
			have[path] = true
			set.File = append(set.File, protodesc.ToFileDescriptorProto(known))
		}
	}
	return nil
}
