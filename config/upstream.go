package config

// Upstream is one named pool of backends.
type Upstream struct {
	Pos Position `yaml:"-"`

	// The name routes use.
	Name string `yaml:"name" required:"true"`
	// What the backends speak.
	Protocol string `yaml:"protocol" default:"grpc" enum:"grpc"`
	// The backends, host:port; one that cannot be reached is passed over. Either this or discovery.
	Endpoints []string `yaml:"endpoints"`
	// Where the backends are learnt, if they are not listed in endpoints.
	Discovery *Discovery `yaml:"discovery"`
	// Which of them a request goes to.
	Balancing Balancing `yaml:"balancing"`
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
