package rig

import (
	"context"
	"os"
	"path/filepath"
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
}

// StartGateway starts a gateway on the configuration in text. Addresses in it should have port 0; the access log is
// dropped.
func StartGateway(t testing.TB, text string) *Gateway {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crossgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return StartGatewayAt(t, file)
}

// StartGatewayAt starts a gateway on a configuration file.
func StartGatewayAt(t testing.TB, file string) *Gateway {
	t.Helper()
	g, err := gateway.Start(context.Background(), gateway.Options{ConfigPath: file, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Shutdown(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	started := &Gateway{Gateway: g, ConfigFile: file}
	if a := g.Addresses(); len(a) > 0 {
		started.URL = "http://" + a[0].String()
	}
	if a := g.AdminAddress(); a != nil {
		started.Admin = "http://" + a.String()
	}
	return started
}

// testLog hands process logs to the test's own log.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", line)
	return len(line), nil
}
