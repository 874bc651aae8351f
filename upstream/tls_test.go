package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
)

// authority issues certificates into a folder.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

// issue writes name.pem and name-key.pem.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "EC PRIVATE KEY", secret)
	return cert, key
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

// server returns credentials of a server called name, which asks for client certificates where mutual says so.
func (a *authority) server(name string, mutual bool) credentials.TransportCredentials {
	a.t.Helper()
	a.issue(name, &x509.Certificate{DNSNames: []string{name}})
	pair, err := tls.LoadX509KeyPair(a.path(name+".pem"), a.path(name+"-key.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.pool}
	if mutual {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(c)
}

func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	plain := startBackend(t, a.server("shop.test", false))
	mutual := startBackend(t, a.server("shop.test", true))
	ca := config.Path(a.path("ca.pem"))
	for _, c := range []struct {
		name    string
		backend *backend
		tls     config.ClientTLS
		code    codes.Code
	}{
		{"a server of the authority by its name", plain, config.ClientTLS{CA: ca, ServerName: "shop.test"}, codes.OK},
		{"a server with another name", plain, config.ClientTLS{CA: ca, ServerName: "other.test"}, codes.Unavailable},
		{"a server whose address is not in its certificate", plain, config.ClientTLS{CA: ca}, codes.Unavailable},
		{"a server of another authority", plain, config.ClientTLS{CA: config.Path(other.path("ca.pem")), ServerName: "shop.test"}, codes.Unavailable},
		{"a server of no authority the system knows", plain, config.ClientTLS{ServerName: "shop.test"}, codes.Unavailable},
		{"a server that asks for a certificate", mutual, config.ClientTLS{
			CA: ca, ServerName: "shop.test", Certificate: config.Path(a.path("client.pem")), Key: config.Path(a.path("client-key.pem")),
		}, codes.OK},
		{"a server that asks in vain", mutual, config.ClientTLS{CA: ca, ServerName: "shop.test"}, codes.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := upstreamOf(c.backend.address)
			cfg.TLS = &c.tls
			p := openSet(t, nil, cfg).Pool("shop")
			if _, err := call(testContext(t), p, "x"); status.Code(err) != c.code {
				t.Errorf("call: %v, want %v", err, c.code)
			}
			_, err := roundTrip(t, p, "x")
			if (err == nil) != (c.code == codes.OK) {
				t.Errorf("round trip: %v, want %v", err, c.code)
			}
		})
	}
}

func TestARenewedCertificateMakesANewPool(t *testing.T) {
	a := newAuthority(t)
	cfg := upstreamOf("127.0.0.1:1")
	cfg.TLS = &config.ClientTLS{CA: config.Path(a.path("ca.pem"))}
	old := openSet(t, nil, cfg)
	if openSet(t, old, cfg).Pool("shop") != old.Pool("shop") {
		t.Error("the same files made a new pool")
	}
	renewed := newAuthority(t)
	raw, err := os.ReadFile(renewed.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.path("ca.pem"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if openSet(t, old, cfg).Pool("shop") == old.Pool("shop") {
		t.Error("the pool kept the old authority")
	}
}
