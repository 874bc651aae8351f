package rig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Pebble is Let's Encrypt's test authority, which speaks ACME (RFC 8555).
type Pebble struct {
	// Directory is the URL of its directory, and CA the file with the authority of that URL's certificate.
	Directory, CA string

	address, management string
	certificate, key    string
}

// NewPebble makes what Pebble needs, which is not started yet.
func NewPebble(t testing.TB) *Pebble {
	t.Helper()
	authority := NewAuthority(t)
	p := &Pebble{CA: authority.File, address: FreeAddress(t), management: FreeAddress(t)}
	p.Directory = "https://" + p.address + "/dir"
	p.certificate, p.key = authority.Issue(t, t.TempDir(), "127.0.0.1")
	return p
}

// Start runs Pebble, which takes every name for 127.0.0.1, comes to look at the port of the address site, and gives
// certificates that last for life.
func (p *Pebble) Start(t testing.TB, site string, life time.Duration) *Process {
	t.Helper()
	_, port, err := net.SplitHostPort(site)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	raw, err := json.Marshal(object{"pebble": object{
		"listenAddress": p.address, "managementListenAddress": p.management, "certificate": p.certificate, "privateKey": p.key,
		"tlsPort": n, "httpPort": n, "retryAfter": object{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
		"profiles": object{"default": object{"description": "what is given", "validityPeriod": int(life.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, "pebble.json"), filepath.Join(dir, "pebble")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := Output(t, "go", "build", "-modfile=../tools/conformance.mod", "-o", program, "github.com/letsencrypt/pebble/v2/cmd/pebble"); code != 0 {
		t.Fatal(out)
	}
	process := Run(t, "env", "PEBBLE_VA_NOSLEEP=1", program, "-config", file, "-dnsserver", loopbackNames(t))
	Eventually(t, Patience, func() error {
		_, err := p.get(p.Directory)
		return err
	})
	return process
}

// Roots are what its certificates are signed by.
func (p *Pebble) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	raw, err := p.get("https://" + p.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatalf("no certificate in %q", raw)
	}
	return pool
}

func (p *Pebble) get(url string) ([]byte, error) {
	pem, err := os.ReadFile(p.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Timeout: Patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// loopbackNames starts a name server, over TCP, for which every name is 127.0.0.1.
func loopbackNames(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(question)
		for _, q := range question.Question {
			if q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
				})
			}
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
