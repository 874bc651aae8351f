package config

// ClientRoute serves crossgate.js, the browser client of the WebSocket bridge, as an ES module. docs/client.md is its manual.
type ClientRoute struct {
	Pos Position `yaml:"-"`

	// How long browsers may go on without asking whether it has changed.
	MaxAge Duration `yaml:"max_age" default:"10m" max:"8760h"`
}
