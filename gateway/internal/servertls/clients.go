package servertls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/crossgate/crossgate/config"
)

// checkClients has c ask clients for certificates.
func checkClients(c *tls.Config, options *config.ClientCertificates) error {
	authorities, err := readAuthorities(string(options.CA))
	if err != nil {
		return config.Errorf(options.Pos, "tls: clients: ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	for _, a := range authorities {
		c.ClientCAs.AddCert(a)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if options.Mode == "optional" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	gone := revoked{}
	for _, path := range options.CRL {
		if err := gone.read(string(path), authorities); err != nil {
			return config.Errorf(options.Pos, "tls: clients: crl: %w", err)
		}
	}
	if len(options.CRL) > 0 {
		// Unlike VerifyPeerCertificate, it is called for sessions that are resumed too.
		c.VerifyConnection = gone.check
	}
	return nil
}

func readAuthorities(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, certificate)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: expected certificates in PEM, found none", path)
	}
	return list, nil
}

// revoked is the certificates of which revocation lists (RFC 5280 section 5) say that they are not good any more.
type revoked map[string]bool // by issuer and serial number

func key(issuer, serial []byte) string { return string(issuer) + "\x00" + string(serial) }

// read adds a list, which one of the authorities must have signed. A list stays in force when its next update is due: what
// it names is no better for being named a while ago.
func (r revoked) read(path string, authorities []*x509.Certificate) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(raw); block != nil {
		raw = block.Bytes
	}
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	signed := false
	for _, a := range authorities {
		if bytes.Equal(a.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(a) == nil {
			signed = true
			break
		}
	}
	if !signed {
		return fmt.Errorf("%s: none of the authorities has signed it", path)
	}
	for _, entry := range list.RevokedCertificateEntries {
		r[key(list.RawIssuer, entry.SerialNumber.Bytes())] = true
	}
	return nil
}

var errRevoked = errors.New("tls: the client's certificate is revoked")

// check fails a connection when each chain to an authority has a certificate that is revoked.
func (r revoked) check(state tls.ConnectionState) error {
	for _, chain := range state.VerifiedChains {
		if r.good(chain) {
			return nil
		}
	}
	if len(state.VerifiedChains) > 0 {
		return errRevoked
	}
	return nil // no certificate was given
}

func (r revoked) good(chain []*x509.Certificate) bool {
	for _, c := range chain {
		if r[key(c.RawIssuer, c.SerialNumber.Bytes())] {
			return false
		}
	}
	return true
}
