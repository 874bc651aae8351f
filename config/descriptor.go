package config

// DescriptorSource is one place protobuf descriptors come from. Exactly one of File, Protos and Reflection is set.
type DescriptorSource struct {
	Pos Position `yaml:"-"`

	// The name errors and listings use. Left out: the file, the root or the upstream.
	Name string `yaml:"name"`
	// A serialized google.protobuf.FileDescriptorSet with its imports, watched.
	File Path `yaml:"file"`
	// A tree of .proto files, compiled in process, watched.
	Protos *ProtoTree `yaml:"protos"`
	// gRPC server reflection (v1, else v1alpha) on an upstream, asked again whenever the backend comes back.
	Reflection *Reflection `yaml:"reflection"`
}

// ProtoTree is a tree of .proto files.
type ProtoTree struct {
	Pos Position `yaml:"-"`

	// The folder that imports are relative to. google/api, google/rpc and google/protobuf need no file in it.
	Root Path `yaml:"root" required:"true"`
	// Which files to compile: globs relative to the root; ** spans folders.
	Files []string `yaml:"files" default:"**/*.proto"`
}

// Reflection asks a backend for its descriptors.
type Reflection struct {
	Pos Position `yaml:"-"`

	// The upstream to ask.
	Upstream string `yaml:"upstream" required:"true"`
	// How often to ask again while the backend stays up. 0 never.
	Interval Duration `yaml:"interval" default:"1m"`
}
