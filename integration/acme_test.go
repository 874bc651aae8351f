package integration

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
)

// acmeSite is a gateway with certificates from an ACME authority, and how its clients connect: with certificates of their
// own, which the authority that looks at the site has none of.
type acmeSite struct {
	*rig.Gateway
	address string
	client  tls.Certificate
}

// startSite starts a gateway on address that keeps what the authority gives it in cache.
func startSite(t *testing.T, pebble *rig.Pebble, address, cache, more string) *acmeSite {
	t.Helper()
	clients := rig.NewAuthority(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - address: %q
    tls:
      acme: {domains: [shop.example.test, early.example.test], cache: %q, directory_url: %q, ca: %q, email: ops@example.test}
      clients: {ca: %q}
      %s
admin: {address: "127.0.0.1:0"}
routes: [{name: hello, match: {path: /}, respond: {body: hello}}]
`, address, cache, pebble.Directory, pebble.CA, clients.File, more))
	return &acmeSite{g, g.Addresses()[0].String(), clients.Client(t, "ann@example.test")}
}

// connect makes a handshake, which waits for a certificate where the authority is asked for one, and a request.
func (s *acmeSite) connect(t *testing.T, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Minute}, "tcp", s.address, &tls.Config{
		ServerName: name, RootCAs: roots, Certificates: []tls.Certificate{s.client}, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if answer := exchangeText(t, c, hello); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("%s: %q", name, answer)
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestCertificatesComeFromAnACMEAuthority(t *testing.T) {
	t.Parallel()
	pebble, cache := rig.NewPebble(t), t.TempDir()
	files := rig.NewAuthority(t)
	certificate, key := files.Issue(t, t.TempDir(), "files.example.test")
	s := startSite(t, pebble, "127.0.0.1:0", cache, fmt.Sprintf("certificates: [{certificate: %q, key: %q}]", certificate, key))

	// The authority is not there yet.
	if _, err := s.connect(t, "early.example.test", nil); err == nil {
		t.Error("a certificate from nowhere")
	}
	if log := s.Log(); !strings.Contains(log, `"kind":"acme"`) {
		t.Errorf("the log does not say so: %s", log)
	}
	if _, err := s.connect(t, "files.example.test", rig.Pool(t, files.File)); err != nil {
		t.Errorf("a certificate from a file, meanwhile: %v", err)
	}

	authority := pebble.Start(t, s.address, 90*24*time.Hour)
	roots := pebble.Roots(t)
	first, err := s.connect(t, "shop.example.test", roots)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.connect(t, "SHOP.example.test", roots)
	if err != nil || again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("the next client gets another certificate: %v", err)
	}
	if other, err := s.connect(t, "other.example.test", roots); err == nil {
		t.Errorf("a name that is not on the list has a certificate for %v", other.DNSNames)
	}

	// What was given lasts beyond a restart, and without the authority.
	authority.Kill()
	s = startSite(t, pebble, "127.0.0.1:0", cache, "")
	kept, err := s.connect(t, "shop.example.test", roots)
	if err != nil || kept.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Errorf("after a restart: %v", err)
	}
	if other, err := s.connect(t, "other.example.test", roots); err == nil {
		t.Errorf("after a restart: a name that is not on the list has a certificate for %v", other.DNSNames)
	}
}

func TestACertificateOfAnACMEAuthorityIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	pebble := rig.NewPebble(t)
	s := startSite(t, pebble, "127.0.0.1:0", t.TempDir(), "")
	const life = 15 * time.Second
	pebble.Start(t, s.address, life)
	roots := pebble.Roots(t)
	first, err := s.connect(t, "shop.example.test", roots)
	if err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, rig.Patience, func() error {
		next, err := s.connect(t, "shop.example.test", roots)
		if err != nil {
			return err
		}
		if next.SerialNumber.Cmp(first.SerialNumber) == 0 {
			return fmt.Errorf("still the one that ends at %v", first.NotAfter)
		}
		return nil
	})
}
