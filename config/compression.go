package config

// Compression is how answers are compressed for clients whose Accept-Encoding asks for it. gRPC's own protocols compress
// their messages themselves and are left alone. Requests may come in gzip whatever is set here.
type Compression struct {
	Pos Position `yaml:"-"`

	// Which encodings, the ones liked best first: zstd, br and gzip; none for no compression. Left out: all three, in
	// that order.
	Encodings []string `yaml:"encodings"`
	// Smaller answers are sent as they are.
	MinSize Size `yaml:"min_size" default:"1KiB"`
	// Whether the answers of server streams are compressed too. Each message is flushed all the same; but each open stream
	// then holds its encoder, some hundred kilobytes.
	Streams string `yaml:"streams" default:"never" enum:"never,always"`
}
