package connectconformance

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/crossgate/crossgate/gateway"
)

// What the test tells its own program, which the runner starts as the server under test.
const (
	envReferenceServer = "CROSSGATE_CONFORMANCE_REFERENCE_SERVER" // the reference server's program
	envProtos          = "CROSSGATE_CONFORMANCE_PROTOS"           // where the suite's .proto files are
)

// serve is the server under test: a gateway as the runner's request on stdin asks for it, and behind it the reference
// server. It ends with SIGTERM.
func serve(in io.Reader, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	raw, err := readMessage(in)
	if err != nil {
		return err
	}
	request, err := parseServerRequest(raw)
	if err != nil {
		return err
	}
	backend, end, err := startReferenceServer(ctx, request.limit)
	if err != nil {
		return fmt.Errorf("reference server: %w", err)
	}
	defer end()
	dir, err := os.MkdirTemp("", "crossgate-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, err := writeConfig(dir, request, backend)
	if err != nil {
		return err
	}
	g, err := gateway.Start(ctx, gateway.Options{ConfigPath: file, Log: io.Discard})
	if err != nil {
		return err
	}
	address := netip.MustParseAddrPort(g.Addresses()[0].String())
	response := &serverResponse{host: address.Addr().String(), port: uint64(address.Port())}
	if request.tls {
		response.certificate = request.certificate
	}
	if err := writeMessage(out, response.append(nil)); err != nil {
		return err
	}
	<-ctx.Done()
	return g.Shutdown()
}

// startReferenceServer starts the suite's own server, for gRPC in clear text.
func startReferenceServer(ctx context.Context, limit uint64) (address string, end func(), err error) {
	command := exec.CommandContext(ctx, os.Getenv(envReferenceServer), "-port", "0")
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	request := &serverRequest{protocol: protocolGRPC, httpVersion: httpVersion2, limit: limit}
	raw, err := request.append(nil), writeMessage(in, request.append(nil))
	if err == nil {
		raw, err = readMessage(out)
	}
	if err != nil {
		end()
		return "", nil, err
	}
	response, err := parseServerResponse(raw)
	if err != nil {
		end()
		return "", nil, err
	}
	return fmt.Sprintf("%s:%d", response.host, response.port), end, nil
}

func writeConfig(dir string, request *serverRequest, backend string) (file string, err error) {
	var tls string
	if request.tls {
		for name, pem := range map[string][]byte{"cert.pem": request.certificate, "key.pem": request.key, "client-ca.pem": request.clientCA} {
			if err := os.WriteFile(filepath.Join(dir, name), pem, 0o600); err != nil {
				return "", err
			}
		}
		tls = "tls: {certificate: cert.pem, key: key.pem}"
	}
	text := fmt.Sprintf(`
listeners:
  - address: "127.0.0.1:0"
    %s
admin: {address: "127.0.0.1:0"}
upstreams: [{name: reference, endpoints: ["%s"]}]
descriptors:
  - protos: {root: %q, files: ["connectrpc/conformance/v1/*.proto"]}
routes:
  - name: conformance
    grpc: {upstream: reference, services: [connectrpc.conformance.v1.*]}
    timeout: 0s # the suite checks that no deadline comes of nothing
`, tls, backend, os.Getenv(envProtos))
	file = filepath.Join(dir, "crossgate.yaml")
	return file, os.WriteFile(file, []byte(strings.TrimSpace(text)+"\n"), 0o600)
}
