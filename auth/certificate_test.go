package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

// certificateOf returns a certificate in DER.
func certificateOf(t *testing.T, template *x509.Certificate) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(255)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(der)
}

func TestACertificateNamesItsUser(t *testing.T) {
	full := certificateOf(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "common", Organization: []string{"org"}}, DNSNames: []string{"a.example", "b.example"},
		EmailAddresses: []string{"a@example.com"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/orders"}},
	})
	bare := certificateOf(t, &x509.Certificate{})
	names := &x509.Certificate{
		Subject: pkix.Name{CommonName: "common"}, DNSNames: []string{"a.example"}, EmailAddresses: []string{"a@example.com"},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com"}}, NotAfter: time.Now().Add(-time.Minute),
	}
	ended := certificateOf(t, names) // while its connection was open
	for kind, want := range map[string]string{"uri": "spiffe://example.com/orders", "dns": "a.example", "email": "a@example.com", "common_name": "common"} {
		providers, err := Compile([]config.AuthProvider{{Name: "mesh", ClientCertificate: &config.ClientCertificate{
			User: kind, Roles: []string{"guest"}, Users: []config.BasicUser{{Name: "a.example", Roles: []string{"writer"}}},
		}}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := providers.Policy(&config.RouteAuth{Require: []string{"mesh"}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is remembered
			id, _, err := p.Authenticate(t.Context(), request{certificate: full})
			if err != nil || id.User != want || id.Provider != "mesh" || id.Expires.IsZero() {
				t.Fatalf("%s: %+v, %v", kind, id, err)
			}
			if role := map[bool]string{true: "writer", false: "guest"}[kind == "dns"]; len(id.Roles) != 1 || id.Roles[0] != role {
				t.Errorf("%s: roles %q", kind, id.Roles)
			}
			if serial, _ := id.Claim("serial"); serial != "ff" {
				t.Errorf("serial %v", serial)
			}
		}
		for name, c := range map[string]request{"none": {}, "no names": {certificate: bare}, "expired": {certificate: ended}, "no certificate": {certificate: "nonsense"}} {
			if id, _, err := p.Authenticate(t.Context(), c); err == nil {
				t.Errorf("%s, %s: %+v", kind, name, id)
			}
		}
		// Certificates are no secrets: nothing in a request, and no token sent later, stands in for a connection's.
		if id, _, err := p.Authenticate(t.Context(), bearer(full)); err == nil {
			t.Errorf("as a token: %+v", id)
		}
		if id, err := p.AuthenticateToken(t.Context(), full); err == nil {
			t.Errorf("as a token sent later: %+v", id)
		}
		providers.Close()
	}
}
