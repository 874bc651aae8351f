package config

// Discovery says where the endpoints of an upstream are learnt. Exactly one of Static, DNS, File and Redis is set.
type Discovery struct {
	Pos Position `yaml:"-"`

	// Endpoints with weights and zones.
	Static []Endpoint `yaml:"static"`
	// The addresses of a name, asked for again and again.
	DNS *DNSDiscovery `yaml:"dns"`
	// A file that something else writes.
	File *FileDiscovery `yaml:"file"`
	// What services register in the gateway's Redis.
	Redis *RedisDiscovery `yaml:"redis"`
}

// Endpoint is one backend.
type Endpoint struct {
	Pos Position `yaml:"-"`

	// host:port.
	Address string `yaml:"address" required:"true"`
	// Its share of requests, relative to the others'.
	Weight int `yaml:"weight" default:"1" min:"1" max:"1000"`
	// Where it is; see balancing.zone.
	Zone string `yaml:"zone"`
}

// DNSDiscovery has the endpoints of a DNS name. An answer that is empty, or none, changes nothing.
type DNSDiscovery struct {
	Pos Position `yaml:"-"`

	// The name, such as that of a headless service of Kubernetes: shop.default.svc.cluster.local; for srv with what stands before
	// it: _grpc._tcp.shop.default.svc.cluster.local. It is asked for as it is, without search domains.
	Name string `yaml:"name" required:"true"`
	// The records asked for: address is A and AAAA; srv has ports and weights too, and of its priorities the best is used.
	Type string `yaml:"type" default:"address" enum:"address,srv"`
	// The port of the endpoints; srv has its own.
	Port int `yaml:"port" min:"1" max:"65535"`
	// The longest time between two questions; the records' TTL shortens it. After a failure the next is sooner.
	Interval Duration `yaml:"interval" default:"30s" min:"100ms"`
	// The name server, host:port. Left out: those of /etc/resolv.conf.
	Server string `yaml:"server"`
}

// FileDiscovery has the endpoints of a file, YAML or JSON: a list of {address, weight, zone}. It is read again when it
// changes; one that cannot be read, or has none, changes nothing.
type FileDiscovery struct {
	Pos Position `yaml:"-"`

	// The file.
	Path Path `yaml:"path" required:"true"`
}

// RedisDiscovery has the endpoints that services have registered, with a lease, in the gateway's Redis.
// docs/upstreams.md has the keys.
type RedisDiscovery struct {
	Pos Position `yaml:"-"`

	// The name that they have registered under.
	Service string `yaml:"service" required:"true"`
	// How often leases are looked at. A registration that is published is seen at once.
	Interval Duration `yaml:"interval" default:"2s" min:"100ms"`
}
