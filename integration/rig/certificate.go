package rig

import (
	"crypto/x509"
	"os"
	"testing"
)

// Certificate makes a certificate for the loopback address and localhost, and returns its PEM files. The certificate's own
// file does for a client's authorities.
func Certificate(t testing.TB) (certificate, key string) {
	t.Helper()
	return NewAuthority(t).Issue(t, t.TempDir(), "localhost", "127.0.0.1")
}

// Pool trusts the certificates of a PEM file.
func Pool(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatalf("%s has no certificate", file)
	}
	return pool
}
