package config

// Upstream is one named pool of backends.
type Upstream struct {
	Pos Position `yaml:"-"`

	// The name routes use.
	Name string `yaml:"name" required:"true"`
	// What the backends speak: grpc, for grpc routes; http, for http routes.
	Protocol string `yaml:"protocol" default:"grpc" enum:"grpc,http"`
	// Which HTTP, of protocol http: auto is 2 where ALPN agrees on it and 1.1 elsewhere; 2 without TLS is h2c. Upgrades go by 1.1 whatever it is.
	HTTPVersion string `yaml:"http_version" default:"auto" enum:"auto,1.1,2"`
	// Connections of HTTP/1.1 kept to each endpoint while nothing uses them.
	MaxIdleConnections int `yaml:"max_idle_connections" default:"256" min:"1" max:"65536"`
	// How long such a connection is kept. Less than the backends keep theirs spares requests that meet a closed one.
	IdleTimeout Duration `yaml:"idle_timeout" default:"55s" min:"1ms"`
	// The most bytes of headers accepted from an HTTP backend.
	MaxHeaderSize Size `yaml:"max_header_size" default:"256KiB" min:"1KiB" max:"16MiB"`
	// The backends, host:port; one that cannot be reached is passed over. Either this or discovery.
	Endpoints []string `yaml:"endpoints"`
	// Where the backends are learnt, if they are not listed in endpoints.
	Discovery *Discovery `yaml:"discovery"`
	// Which of them a request goes to.
	Balancing Balancing `yaml:"balancing"`
	// How each is asked whether it is well. Left out: they are not.
	HealthCheck *HealthCheck `yaml:"health_check"`
	// When those that fail get no requests for a while. Left out: never, but for those that cannot be connected to.
	OutlierDetection *OutlierDetection `yaml:"outlier_detection"`
	// How many of the requests under way may be retries.
	RetryBudget RetryBudget `yaml:"retry_budget"`
	// How many requests there are at a time. Left out: any number.
	Concurrency *Concurrency `yaml:"concurrency"`
	// TLS towards the backends. Left out: plain text.
	TLS *ClientTLS `yaml:"tls"`
	// Connections kept to each endpoint.
	Connections int `yaml:"connections" default:"2" min:"1" max:"64"`
	// The longest time to connect.
	ConnectTimeout Duration `yaml:"connect_timeout" default:"5s" min:"1ms"`
	// The largest message accepted from a backend.
	MaxMessageSize Size `yaml:"max_message_size" default:"16MiB" min:"1" max:"1GiB"`
	// How much of a stream a backend may send before its client has taken what came (the HTTP/2 window). It is the memory that
	// a slow client costs, besides one message, and with a far backend what a stream moves in each round trip.
	StreamWindow Size `yaml:"stream_window" default:"256KiB" min:"64KiB" max:"2MiB"`
}

// ClientTLS is TLS towards a backend.
type ClientTLS struct {
	Pos Position `yaml:"-"`

	// PEM file with the authorities to trust. Left out: the system's.
	CA Path `yaml:"ca"`
	// The name to verify and to send as SNI. Left out: the endpoint's host, or the name that discovery.dns asks for the addresses of.
	ServerName string `yaml:"server_name"`
	// PEM file with the client certificate, for mutual TLS.
	Certificate Path `yaml:"certificate"`
	// PEM file with the client key.
	Key Path `yaml:"key"`
}
