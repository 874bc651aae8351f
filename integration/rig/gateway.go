package rig

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/crossgate/crossgate/gateway"
)

// Gateway is a gateway that runs inside the test's process.
type Gateway struct {
	*gateway.Gateway
	// URL is the base URL of the first listener, Admin of the admin listener.
	URL, Admin string
	// ConfigFile is where its configuration is.
	ConfigFile string
	log        *log
}

// StartGateway starts a gateway on the configuration in text. Addresses in it should have port 0.
func StartGateway(t testing.TB, text string) *Gateway {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crossgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &log{}
	g, err := gateway.Start(context.Background(), gateway.Options{ConfigPath: file, Log: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Shutdown(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway logged at last:\n%s", last(l.String(), 8<<10))
		}
	})
	started := &Gateway{Gateway: g, ConfigFile: file, log: l}
	if a := g.Addresses(); len(a) > 0 {
		started.URL = "http://" + a[0].String()
	}
	if a := g.AdminAddress(); a != nil {
		started.Admin = "http://" + a.String()
	}
	return started
}

// last returns the end of a text, at most n bytes.
func last(text string, n int) string { return text[max(0, len(text)-n):] }

// Rewrite replaces the configuration file, as an editor would.
func (g *Gateway) Rewrite(t testing.TB, text string) {
	t.Helper()
	next := g.ConfigFile + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, g.ConfigFile); err != nil {
		t.Fatal(err)
	}
}

// Log returns what the gateway has logged so far.
func (g *Gateway) Log() string { return g.log.String() }

// log keeps what is written to it.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
