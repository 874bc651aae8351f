package descriptors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/config"
)

// maxProtoFiles bounds a tree, so that a root set to / by mistake says so instead of reading a disk.
const maxProtoFiles = 20_000

// compileTree compiles a tree of .proto files. Each error names file, line and column of the .proto.
func compileTree(ctx context.Context, name string, tree *config.ProtoTree) (*source, error) {
	paths, err := treeFiles(tree)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	var errs config.Errors
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{string(tree.Root)}},
			protocompile.ResolverFunc(linkedIn),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(e reporter.ErrorWithPos) error {
			at := e.GetPosition()
			errs.Add(config.Position{File: filepath.Join(string(tree.Root), at.Filename), Line: at.Line, Column: at.Col}, e.Unwrap())
			return nil // go on, to report them all
		}, nil),
	}
	compiled, err := compiler.Compile(ctx, paths...)
	if len(errs) > 0 {
		return nil, errs
	}
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, f := range compiled {
		collect(set, seen, f)
	}
	return compileFilesDigest(name, set)
}

// compileFilesDigest compiles a set whose options may be messages of other types than the gateway's own, as after
// compilation or reflection: it goes through bytes, which also are its digest.
func compileFilesDigest(name string, set *descriptorpb.FileDescriptorSet) (*source, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	return compileSet(name, raw)
}

func collect(set *descriptorpb.FileDescriptorSet, seen map[string]bool, f protoreflect.FileDescriptor) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		collect(set, seen, f.Imports().Get(i).FileDescriptor)
	}
	set.File = append(set.File, protoutil.ProtoFromFileDescriptor(f))
}

// linkedIn resolves google/api, google/rpc and google/protobuf imports from the gateway itself.
func linkedIn(path string) (protocompile.SearchResult, error) {
	d, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return protocompile.SearchResult{}, err
	}
	return protocompile.SearchResult{Desc: d}, nil
}

// treeFiles returns the files of the tree, relative to its root and sorted.
func treeFiles(tree *config.ProtoTree) ([]string, error) {
	root := os.DirFS(string(tree.Root))
	if info, err := os.Stat(string(tree.Root)); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("root %s is no folder", tree.Root)
	}
	var paths []string
	for _, glob := range tree.Files {
		err := doublestar.GlobWalk(root, glob, func(path string, d fs.DirEntry) error {
			if !d.IsDir() && filepath.Ext(path) == ".proto" {
				paths = append(paths, path)
			}
			if len(paths) > maxProtoFiles {
				return fmt.Errorf("more than %d .proto files below %s", maxProtoFiles, tree.Root)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .proto file below %s matches %v", tree.Root, tree.Files)
	}
	return paths, nil
}

// treeDigest is a digest of the tree's files, to notice changes without compiling.
func treeDigest(tree *config.ProtoTree) ([sha256.Size]byte, error) {
	paths, err := treeFiles(tree)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	var all bytes.Buffer
	for _, p := range paths {
		b, err := os.ReadFile(filepath.Join(string(tree.Root), p))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return [sha256.Size]byte{}, err
		}
		fmt.Fprintf(&all, "%s %d\n", p, len(b))
		all.Write(b)
	}
	return sha256.Sum256(all.Bytes()), nil
}
