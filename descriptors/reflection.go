package descriptors

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jhump/protoreflect/desc"
	"github.com/jhump/protoreflect/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxReflected bounds what a backend may make the gateway hold.
const maxReflected = 20_000

// reflectSet asks a backend for the descriptors of its services, by reflection v1 or else v1alpha.
func reflectSet(ctx context.Context, name string, conn grpc.ClientConnInterface) (*source, error) {
	client := grpcreflect.NewClientAuto(ctx, conn)
	defer client.Reset()
	client.AllowMissingFileDescriptors()
	services, err := client.ListServices()
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: list services: %w", name, err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	found := 0
	for _, service := range services {
		if strings.HasPrefix(service, "grpc.reflection.") || strings.HasPrefix(service, "grpc.health.") {
			continue
		}
		sd, err := client.ResolveService(service)
		if err != nil {
			return nil, fmt.Errorf("descriptors: %s: service %s: %w", name, service, err)
		}
		if err := collectReflected(set, seen, sd.GetFile()); err != nil {
			return nil, fmt.Errorf("descriptors: %s: service %s: %w", name, service, err)
		}
		found++
	}
	if found == 0 {
		return nil, fmt.Errorf("descriptors: %s: the backend has no services besides reflection and health", name)
	}
	return compileFilesDigest(name, set)
}

var errTooManyFiles = errors.New("the backend has too many files")

func collectReflected(set *descriptorpb.FileDescriptorSet, seen map[string]bool, f *desc.FileDescriptor) error {
	if seen[f.GetName()] {
		return nil
	}
	seen[f.GetName()] = true
	if len(seen) > maxReflected {
		return errTooManyFiles
	}
	for _, dependency := range f.GetDependencies() {
		if err := collectReflected(set, seen, dependency); err != nil {
			return err
		}
	}
	set.File = append(set.File, f.AsFileDescriptorProto())
	return nil
}
