package rig

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// GatewayProcess is a gateway in a process of its own, whose memory and time are nobody else's.
type GatewayProcess struct {
	*Process
	// URL is the base URL of its listener, Admin of its admin listener.
	URL, Admin string
	// ConfigFile is where its configuration is.
	ConfigFile string
}

// StartGatewayProcess runs the binary on a configuration, in which listeners and admin are left out, until it is ready.
func StartGatewayProcess(t testing.TB, text string) *GatewayProcess {
	t.Helper()
	listen, admin := FreeAddress(t), FreeAddress(t)
	text = fmt.Sprintf("listeners: [{address: %q}]\nadmin: {address: %q}\nlog: {access: \"off\", level: error}\n", listen, admin) + text
	file := filepath.Join(t.TempDir(), "crossgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &GatewayProcess{Process: Run(t, Build(t), "serve", "-c", file), URL: "http://" + listen, Admin: "http://" + admin, ConfigFile: file}
	WaitReady(t, admin)
	return g
}

// Metric returns the value of a metric without labels.
func (g *GatewayProcess) Metric(t testing.TB, name string) float64 {
	t.Helper()
	answer, err := http.Get(g.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
