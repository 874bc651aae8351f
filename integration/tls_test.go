package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/rig"
)

// tlsGateway starts a gateway with a listener of TLS, whose tls section is given.
func tlsGateway(t *testing.T, section string) (*rig.Gateway, string) {
	t.Helper()
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls: %s
admin: {address: "127.0.0.1:0"}
routes:
  - {name: hello, match: {path: /}, respond: {body: hello}}
  - {name: socket, match: {path: /ws}, websocket: {service: nobody, channels: [{pattern: "*", subscribe: anyone}]}}
`, section))
	return g, g.Addresses()[0].String()
}

// dialTLS connects and returns the connection with its handshake done.
func dialTLS(address string, c *tls.Config) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: rig.Patience}, "tcp", address, c)
}

// exchangeText makes a request of HTTP/1.1 on a connection.
func exchangeText(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := io.ReadAtLeast(c, b, len("HTTP/1.1 200"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

const hello = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestEachNameGetsItsCertificateAndAChangedOneIsServedWithoutARestart(t *testing.T) {
	authority := rig.NewAuthority(t)
	shop, chat := t.TempDir(), t.TempDir()
	shopCertificate, shopKey := authority.Issue(t, shop, "shop.example.com", "*.shop.example.com")
	chatCertificate, chatKey := authority.Issue(t, chat, "chat.example.com")
	g, address := tlsGateway(t, fmt.Sprintf(`{certificate: %q, key: %q, certificates: [{certificate: %q, key: %q}]}`, shopCertificate, shopKey, chatCertificate, chatKey))
	roots := rig.Pool(t, authority.File)
	served := func(name string) (*tls.Conn, string) {
		t.Helper()
		c, err := dialTLS(address, &tls.Config{RootCAs: roots, ServerName: name, InsecureSkipVerify: name == ""})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for name, want := range map[string]string{
		"shop.example.com": "shop.example.com", "eu.shop.example.com": "shop.example.com", "chat.example.com": "chat.example.com", "": "shop.example.com",
	} {
		if _, got := served(name); got != want {
			t.Errorf("%q gets the certificate of %s", name, got)
		}
	}

	open, _ := served("chat.example.com")
	authority.Issue(t, chat, "new.example.com", "chat.example.com")
	rig.Eventually(t, rig.Patience, func() error {
		if _, got := served("chat.example.com"); got != "new.example.com" {
			return fmt.Errorf("still the certificate of %s", got)
		}
		return nil
	})
	if answer := exchangeText(t, open, hello); !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("on a connection from before: %q", answer)
	}

	// A file that is broken is refused, and the certificate stays.
	if err := os.WriteFile(chatCertificate, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, rig.Patience, func() error {
		if !strings.Contains(g.Log(), "configuration refused") {
			return fmt.Errorf("nothing in the log")
		}
		return nil
	})
	if _, got := served("chat.example.com"); got != "new.example.com" {
		t.Errorf("after a broken file: the certificate of %s", got)
	}
}

func TestListenersOfTLSSpeakBothHTTPsAndWebSocket(t *testing.T) {
	certificate, key := rig.Certificate(t)
	_, address := tlsGateway(t, fmt.Sprintf(`{certificate: %q, key: %q, min_version: "1.3"}`, certificate, key))
	roots := rig.Pool(t, certificate)
	for _, protocol := range []string{"h2", "http/1.1"} {
		var protocols http.Protocols
		protocols.SetHTTP1(protocol != "h2")
		protocols.SetHTTP2(protocol == "h2")
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: &protocols}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		answer, err := client.Get("https://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || (answer.ProtoMajor == 2) != (protocol == "h2") {
			t.Errorf("%s: %s, %s", protocol, answer.Status, answer.Proto)
		}
		if protocol == "h2" {
			continue
		}
		ws, _, err := websocket.Dial(soon(t), "wss://"+address+"/ws", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.Write(soon(t), websocket.MessageText, []byte(`{"id":1,"type":"subscribe","channel":"a"}`)); err != nil {
			t.Fatal(err)
		}
		if _, frame, err := ws.Read(soon(t)); err != nil || !strings.Contains(string(frame), `"ok"`) {
			t.Errorf("%s, %v", frame, err)
		}
		ws.Close(websocket.StatusNormalClosure, "")
	}
	if c, err := dialTLS(address, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("TLS 1.2 is spoken")
	}
	if c, err := dialTLS(address, &tls.Config{RootCAs: roots, NextProtos: []string{"smtp"}}); err == nil {
		c.Close()
		t.Error("a client that speaks nothing of ours is let in")
	}
	c, err := dialTLS(address, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answer := exchangeText(t, c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("a length and chunks: %q", answer)
	}
}

func TestClientsShowACertificateThatIsNotRevoked(t *testing.T) {
	authority, another := rig.NewAuthority(t), rig.NewAuthority(t)
	certificate, key := authority.Issue(t, t.TempDir(), "localhost", "127.0.0.1")
	crl := filepath.Join(t.TempDir(), "crl.pem")
	good, revoked := authority.Client(t, "good"), authority.Client(t, "revoked")
	authority.Revoke(t, crl, revoked)
	for _, mode := range []string{"require", "optional"} {
		t.Run(mode, func(t *testing.T) {
			_, address := tlsGateway(t, fmt.Sprintf(`{certificate: %q, key: %q, clients: {ca: %q, mode: %s, crl: [%q]}}`, certificate, key, authority.File, mode, crl))
			for name, c := range map[string]struct {
				certificates []tls.Certificate
				in           bool
			}{
				"good":               {[]tls.Certificate{good}, true},
				"revoked":            {[]tls.Certificate{revoked}, false},
				"of another":         {[]tls.Certificate{another.Client(t, "good")}, false},
				"without":            {nil, mode == "optional"},
				"signed by a client": {[]tls.Certificate{rig.NewAuthority(t).Client(t, "good")}, false},
			} {
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					options := &tls.Config{RootCAs: rig.Pool(t, authority.File), ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
					if c.certificates != nil {
						// Also one that the server's list of authorities does not ask for.
						options.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.certificates[0], nil }
					}
					for range 2 { // the second handshake resumes the session of the first
						if err := greet(address, options); (err == nil) != c.in {
							t.Errorf("%s, version %x: %v", name, version, err)
						}
					}
				}
			}
		})
	}
}

// greet makes a request on a connection of its own: with TLS 1.3 a client learns only then that it was refused.
func greet(address string, options *tls.Config) error {
	c, err := dialTLS(address, options)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, hello); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, len("HTTP/1.1 200")))
	return err
}

func TestACertificateIsRevokedWhileItsSessionCouldBeResumed(t *testing.T) {
	authority := rig.NewAuthority(t)
	certificate, key := authority.Issue(t, t.TempDir(), "localhost")
	crl := filepath.Join(t.TempDir(), "crl.pem")
	authority.Revoke(t, crl)
	_, address := tlsGateway(t, fmt.Sprintf(`{certificate: %q, key: %q, clients: {ca: %q, crl: [%q]}}`, certificate, key, authority.File, crl))
	client := authority.Client(t, "client")
	options := &tls.Config{RootCAs: rig.Pool(t, authority.File), ServerName: "localhost", Certificates: []tls.Certificate{client}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if err := greet(address, options); err != nil {
		t.Fatal(err)
	}
	authority.Revoke(t, crl, client)
	rig.Eventually(t, rig.Patience, func() error {
		if greet(address, options) == nil {
			return fmt.Errorf("still let in")
		}
		return nil
	})
}

func TestABrokenTLSSectionIsRefusedAtTheStart(t *testing.T) {
	authority := rig.NewAuthority(t)
	certificate, key := authority.Issue(t, t.TempDir(), "localhost")
	_, otherKey := authority.Issue(t, t.TempDir(), "localhost")
	other := filepath.Join(t.TempDir(), "crl.pem")
	rig.NewAuthority(t).Revoke(t, other)
	for section, want := range map[string]string{
		`{}`:                      "certificate and key, certificates, or acme is needed",
		`{certificate: cert.pem}`: "certificate and key are needed together",
		fmt.Sprintf(`{certificate: %q, key: %q}`, certificate, otherKey):                                                 "private key does not match public key",
		fmt.Sprintf(`{certificate: %q, key: %q, clients: {ca: %q}}`, certificate, key, key):                              "expected certificates in PEM, found none",
		fmt.Sprintf(`{certificate: %q, key: %q, clients: {ca: %q, crl: [%q]}}`, certificate, key, authority.File, other): "none of the authorities has signed it",
		`{acme: {domains: ["*.example.com"], cache: acme}}`:                                                              "for no wildcards",
	} {
		file := filepath.Join(t.TempDir(), "crossgate.yaml")
		text := "listeners: [{address: \"127.0.0.1:0\", tls: " + section + "}]\nadmin: {address: \"off\"}\nroutes: [{name: a, match: {path: /}, respond: {body: a}}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := rig.Output(t, rig.Build(t), "serve", "-c", file)
		if code == 0 || !strings.Contains(out, want) || !strings.Contains(out, "crossgate.yaml:1:") {
			t.Errorf("%s: exit %d: %s", section, code, out)
		}
	}
}

func TestTheUserIsTheOneOfTheClientsCertificate(t *testing.T) {
	authority := rig.NewAuthority(t)
	certificate, key := authority.Issue(t, t.TempDir(), "localhost")
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    tls: {certificate: %q, key: %q, clients: {ca: %q, mode: optional}}
  - {address: "127.0.0.1:0"}
admin: {address: "off"}
auth:
  - name: mesh
    client_certificate: {user: dns, users: [{name: orders, roles: [writer]}]}
  - name: keys
    api_keys: {keys: [{id: k, key: 0123456789abcdef0123456789abcdef, user: keyed, roles: [writer]}]}
routes:
  - {name: any, match: {path: /any}, auth: {require: [mesh, keys]}, respond: {body: in}}
  - {name: writers, match: {path: /writers}, auth: {require: [mesh], roles: [writer]}, respond: {body: in}}
`, certificate, key, authority.File))
	address, plain := g.Addresses()[0].String(), g.Addresses()[1].String()
	orders, guest := authority.Client(t, "orders"), authority.Client(t, "guest")
	for _, two := range []bool{false, true} {
		for _, c := range []struct {
			name   string
			client *tls.Certificate
			path   string
			header string
			status int
		}{
			{"a user with the role", &orders, "/writers", "", 200},
			{"a user without it", &guest, "/writers", "", 403},
			{"a user of no list", &guest, "/any", "", 200},
			{"nobody", nil, "/any", "", 401},
			{"nobody, with a key", nil, "/any", "0123456789abcdef0123456789abcdef", 200},
			{"nobody, with a certificate for a key", nil, "/any", string(orders.Certificate[0]), 401},
		} {
			var protocols http.Protocols
			protocols.SetHTTP1(!two)
			protocols.SetHTTP2(two)
			options := &tls.Config{RootCAs: rig.Pool(t, authority.File), ServerName: "localhost"}
			if c.client != nil {
				options.Certificates = []tls.Certificate{*c.client}
			}
			transport := &http.Transport{TLSClientConfig: options, Protocols: &protocols}
			request, err := http.NewRequestWithContext(soon(t), "GET", "https://"+address+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				request.Header.Set("X-API-Key", strings.Map(func(r rune) rune {
					if r < ' ' || r == 127 {
						return '?'
					}
					return r
				}, c.header))
			}
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			transport.CloseIdleConnections()
			if answer.StatusCode != c.status {
				t.Errorf("%s, HTTP/2 %t: %s", c.name, two, answer.Status)
			}
		}
	}
	if answer, _ := ask(t, "GET", "http://"+plain+"/any", ""); answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without TLS: %s", answer.Status)
	}
}
