package rig

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Build returns the path of the crossgate binary, built once for all tests of a process; RemoveBuilt removes it.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// built is where the binary is, if it was built.
var built string

// RemoveBuilt is for TestMain, after all tests.
func RemoveBuilt() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "crossgate-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "crossgate")
	out, err := exec.Command("go", "build", "-o", path, "github.com/crossgate/crossgate/cmd/crossgate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// WaitReady waits until the gateway whose admin listener is at address says that it is ready.
func WaitReady(t testing.TB, address string) {
	t.Helper()
	Eventually(t, Patience, func() error {
		answer, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", answer.Status)
		}
		return nil
	})
}
