package integration

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// backendReady is set for a process of the tests that is a backend, to the file in which it says where it listens.
const backendReady = "CROSSGATE_TEST_BACKEND_READY"

// backends are the addresses of one service that is there by gRPC and by HTTP.
type backends struct{ grpc, http string }

// ownBackends is such a service in this process.
type ownBackends struct {
	backends
	calls func() int64
	stop  func()
}

// backendProcess is one in a process of its own.
type backendProcess struct {
	*rig.Process
	backends
}

// TestBeABackend is that process' main function.
func TestBeABackend(t *testing.T) {
	ready := os.Getenv(backendReady)
	if ready == "" {
		t.Skip("runs as the backend of other tests")
	}
	b := startBackends(t)
	if err := os.WriteFile(ready+".next", []byte(b.grpc+" "+b.http), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(ready+".next", ready); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done() // which is never: the process is killed
}

// startBackends starts the service in this process.
func startBackends(t testing.TB) ownBackends {
	t.Helper()
	var calls atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		_, _ = w.Write([]byte("well"))
	}))
	t.Cleanup(plain.Close)
	server := testserver.Start(t)
	return ownBackends{backends{server.Address, plain.Listener.Addr().String()}, func() int64 { return calls.Load() + server.Calls() }, func() {
		plain.CloseClientConnections()
		plain.Close()
		server.Stop()
	}}
}

// startBackendProcess starts this test binary again as a backend.
func startBackendProcess(t *testing.T) *backendProcess {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(t.TempDir(), "ready")
	p := &backendProcess{Process: rig.RunWith(t, []string{backendReady + "=" + ready}, program, "-test.run=^TestBeABackend$", "-test.timeout=5m")}
	rig.Eventually(t, rig.Patience, func() error {
		text, err := os.ReadFile(ready)
		p.grpc, p.http, _ = strings.Cut(string(text), " ")
		return err
	})
	return p
}
