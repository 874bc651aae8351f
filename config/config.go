package config

// Config is one whole configuration.
type Config struct {
	// Files are the files this configuration was read from, absolute, in the order read; the ones to watch.
	Files []string `yaml:"-"`

	// Where clients connect. At least one is needed to serve.
	Listeners []Listener `yaml:"listeners"`
	// The administration listener: health, metrics, descriptor registration.
	Admin Admin `yaml:"admin"`
	// The Redis or Valkey server that nodes and services share. Left out: an embedded server on a free loopback port, for one node.
	Redis *Redis `yaml:"redis"`
	// Logging of the process and of requests.
	Log Log `yaml:"log"`
	// How the process ends after SIGTERM.
	Drain Drain `yaml:"drain"`
	// When requests are turned away so that the others are served.
	Overload Overload `yaml:"overload"`
	// Where protobuf descriptors come from.
	Descriptors []DescriptorSource `yaml:"descriptors"`
	// HTTP rules for methods, in place of the annotations in their .proto files.
	HTTP HTTP `yaml:"http"`
	// Named pools of backends.
	Upstreams []Upstream `yaml:"upstreams"`
	// Named ways to send part of the requests elsewhere, which routes name.
	Releases []Release `yaml:"releases"`
	// Named ways to authenticate a caller.
	Auth []AuthProvider `yaml:"auth"`
	// The key of tokens that tell backends who a caller is.
	IdentityTokens *IdentityTokens `yaml:"identity_tokens"`
	// Headers that have browsers be careful, on the answers of all routes that have no security_headers of their own, and of the gateway itself. Left out: none.
	SecurityHeaders *SecurityHeaders `yaml:"security_headers"`
	// Limits that several routes share. A route charges one by naming it in its rate_limits.
	Limits []RateLimit `yaml:"limits"`
	// Where answers are kept of routes that have a cache.
	Cache CacheStore `yaml:"cache"`
	// What is served, to whom, and from where. The most specific match wins, whatever the order.
	Routes []Route `yaml:"routes"`
}
