package servertls

import (
	"crypto/tls"
	"sync/atomic"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

// Server is one listener's TLS. Its methods are safe for concurrent use.
type Server struct {
	options *config.ServerTLS
	acme    *autocert.Manager // nil without
	// challenge is for an ACME authority that looks whether a name is ours; nil without ACME.
	challenge *tls.Config
	failures  *telemetry.Source // of the authority
	current   atomic.Pointer[tls.Config]
}

// New reads what options name. Errors say which key of the configuration they are about. Failures of an ACME authority, which
// is asked once clients come, are told to telemetry.
func New(options *config.ServerTLS, failures *telemetry.Source) (*Server, error) {
	s := &Server{options: options, failures: failures}
	if options.ACME != nil {
		var err error
		if s.acme, err = newManager(options.ACME); err != nil {
			return nil, err
		}
		s.challenge = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acme.ALPNProto}, GetCertificate: s.acme.GetCertificate}
	}
	next, err := s.Load()
	if err != nil {
		return nil, err
	}
	s.Install(next)
	return s, nil
}

// Load reads the files again. What it returns is in force once installed.
func (s *Server) Load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if s.options.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	for _, pair := range s.options.Pairs() {
		certificate, err := tls.LoadX509KeyPair(string(pair.Certificate), string(pair.Key))
		if err != nil {
			return nil, config.Errorf(pair.Pos, "tls: certificate: %w", err)
		}
		c.Certificates = append(c.Certificates, certificate)
	}
	if s.acme != nil {
		c.GetCertificate = s.fromAuthority
	}
	if s.options.Clients != nil {
		if err := checkClients(c, s.options.Clients); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Install has handshakes from now on use what Load returned. Connections that are open stay.
func (s *Server) Install(c *tls.Config) { s.current.Store(c) }

// Config is for tls.Server: with it each handshake uses what is installed then. Tickets of sessions are its own, so that
// they outlive a reload.
func (s *Server) Config() *tls.Config {
	c := s.current.Load().Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s.challenge != nil && isChallenge(hello) {
			return s.challenge, nil
		}
		return s.current.Load(), nil
	}
	return c
}
