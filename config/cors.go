package config

// CORS lets pages of other origins call (the Fetch standard's CORS protocol).
type CORS struct {
	Pos Position `yaml:"-"`

	// Origins: scheme://host[:port], or "*".
	Origins []string `yaml:"origins" required:"true"`
	// Methods a page may use. Left out: those of the route.
	Methods []string `yaml:"methods"`
	// Request headers a page may set. Left out: those it asks for.
	Headers []string `yaml:"headers"`
	// Response headers a page may read.
	Expose []string `yaml:"expose"`
	// Whether cookies and credentials may be sent. Not with origin "*".
	Credentials bool `yaml:"credentials"`
	// How long a browser may remember the answer to a preflight.
	MaxAge Duration `yaml:"max_age" default:"10m"`
}
