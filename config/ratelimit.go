package config

// RateLimit is one limit (GCRA: a steady rate with a burst).
type RateLimit struct {
	Pos Position `yaml:"-"`

	// Whose requests are counted together: ip, user, key (the API key), connection (WebSocket messages only), route (everyone's), or header:NAME.
	// A request without such an identity is counted by its IP.
	Per string `yaml:"per" default:"ip"`
	// The steady rate, as 100/s, 5/m, 1000/h or 10/10s.
	Rate Rate `yaml:"rate" required:"true"`
	// How many may come at once. Left out: the number in rate.
	Burst int `yaml:"burst" min:"1"`
	// Where counts are kept: memory, per node; or redis, over all nodes.
	Store string `yaml:"store" default:"memory" enum:"memory,redis"`
	// When Redis is gone: count on this node alone (local), let pass (allow), or refuse (deny).
	OnFailure string `yaml:"on_failure" default:"local" enum:"local,allow,deny"`
}
