package config

// Mirror sends copies of a route's requests to a second upstream, whose answers are dropped: to try a new version with real
// requests. docs/mirroring.md says what is copied and what is not.
type Mirror struct {
	Pos Position `yaml:"-"`

	// The upstream that gets the copies, of the protocol of the route's own.
	Upstream string `yaml:"upstream" required:"true"`
	// How many of the requests are copied, in percent.
	Percent Percent `yaml:"percent" default:"100" max:"100"`
	// The largest body, or for gRPC message, of a copy. A larger one is not copied.
	MaxBodySize Size `yaml:"max_body_size" default:"64KiB" min:"1" max:"16MiB"`
	// How many copies are under way at a time.
	MaxConcurrent int `yaml:"max_concurrent" default:"16" min:"1" max:"4096"`
	// How many more may wait, and with them the requests whose bodies are still coming. What comes beyond is not copied.
	MaxPending int `yaml:"max_pending" default:"64" min:"0" max:"65536"`
	// The longest time for a copy and its answer, whatever time the request itself has.
	Timeout Duration `yaml:"timeout" default:"5s" min:"1ms"`
	// Whether copies have the caller's credentials: strip leaves out Authorization, Proxy-Authorization and Cookie, the headers that providers of auth read, and that of forward_identity's token.
	Credentials string `yaml:"credentials" default:"strip" enum:"strip,pass"`
}

func (v *validator) mirror(r *Route, upstreams map[string]Position) {
	m, own, protocol := r.Mirror, "", ""
	if m == nil {
		return
	}
	switch {
	case r.GRPC != nil:
		own, protocol = r.GRPC.Upstream, "grpc"
	case r.HTTP != nil:
		own, protocol = r.HTTP.Upstream, "http"
	default:
		v.errorf(m.Pos, "mirror: only a grpc or an http route has requests that can be copied")
		return
	}
	v.reference(&m.Upstream, m.Pos, "upstream", upstreams)
	v.speaks(&m.Upstream, m.Pos, protocol)
	if m.Upstream == own {
		v.errorf(v.at(&m.Upstream, m.Pos), "mirror: %s is the route's own upstream, which would get requests twice", quote(own))
	}
}
