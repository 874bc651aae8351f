package config

// Listener is one address that serves HTTP/1.1, HTTP/2, gRPC and WebSocket.
type Listener struct {
	Pos Position `yaml:"-"`

	// The TCP address to listen on, host:port. Port 0 takes a free one.
	Address string `yaml:"address" required:"true"`
	// Certificate and key; with them the listener speaks TLS with HTTP/2 and HTTP/1.1 by ALPN, without them plain HTTP/1.1 and h2c.
	TLS *ServerTLS `yaml:"tls"`
	// Proxies in front of this listener, as CIDR prefixes. Only from these is X-Forwarded-For believed.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	// The longest time a client may take to send its request headers.
	ReadHeaderTimeout Duration `yaml:"read_header_timeout" default:"10s" min:"1ms"`
	// How long a kept-alive connection may be idle.
	IdleTimeout Duration `yaml:"idle_timeout" default:"2m" min:"1ms"`
	// The most bytes of request headers.
	MaxHeaderSize Size `yaml:"max_header_size" default:"64KiB" min:"1KiB" max:"16MiB"`
	// The most concurrent HTTP/2 streams of a connection.
	MaxConcurrentStreams int `yaml:"max_concurrent_streams" default:"250" min:"1" max:"1000000"`
}

// ServerTLS is a server's certificate.
type ServerTLS struct {
	Pos Position `yaml:"-"`

	// PEM file with the certificate chain, leaf first. A relative path is relative to the configuration file.
	Certificate Path `yaml:"certificate" required:"true"`
	// PEM file with the private key.
	Key Path `yaml:"key" required:"true"`
	// The lowest protocol version accepted.
	MinVersion string `yaml:"min_version" default:"1.2" enum:"1.2,1.3"`
}
