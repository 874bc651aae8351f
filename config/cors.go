package config

// CORS lets pages of other origins call (the Fetch standard's CORS protocol).
type CORS struct {
	Pos Position `yaml:"-"`

	// Origins: scheme://host[:port]; scheme://*.example.com for every name below example.com; or "*".
	Origins []string `yaml:"origins" required:"true"`
	// Methods a page may use. Left out: those of the route.
	Methods []string `yaml:"methods"`
	// Request headers a page may set. Left out: those it asks for. "*" is all but Authorization (the Fetch standard), which must be named.
	Headers []string `yaml:"headers"`
	// Response headers a page may read.
	Expose []string `yaml:"expose"`
	// Whether cookies and credentials may be sent. Not with origin "*".
	Credentials bool `yaml:"credentials"`
	// Whether pages of the public Internet may call a gateway in a private network (Private Network Access).
	PrivateNetwork bool `yaml:"private_network" default:"false"`
	// How long a browser may remember the answer to a preflight. Chromium does for at most 2h.
	MaxAge Duration `yaml:"max_age" default:"10m"`
}
