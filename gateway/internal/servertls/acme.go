package servertls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/crossgate/crossgate/config"
)

// newManager gets certificates from an ACME authority (RFC 8555), and shows it that the names are ours by the challenge
// tls-alpn-01 (RFC 8737), which needs nothing but the listener itself.
func newManager(options *config.ACME) (*autocert.Manager, error) {
	client := &acme.Client{DirectoryURL: options.DirectoryURL, UserAgent: "crossgate"}
	if options.CA != "" {
		authorities, err := readAuthorities(string(options.CA))
		if err != nil {
			return nil, config.Errorf(options.Pos, "tls: acme: ca: %w", err)
		}
		pool := x509.NewCertPool()
		for _, a := range authorities {
			pool.AddCert(a)
		}
		client.HTTPClient = &http.Client{
			Timeout:   time.Minute,
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		}
	}
	return &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(options.Cache),
		HostPolicy: autocert.HostWhitelist(options.Domains...),
		Client:     client,
		Email:      options.Email,
	}, nil
}

// fromAuthority is the certificate for names that the authority is asked about. For others, the files' are chosen from.
func (s *Server) fromAuthority(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Contains(s.options.ACME.Domains, hello.ServerName) {
		return s.acme.GetCertificate(hello)
	}
	if len(s.current.Load().Certificates) == 0 {
		return nil, fmt.Errorf("tls: no certificate for %q", hello.ServerName)
	}
	return nil, nil // crypto/tls chooses among the files'
}
