package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

const onePage = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
routes:
  - {name: page, match: {path: /page}, respond: {body: "%s"}}
`

func TestAnEditedConfigurationIsServed(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(onePage, "one"))
	body := func() string {
		_, text := call(t, "GET", g.URL+"/page", "", nil)
		return text
	}
	wait := func(want string) {
		t.Helper()
		rig.Eventually(t, rig.Patience, func() error {
			if got := body(); got != want {
				return fmt.Errorf("%q is served, want %q", got, want)
			}
			return nil
		})
	}
	wait("one")
	f := startTraffic(t, 1, map[string]func(context.Context) error{"GET": getting(t, g.URL+"/page")})
	g.Rewrite(t, fmt.Sprintf(onePage, "two"))
	wait("two")

	g.Rewrite(t, fmt.Sprintf(onePage, "three")+"  - {name: page2, match: {path: /page}, respond: {body: clash}}\n")
	rig.Eventually(t, rig.Patience, func() error {
		if log := g.Log(); !strings.Contains(log, g.ConfigFile+":6:5: route page2: matches the same requests as "+g.ConfigFile+":5:5: route page") {
			return fmt.Errorf("the clash is not logged with both places:\n%s", log)
		}
		return nil
	})
	wait("two")
	if code, text := call(t, "POST", g.Admin+"/v1/reload", "", nil); code != 400 || !strings.Contains(text, ":6:5: route page2") {
		t.Errorf("POST /v1/reload: %d %s", code, text)
	}
	if _, text := call(t, "GET", g.Admin+"/v1/status", "", nil); !strings.Contains(text, "matches the same requests") {
		t.Errorf("the status has no problem: %s", text)
	}
	g.Rewrite(t, fmt.Sprintf(onePage, "four"))
	wait("four")
	f.wantFailed(t, nil)
}

func TestAReloadKeepsWhatIsInFlight(t *testing.T) {
	backend := testserver.Start(t)
	yaml := fmt.Sprintf(oneUpstream, backend.Address, "descriptors: [{reflection: {upstream: test}}]")
	g := rig.StartGateway(t, yaml)
	slow := make(chan int)
	go func() {
		r, _ := http.NewRequest("GET", g.URL+"/bind/v1/one/x", nil)
		r.Header.Set("Grpc-Metadata-X-Test-Delay", "1s")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			slow <- 0
			return
		}
		answer.Body.Close()
		slow <- answer.StatusCode
	}()
	rig.Eventually(t, rig.Patience, func() error {
		if backend.Calls() == 0 {
			return fmt.Errorf("the call has not arrived")
		}
		return nil
	})
	// The pool of the old snapshot is not the new one's: it must stay open until the call has ended.
	g.Rewrite(t, strings.Replace(yaml, "{name: test, endpoints", "{name: test, connections: 3, endpoints", 1))
	if err := g.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-slow; got != 200 {
		t.Errorf("the call in flight ended with %d", got)
	}
}

// serveProcess starts `crossgate serve` and waits until it is ready.
func serveProcess(t *testing.T, yaml string) (p *rig.Process, file string) {
	t.Helper()
	file = t.TempDir() + "/crossgate.yaml"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return rig.Run(t, rig.Build(t), "serve", "-c", file), file
}

func TestSIGHUPAndSIGTERM(t *testing.T) {
	backend := testserver.Start(t)
	address, admin := rig.FreeAddress(t), rig.FreeAddress(t)
	yaml := func(body string) string {
		return fmt.Sprintf(`
listeners: [{address: "%s"}]
admin: {address: "%s"}
drain: {timeout: 10s, reconnect_spread: 100ms}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes:
  - {name: test, grpc: {upstream: test, services: ["crossgate.test.v1.*"]}}
  - {name: page, match: {path: /page}, respond: {body: "%s"}}
  - {name: ws, match: {path: /ws}, websocket: {service: chat}}
`, address, admin, backend.Address, body)
	}
	p, file := serveProcess(t, yaml("one"))
	rig.WaitReady(t, admin)
	if err := os.WriteFile(file, []byte(yaml("two")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, rig.Patience, func() error {
		if _, text := call(t, "GET", "http://"+address+"/page", "", nil); text != "two" {
			return fmt.Errorf("%q is served", text)
		}
		return nil
	})

	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	slow := make(chan int, 1)
	before := backend.Calls()
	go func() {
		r, _ := http.NewRequest("GET", "http://"+address+"/bind/v1/one/x", nil)
		r.Header.Set("Grpc-Metadata-X-Test-Delay", "1s")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			slow <- 0
			return
		}
		answer.Body.Close()
		slow <- answer.StatusCode
	}()
	rig.Eventually(t, rig.Patience, func() error {
		if backend.Calls() == before {
			return fmt.Errorf("the call has not arrived")
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		code, err := p.Terminate(15 * time.Second)
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d", code)
		}
		ended <- err
	}()
	if _, text, err := conn.Read(ctx); err != nil || !strings.Contains(string(text), `"type":"goaway","reconnect_after_ms":`) {
		t.Errorf("the WebSocket client is told %q, %v", text, err)
	}
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4010 {
		t.Errorf("the WebSocket is closed with %v, want 4010", err)
	}
	if got := <-slow; got != 200 {
		t.Errorf("the call in flight ended with %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestABrokenConfigurationDoesNotStart(t *testing.T) {
	file := t.TempDir() + "/crossgate.yaml"
	if err := os.WriteFile(file, []byte("listeners: [{address: nowhere}]\nroutes:\n  - {name: a, grpc: {upstream: none}}\n    \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"serve", "check", "routes"} {
		out, code := rig.Output(t, rig.Build(t), command, "-c", file)
		if code == 0 || !strings.Contains(out, file+":1:") || !strings.Contains(out, file+":3:") {
			t.Errorf("%s: exit code %d, and\n%s", command, code, out)
		}
	}
}

func TestCheckRoutesAndInspect(t *testing.T) {
	file := t.TempDir() + "/crossgate.yaml"
	if err := os.WriteFile(file, []byte(`
upstreams: [{name: etcd, endpoints: ["127.0.0.1:1"]}]
descriptors: [{file: `+testdata(t)+`/etcd.binpb}]
routes:
  - {name: etcd, match: {hosts: [etcd.example.com], path_prefix: /v3/kv/}, grpc: {upstream: etcd, services: [etcdserverpb.KV, later.v1.Service]}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := rig.Output(t, rig.Build(t), "check", "-c", file)
	if code != 0 || !strings.Contains(out, "ok: 1 routes, 11 bindings") || !strings.Contains(out, "warning: "+file+":5:") {
		t.Errorf("check: exit code %d, and\n%s", code, out)
	}
	out, code = rig.Output(t, rig.Build(t), "routes", "-c", file)
	for _, want := range []string{"/v3/kv/put", "/etcdserverpb.KV/Put", "etcd.example.com", "/later.v1.Service/*"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("routes: exit code %d, no %s in\n%s", code, want, out)
		}
	}
	out, code = rig.Output(t, rig.Build(t), "descriptors", "inspect", testdata(t)+"/etcd.binpb")
	for _, want := range []string{"etcdserverpb.Watch", "bidi stream", "/v3/watch", "body: *"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("inspect: exit code %d, no %q in\n%s", code, want, out)
		}
	}
	if out, code := rig.Output(t, rig.Build(t), "version"); code != 0 || !strings.HasPrefix(out, "crossgate ") {
		t.Errorf("version: exit code %d, and\n%s", code, out)
	}
}

func TestTLSListener(t *testing.T) {
	certificate, key := rig.Certificate(t)
	g := rig.StartGateway(t, fmt.Sprintf(strings.Replace(onePage, `"127.0.0.1:0"}`, `"127.0.0.1:0", tls: {certificate: `+certificate+`, key: `+key+`}}`, 1), "secure"))
	url := strings.Replace(g.URL, "http:", "https:", 1) + "/page"
	for _, h2 := range []bool{true, false} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: rig.Pool(t, certificate)}, ForceAttemptHTTP2: h2}
		answer, err := (&http.Client{Transport: transport}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if want := map[bool]int{true: 2, false: 1}[h2]; answer.ProtoMajor != want || answer.StatusCode != 200 {
			t.Errorf("%s, status %d; want HTTP/%d", answer.Proto, answer.StatusCode, want)
		}
		transport.CloseIdleConnections()
	}
}
