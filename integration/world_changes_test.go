package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestNoRequestFailsWhileDependenciesGoAndCertificatesChange has callers of several policies and protocols go on throughout.
func TestNoRequestFailsWhileDependenciesGoAndCertificatesChange(t *testing.T) {
	const counted = `rate_limits: [{per: ip, rate: 1000000/s, store: redis, on_failure: local}]`
	w := startPolicyWorld(t, "", []policy{{keys: "auth: {require: [jwks]}"}, {keys: "auth: {require: [redis]}\n    " + counted}, {keys: counted}, {keys: "auth: {require: [mesh]}"}})
	asking := func(protocol policyProtocol, policy int, r policyRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			one := r
			if one.header = r.header.Clone(); one.header == nil {
				one.header = map[string][]string{}
			}
			one.header.Set("X-Policy", fmt.Sprint("p", policy))
			if v := protocol.ask(ctx, t, w.Gateway, one); !v.is(admitted) {
				return errors.New(v.String())
			}
			return nil
		}
	}
	bearer := policyRequest{header: w.bearer(t, nil)}
	key := withHeaders("X-API-Key", redisKey)(t, w)
	before := policyRequest{tls: w.client(t, w.authority)}
	kinds := map[string]func(context.Context) error{}
	for _, p := range policyProtocols {
		kinds["a token by "+p.name] = asking(p, 0, bearer)
		kinds["a key of Redis by "+p.name] = asking(p, 1, key)
		kinds["a limit by "+p.name] = asking(p, 2, policyRequest{})
		kinds["a certificate by "+p.name] = asking(p, 3, before)
	}
	f := startTraffic(t, 1, kinds)
	f.more(t, 5)
	t.Run("the key set's server is stopped", func(t *testing.T) {
		f.during(t, 5, func() {
			w.down["key set"]()
			time.Sleep(2 * time.Second) // the set is used for one, and cannot be fetched again
		})
	})
	t.Run("Redis is killed", func(t *testing.T) { f.during(t, 10, w.down["Redis"]) })
	t.Run("the server's certificate is replaced", func(t *testing.T) {
		f.during(t, 5, func() {
			old := serialOf(t, w)
			w.authority.Issue(t, filepath.Dir(w.certificate), "localhost", "127.0.0.1")
			within(t, "the new one is shown", func() bool { return serialOf(t, w) != old })
		})
	})
	t.Run("the clients' authority is replaced", func(t *testing.T) {
		next := rig.NewAuthority(t)
		one, two := readFile(t, w.authority.File), readFile(t, next.File)
		after := policyRequest{tls: &tls.Config{RootCAs: before.tls.RootCAs, ServerName: "localhost", Certificates: []tls.Certificate{next.Client(t, "orders")}}}
		letIn := func(r policyRequest) bool { return greet(w.Addresses()[1].String(), r.tls) == nil }
		f.during(t, 5, func() {
			replaceFile(t, w.authority.File, one+two)
			within(t, "clients of both are let in", func() bool { return letIn(after) })
		})
		f.wantFailed(t, nil)
		clear(kinds)
		for _, p := range policyProtocols {
			kinds["a new certificate by "+p.name] = asking(p, 3, after)
		}
		f := startTraffic(t, 1, kinds)
		f.during(t, 5, func() {
			replaceFile(t, w.authority.File, two)
			within(t, "those of the old one are not", func() bool { return !letIn(before) })
		})
		f.wantFailed(t, nil)
	})
}

// serialOf is the serial number of the certificate that the gateway shows.
func serialOf(t *testing.T, w *policyWorld) string {
	t.Helper()
	conn, err := dialTLS(w.Addresses()[1].String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replaceFile writes a new file and puts it in the place of the old one.
func replaceFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".next", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
}

// TestNoRequestFailsWhileBackendsAreReplaced has all endpoints of a service exchanged for others, and ends the old ones once
// they get no more requests.
func TestNoRequestFailsWhileBackendsAreReplaced(t *testing.T) {
	names := startNames(t)
	files := t.TempDir()
	fileOf := func(kind string) string { return filepath.Join(files, kind+".yaml") }
	for name, c := range map[string]struct {
		discovery func(kind string) string
		move      func(kind, address string)
	}{
		"in DNS": {
			func(kind string) string {
				return fmt.Sprintf("discovery: {dns: {name: _%s._tcp.shop.test, type: srv, server: %q, interval: 100ms}}", kind, names.address)
			},
			func(kind, address string) {
				_, port, _ := net.SplitHostPort(address)
				names.set("_"+kind+"._tcp.shop.test. 1 SRV 1 1 "+port+" backend.test.", "backend.test. 1 A 127.0.0.1")
			},
		},
		"in a file": {
			func(kind string) string { return fmt.Sprintf("discovery: {file: {path: %q}}", fileOf(kind)) },
			func(kind, address string) { replaceFile(t, fileOf(kind), fmt.Sprintf("[{address: %q}]", address)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, next := startBackends(t), startBackends(t)
			move := func(b ownBackends) {
				c.move("grpc", b.grpc)
				c.move("http", b.http)
			}
			move(old)
			g := faultGateway(t, c.discovery("grpc"), c.discovery("http"), "")
			f := startTraffic(t, 2, callers(t, g))
			f.more(t, 20)
			move(next)
			rig.Eventually(t, rig.Patience, func() error {
				before := old.calls()
				f.more(t, 10)
				if n := old.calls() - before; n > 0 {
					return fmt.Errorf("the old ones have had %d requests since", n)
				}
				return nil
			})
			old.stop()
			f.more(t, 20)
			f.wantFailed(t, nil)
		})
	}
}

// names is a name server of records that may change.
type names struct {
	address string
	mu      sync.Mutex
	records map[string][]dns.RR
}

func startNames(t *testing.T) *names {
	t.Helper()
	packets, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &names{address: packets.LocalAddr().String(), records: map[string][]dns.RR{}}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: packets, Handler: s, NotifyStartedFunc: func() { close(started) }}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return s
}

// set replaces the records of the names in it.
func (s *names) set(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		record, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		s.records[record.Header().Name] = []dns.RR{record}
	}
}

func (s *names) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := new(dns.Msg).SetReply(r)
	for _, record := range s.records[strings.ToLower(r.Question[0].Name)] {
		if record.Header().Rrtype == r.Question[0].Qtype {
			answer.Answer = append(answer.Answer, record)
		}
	}
	_ = w.WriteMsg(answer)
}
