package descriptors

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	//lint:ignore SA1019 grpcreflect, which speaks v1 and v1alpha, answers with its descriptors
	"github.com/jhump/protoreflect/desc"
	"github.com/jhump/protoreflect/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxReflected bounds the files a backend may make the gateway hold.
const maxReflected = 20_000

// maxReflectedBytes bounds the bytes one conversation with a backend may bring; tests make it small.
var maxReflectedBytes = 2 * MaxSetSize

// reflectSet asks a backend for the descriptors of its services, by reflection v1 or else v1alpha.
func reflectSet(ctx context.Context, name string, conn grpc.ClientConnInterface) (src *source, err error) {
	// The answers are put together by a library that may not have been written for hostile ones.
	defer func() {
		if r := recover(); r != nil {
			src, err = nil, fmt.Errorf("descriptors: %s: malformed reflection: %v", name, r)
		}
	}()
	client := grpcreflect.NewClientAuto(ctx, &boundedConn{conn, maxReflectedBytes})
	defer client.Reset()
	client.AllowMissingFileDescriptors()
	services, err := client.ListServices()
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: list services: %w", name, err)
	}
	// In one order, so that the same answer has the same digest.
	slices.Sort(services)
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	served := map[protoreflect.FullName]bool{}
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
		served[protoreflect.FullName(service)] = true
	}
	if len(served) == 0 {
		return nil, fmt.Errorf("descriptors: %s: the backend has no services besides reflection and health", name)
	}
	if src, err = compileFilesDigest(name, set); err != nil {
		return nil, err
	}
	// A file may declare services that another backend serves.
	src.services = slices.DeleteFunc(src.services, func(sd protoreflect.ServiceDescriptor) bool { return !served[sd.FullName()] })
	src.digest = servedDigest(src)
	return src, nil
}

// servedDigest is the digest of a source's files and of the names of its services: a backend may come to serve more of
// the same files.
func servedDigest(src *source) [sha256.Size]byte {
	h := sha256.New()
	h.Write(src.digest[:])
	for _, sd := range src.services {
		fmt.Fprintln(h, sd.FullName())
	}
	return [sha256.Size]byte(h.Sum(nil))
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

// boundedConn is a connection whose streams together bring at most left bytes. It serves one caller.
type boundedConn struct {
	grpc.ClientConnInterface
	left int
}

func (c *boundedConn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.ClientConnInterface.NewStream(ctx, d, method, opts...)
	if err != nil {
		return nil, err
	}
	return &boundedStream{s, c}, nil
}

type boundedStream struct {
	grpc.ClientStream
	conn *boundedConn
}

func (s *boundedStream) RecvMsg(m any) error {
	if s.conn.left <= 0 {
		return fmt.Errorf("the backend answered more than %d bytes", maxReflectedBytes)
	}
	err := s.ClientStream.RecvMsg(m)
	if p, ok := m.(proto.Message); ok && err == nil {
		s.conn.left -= proto.Size(p)
	}
	return err
}
