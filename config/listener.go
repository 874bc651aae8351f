package config

// Listener is one address that serves HTTP/1.1, HTTP/2, gRPC and WebSocket.
type Listener struct {
	Pos Position `yaml:"-"`

	// The TCP address to listen on, host:port. Port 0 takes a free one.
	Address string `yaml:"address" required:"true"`
	// Certificate and key; with them the listener speaks TLS with HTTP/2 and HTTP/1.1 by ALPN, without them plain HTTP/1.1 and h2c.
	TLS *ServerTLS `yaml:"tls"`
	// Proxies in front of this listener, as CIDR prefixes. Only from these is X-Forwarded-For believed, or Forwarded (RFC 7239) where that is all they send.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	// The longest time a client may take to send its request headers.
	ReadHeaderTimeout Duration `yaml:"read_header_timeout" default:"10s" min:"1ms"`
	// How long a client may take nothing of what is written to it before it is disconnected. WebSocket connections have their route's ping_timeout. On Linux it is also how long a peer that has vanished may confirm nothing, whatever the connection is for.
	WriteTimeout Duration `yaml:"write_timeout" default:"1m" min:"10ms"`
	// How long a kept-alive connection may be idle.
	IdleTimeout Duration `yaml:"idle_timeout" default:"2m" min:"1ms"`
	// The most bytes of request headers.
	MaxHeaderSize Size `yaml:"max_header_size" default:"64KiB" min:"1KiB" max:"16MiB"`
	// The most header fields of a request, those of one name counted once.
	MaxHeaders int `yaml:"max_headers" default:"128" min:"8" max:"100000"`
	// The most concurrent HTTP/2 streams of a connection.
	MaxConcurrentStreams int `yaml:"max_concurrent_streams" default:"250" min:"1" max:"1000000"`
	// How many HTTP/2 streams a client may give up before they are answered, on one connection and in the long run; as many may come at once. Beyond it the connection is closed.
	MaxStreamResets Rate `yaml:"max_stream_resets" default:"1000/s"`
}

// ServerTLS is how a listener speaks TLS: with certificates from files, which are read again when they change, from an ACME
// authority, or both. Connections that are open stay when certificates change.
type ServerTLS struct {
	Pos Position `yaml:"-"`

	// PEM file with the certificate chain, leaf first. A relative path is relative to the configuration file.
	Certificate Path `yaml:"certificate"`
	// PEM file with the private key.
	Key Path `yaml:"key"`
	// More certificates. A client gets the first of all that fits the name it asks for (SNI) and that it can check, or else the first.
	Certificates []KeyPair `yaml:"certificates"`
	// Certificates from an ACME authority, such as Let's Encrypt, got and renewed by themselves.
	ACME *ACME `yaml:"acme"`
	// The lowest protocol version accepted.
	MinVersion string `yaml:"min_version" default:"1.2" enum:"1.2,1.3"`
	// Certificates of clients. Left out: none are asked for.
	Clients *ClientCertificates `yaml:"clients"`
}

// Pairs returns the certificates from files, the first first.
func (t *ServerTLS) Pairs() []KeyPair {
	if t.Certificate == "" {
		return t.Certificates
	}
	return append([]KeyPair{{Pos: t.Pos, Certificate: t.Certificate, Key: t.Key}}, t.Certificates...)
}

// Files returns the files that are read again when they change.
func (t *ServerTLS) Files() []string {
	var files []string
	for _, p := range t.Pairs() {
		files = append(files, string(p.Certificate), string(p.Key))
	}
	if t.Clients != nil {
		files = append(files, string(t.Clients.CA))
		for _, crl := range t.Clients.CRL {
			files = append(files, string(crl))
		}
	}
	return files
}

// KeyPair is a certificate and its key.
type KeyPair struct {
	Pos Position `yaml:"-"`

	// PEM file with the certificate chain, leaf first.
	Certificate Path `yaml:"certificate" required:"true"`
	// PEM file with the private key.
	Key Path `yaml:"key" required:"true"`
}

// ClientCertificates is which clients may connect, by the certificates they show (mutual TLS).
type ClientCertificates struct {
	Pos Position `yaml:"-"`

	// PEM file with the authorities that sign the clients' certificates.
	CA Path `yaml:"ca" required:"true"`
	// Whether a client without a certificate may connect. A certificate that is given must be good in any case.
	Mode string `yaml:"mode" default:"require" enum:"require,optional"`
	// Files with revocation lists (RFC 5280), PEM or DER, each signed by one of the authorities. A list stays in force beyond its next update.
	CRL []Path `yaml:"crl"`
}

// ACME is an authority that gives certificates to whom it sees answer at a name (RFC 8555). It connects to port 443 of each
// name, which must lead to this listener: the challenge is tls-alpn-01.
type ACME struct {
	Pos Position `yaml:"-"`

	// The names to get certificates for, when a client first asks for one.
	Domains []string `yaml:"domains" required:"true"`
	// Where the authority may write to, about certificates that expire.
	Email string `yaml:"email"`
	// The folder that keeps the account's key and the certificates.
	Cache Path `yaml:"cache" required:"true"`
	// The authority's directory.
	DirectoryURL string `yaml:"directory_url" default:"https://acme-v02.api.letsencrypt.org/directory"`
	// PEM file with the authorities to trust for the directory. Left out: the system's.
	CA Path `yaml:"ca"`
}
