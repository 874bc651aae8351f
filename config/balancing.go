package config

// Balancing says which endpoint of an upstream a request goes to. docs/upstreams.md explains the choices.
type Balancing struct {
	Pos Position `yaml:"-"`

	// Of two endpoints picked at random the one with fewer requests under way; each in turn; or by the consistent hash of what
	// hash_on names, so that requests with the same value go to the same endpoint while it is there. Weights hold for all.
	Policy string `yaml:"policy" default:"least_request" enum:"least_request,round_robin,hash"`
	// What is hashed: header:NAME, cookie:NAME, user (the caller's identity) or ip. A request without it goes to any endpoint.
	HashOn string `yaml:"hash_on"`
	// Clients that stay with the endpoint that their first request went to, by a cookie. Left out: none do.
	Sticky *Sticky `yaml:"sticky"`
	// How long an endpoint that is new, or healthy again, takes to grow from a tenth of its share of requests to the whole. It
	// does not hold for hash. Left out: at once.
	SlowStart Duration `yaml:"slow_start"`
	// The zone that this gateway is in, as ${ZONE}. Requests stay in it while 5 of 7 of its endpoints are healthy; below, and where
	// it has none, the part that it cannot carry goes to the others. Left out: zones do not matter.
	Zone string `yaml:"zone"`
	// Where less than this share of the endpoints is healthy, in percent, health is ignored: the few would not bear it all. 0 for never.
	PanicThreshold int `yaml:"panic_threshold" default:"50" min:"0" max:"100"`
}

// Sticky is the cookie that names a client's endpoint. Its value is a digest of the endpoint's address.
type Sticky struct {
	Pos Position `yaml:"-"`

	// The cookie's name.
	Cookie string `yaml:"cookie" required:"true"`
	// The cookie's path.
	Path string `yaml:"path" default:"/"`
	// How long the client keeps it. Left out: as long as its session.
	TTL Duration `yaml:"ttl" min:"1s"`
	// When other sites' requests carry it.
	SameSite string `yaml:"same_site" default:"lax" enum:"lax,strict,none"`
	// Whether it goes over TLS only.
	Secure bool `yaml:"secure" default:"false"`
}
