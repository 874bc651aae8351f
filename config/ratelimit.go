package config

// RateLimit is one limit: exactly one of Rate, Quota, Concurrency and Limit is set. docs/limits.md explains the kinds.
type RateLimit struct {
	Pos Position `yaml:"-"`

	// What the limit is called in headers, metrics and logs. Left out: its number among the limits of its list, from 1. Limits of the section limits must have one.
	Name string `yaml:"name"`
	// The limit of the section limits that is charged, shared by all who name it. Only cost and costs may stand beside it.
	Limit string `yaml:"limit"`
	// Whose requests are counted together, one or a list, which counts each combination for itself: ip, user, key (the API key), header:NAME, claim:NAME (of the token, dotted for nested ones), path:NAME (a variable of the path), method (the gRPC method, elsewhere the HTTP method), connection (WebSocket messages only) or route (everyone's; of a limit of the section limits: everyone's of all routes that name it). In place of what a request does not have stands its IP.
	Per []string `yaml:"per" default:"ip" single:"true"`
	// How many bits of an IPv6 address make a subscriber.
	IPv6Prefix int `yaml:"ipv6_prefix" default:"64" min:"1" max:"128"`
	// A steady rate, as 100/s, 5/m, 1000/h or 10/10s.
	Rate Rate `yaml:"rate"`
	// How many of a rate may come at once. Left out: the number in rate.
	Burst int `yaml:"burst" min:"1"`
	// How many may come in a period of the calendar.
	Quota int `yaml:"quota" min:"1"`
	// The period of a quota. Weeks begin on Monday.
	Period string `yaml:"period" default:"month" enum:"day,week,month"`
	// The time zone whose midnight begins a period, as Europe/Berlin.
	TimeZone string `yaml:"time_zone" default:"UTC"`
	// How many requests may go on at the same time.
	Concurrency int `yaml:"concurrency" min:"1"`
	// How much of a rate or a quota one request takes.
	Cost int `yaml:"cost" default:"1" min:"1" max:"1000000"`
	// What other requests cost; the first that fits holds.
	Costs []LimitCost `yaml:"costs"`
	// Where counts are kept: memory, per node; redis, over all nodes, which each request asks; or leased, over all nodes, of which each takes a tenth of burst from Redis at a time. Leased is for rates.
	Store string `yaml:"store" default:"memory" enum:"memory,redis,leased"`
	// When Redis is gone or does not answer in time: count on this node alone (local), let pass (allow), or refuse (deny).
	OnFailure string `yaml:"on_failure" default:"local" enum:"local,allow,deny"`
	// The percentage of the limit that this node gives when it counts alone: with four nodes 25 keeps to the limit.
	LocalShare int `yaml:"local_share" default:"100" min:"1" max:"100"`
	// Whether requests over the limit are only counted and logged, and pass.
	DryRun bool `yaml:"dry_run" default:"false"`
}

// LimitCost is what requests of some methods cost.
type LimitCost struct {
	Pos Position `yaml:"-"`

	// HTTP methods, and gRPC methods by full name: package.Service.Method, package.Service.*, package.* or *.
	Methods []string `yaml:"methods" required:"true"`
	// How much one takes. 0: the limit does not count it.
	Cost int `yaml:"cost" required:"true" min:"0" max:"1000000"`
}
