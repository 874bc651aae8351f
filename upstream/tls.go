package upstream

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/crossgate/crossgate/config"
)

// clientTLS is TLS towards backends, with a digest of the files it was made of, so that a renewed certificate is
// noticed.
type clientTLS struct {
	config *tls.Config
	digest [sha256.Size]byte
}

// same reports whether both were made of the same files, or neither is.
func (c *clientTLS) same(o *clientTLS) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.digest == o.digest
}

// loadTLS reads the files of a section. name is who the backends are where the section does not say it, empty for the
// hosts of their addresses.
func loadTLS(cfg *config.ClientTLS, name string) (*clientTLS, error) {
	if cfg == nil {
		return nil, nil
	}
	c := &clientTLS{config: &tls.Config{ServerName: cmp.Or(cfg.ServerName, name), MinVersion: tls.VersionTLS12}}
	var files bytes.Buffer
	read := func(path config.Path) ([]byte, error) {
		b, err := os.ReadFile(string(path))
		files.Write(b)
		files.WriteByte(0)
		return b, err
	}
	if cfg.CA != "" {
		pem, err := read(cfg.CA)
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "tls.ca: %w", err)
		}
		c.config.RootCAs = x509.NewCertPool()
		if !c.config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, config.Errorf(cfg.Pos, "tls.ca: %s has no PEM certificate", cfg.CA)
		}
	}
	if cfg.Certificate != "" {
		certificate, err := read(cfg.Certificate)
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "tls.certificate: %w", err)
		}
		key, err := read(cfg.Key)
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "tls.key: %w", err)
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "%w", fmt.Errorf("tls.certificate and tls.key: %w", err))
		}
		c.config.Certificates = []tls.Certificate{pair}
	}
	c.digest = sha256.Sum256(files.Bytes())
	return c, nil
}
