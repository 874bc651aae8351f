package integration

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestMain fails the run when a test leaves a goroutine behind. As a process that a test has started it is a replica of a service.
func TestMain(m *testing.M) {
	if address := os.Getenv(replicaOf); address != "" {
		beReplica(address)
		return
	}
	code := m.Run()
	rig.RemoveBuilt()
	http.DefaultClient.CloseIdleConnections()
	if err := leaks(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leaks finds goroutines that do not end. A client of a Redis that a test has killed may still be dialling, for seconds.
func leaks() error {
	var err error
	for end := time.Now().Add(rig.Patience); time.Now().Before(end); {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}
