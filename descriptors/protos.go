package descriptors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/config"
)

// maxProtoFiles bounds a tree, so that a root set to / by mistake says so instead of reading a disk.
const maxProtoFiles = 20_000

// maxProtoSize bounds one .proto file.
const maxProtoSize = 16 << 20

// builtTree is a compiled tree and what it was compiled from.
type builtTree struct {
	*source
	paths  []string // the files the globs matched
	inputs map[string][sha256.Size]byte
}

// absent stands for the content of a file that was looked for below the root and is not there.
var absent [sha256.Size]byte

// compileTree compiles a tree of .proto files. Each error names file, line and column of the .proto.
func compileTree(ctx context.Context, name string, tree *config.ProtoTree) (*builtTree, error) {
	paths, err := treeFiles(tree)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	var errs config.Errors
	report := func(e reporter.ErrorWithPos) {
		at := e.GetPosition()
		errs.Add(config.Position{File: filepath.Join(string(tree.Root), at.Filename), Line: at.Line, Column: at.Col}, e.Unwrap())
	}
	in := inputs{root: string(tree.Root), digests: map[string][sha256.Size]byte{}}
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{Accessor: in.open},
			protocompile.ResolverFunc(linkedIn),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(e reporter.ErrorWithPos) error {
			report(e)
			return nil // go on, to report them all
		}, nil),
	}
	compiled, err := compiler.Compile(ctx, paths...)
	// Imports that cannot be resolved do not go through the reporter.
	var placed reporter.ErrorWithPos
	if len(errs) == 0 && errors.As(err, &placed) {
		report(placed)
	}
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
	src, err := compileFilesDigest(name, set)
	if err != nil {
		return nil, err
	}
	return &builtTree{src, paths, in.digests}, nil
}

// inputs opens the files of a tree and keeps the digest of each, imports from outside the globs too. The compiler opens
// files in parallel.
type inputs struct {
	root    string
	mu      sync.Mutex
	digests map[string][sha256.Size]byte
}

func (in *inputs) open(path string) (io.ReadCloser, error) {
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("%s leads out of the root", path)
	}
	content, err := readBounded(filepath.Join(in.root, filepath.FromSlash(path)), maxProtoSize)
	digest := sha256.Sum256(content)
	if err != nil {
		digest = absent
	}
	in.mu.Lock()
	in.digests[path] = digest
	in.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// current reports whether the tree still has the files it was compiled from and no others.
func (b *builtTree) current(tree *config.ProtoTree) bool {
	paths, err := treeFiles(tree)
	if err != nil || !slices.Equal(paths, b.paths) {
		return false
	}
	now := inputs{root: string(tree.Root), digests: make(map[string][sha256.Size]byte, len(b.inputs))}
	for path := range b.inputs {
		// A file that cannot be read has its digest too: absent.
		_, _ = now.open(path)
	}
	return maps.Equal(now.digests, b.inputs)
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
