package upstream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
)

func TestAPoolThatDidNotChangeKeepsItsConnections(t *testing.T) {
	a := startBackend(t, nil)
	cfg := upstreamOf(a.address)
	cfg.Connections = 1
	old := openSet(t, nil, cfg)
	if _, err := call(testContext(t), old.Pool("shop"), "x"); err != nil {
		t.Fatal(err)
	}
	cfg.Pos = config.Position{File: "crossgate.yaml", Line: 7}
	next := openSet(t, old, cfg)
	if next.Pool("shop") != old.Pool("shop") {
		t.Fatal("the pool was made anew")
	}
	old.Close()
	old.Close() // harmless
	if _, err := call(testContext(t), next.Pool("shop"), "x"); err != nil {
		t.Error(err)
	}
	if n := a.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAPoolThatChangedIsMadeAnewAndTheOldOneServesToItsEnd(t *testing.T) {
	a, b := startBackend(t, nil), startBackend(t, nil)
	old := openSet(t, nil, upstreamOf(a.address))
	next := openSet(t, old, upstreamOf(b.address))
	for p, want := range map[*Pool]string{old.Pool("shop"): a.address, next.Pool("shop"): b.address} {
		if got, err := call(testContext(t), p, "x"); err != nil || got != want {
			t.Errorf("answered by %q, %v, want %q", got, err, want)
		}
	}
	gone := old.Pool("shop")
	old.Close()
	if _, err := call(testContext(t), gone, "x"); err == nil {
		t.Error("a pool that nobody holds is still open")
	}
	if p := openSet(t, old, upstreamOf(a.address)).Pool("shop"); p == gone {
		t.Error("a closed pool was carried over")
	}
}

func TestClosingAPoolEndsItsCalls(t *testing.T) {
	a := startBackend(t, nil)
	s := openSet(t, nil, upstreamOf(a.address))
	done := make(chan error)
	go func() {
		done <- s.Pool("shop").Invoke(context.Background(), &Call{Method: "/t.T/Hang", Request: []byte("x")}, new(Reply))
	}()
	until(t, "the call to arrive", func() bool { return a.calls.Load() > 0 })
	s.Close()
	if err := <-done; status.Code(err) != codes.Canceled && status.Code(err) != codes.Unavailable {
		t.Errorf("error %v", err)
	}
}

func TestTheZeroSetHasNoPools(t *testing.T) {
	var s *Set
	if s.Pool("shop") != nil {
		t.Error("a nil set has a pool")
	}
	s.Close()
}

func TestOpenRefusesBadFiles(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	pos := config.Position{File: "crossgate.yaml", Line: 3, Column: 5}
	for _, c := range []struct {
		name   string
		tls    config.ClientTLS
		reason string
	}{
		{"a CA that is not there", config.ClientTLS{CA: "/nowhere.pem"}, "tls.ca: open /nowhere.pem"},
		{"a CA that is no PEM", config.ClientTLS{CA: config.Path(junk)}, "has no PEM certificate"},
		{"a certificate that is not there", config.ClientTLS{Certificate: "/nowhere.pem", Key: config.Path(junk)}, "tls.certificate: open"},
		{"a key that is not there", config.ClientTLS{Certificate: config.Path(junk), Key: "/nowhere.pem"}, "tls.key: open"},
		{"a pair that is none", config.ClientTLS{Certificate: config.Path(junk), Key: config.Path(junk)}, "tls.certificate and tls.key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.tls.Pos = pos
			cfg := upstreamOf("127.0.0.1:1")
			cfg.TLS = &c.tls
			_, err := Open([]config.Upstream{cfg}, Options{}, nil)
			var all config.Errors
			if !errors.As(err, &all) || len(all) != 1 || all[0].Pos != pos || !strings.Contains(all[0].Error(), c.reason) {
				t.Errorf("error %v, want one at %v with %q", err, pos, c.reason)
			}
		})
	}
}
