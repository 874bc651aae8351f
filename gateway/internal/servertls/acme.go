package servertls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
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

// isChallenge reports whether an authority connects, and not a client (RFC 8737 section 3). It shows no certificate, even
// where clients must, and gets nothing but the handshake.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}

// fromAuthority is the certificate for names that the authority is asked about. For others, the files' are chosen from.
func (s *Server) fromAuthority(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	// Names have no case (RFC 6066 section 3).
	if slices.Contains(s.options.ACME.Domains, strings.ToLower(hello.ServerName)) {
		certificate, err := s.acme.GetCertificate(hello)
		if err == nil {
			err = overdue(certificate.Leaf)
		}
		if err != nil {
			s.failures.Failed(err)
		}
		if certificate != nil {
			return certificate, nil
		}
		return nil, err
	}
	if len(s.current.Load().Certificates) == 0 {
		return nil, fmt.Errorf("tls: no certificate for %q", hello.ServerName)
	}
	return nil, nil // crypto/tls chooses among the files'
}

// overdue says that a certificate has been due for longer than a renewal takes, which begins when a third of its life, or a
// month, is left. What keeps it from being renewed is not told.
func overdue(leaf *x509.Certificate) error {
	if leaf == nil || time.Until(leaf.NotAfter) > min(leaf.NotAfter.Sub(leaf.NotBefore)/6, 15*24*time.Hour) {
		return nil
	}
	return fmt.Errorf("the certificate of %q, which ends at %s, is not renewed", leaf.DNSNames, leaf.NotAfter.Format(time.RFC3339))
}
