package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// testSet is the test service's descriptors, serialized.
func testSet(t testing.TB) []byte {
	t.Helper()
	raw, err := proto.Marshal(testserver.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// testSetFile is a file with them.
func testSetFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.binpb")
	if err := os.WriteFile(file, testSet(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// statusOf returns what a GET answers with.
func statusOf(url string) (int, error) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer.StatusCode, err
}

// serves waits until a GET answers with a status.
func serves(t testing.TB, url string, want int) {
	t.Helper()
	rig.Eventually(t, rig.Patience, func() error {
		got, err := statusOf(url)
		if err == nil && got != want {
			err = fmt.Errorf("%s: %d, want %d", url, got, want)
		}
		return err
	})
}

// call is ask for a body of any kind.
func call(t testing.TB, method, url, contentType string, body []byte, header ...string) (int, string) {
	t.Helper()
	if contentType != "" {
		header = append(header, "Content-Type", contentType)
	}
	answer, text := ask(t, method, url, string(body), header...)
	return answer.StatusCode, text
}

const oneUpstream = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
routes: [{name: test, grpc: {upstream: test, services: ["crossgate.test.v1.*"]}}]
%s
`

func TestADescriptorFileIsServedWhenItHasChanged(t *testing.T) {
	backend := testserver.Start(t)
	file := t.TempDir() + "/set.binpb"
	etcd, err := os.ReadFile("testdata/etcd.binpb")
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(file+".next", content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
	}
	write(etcd)
	g := rig.StartGateway(t, fmt.Sprintf(oneUpstream, backend.Address, "descriptors: [{file: "+file+"}]"))
	url := g.URL + "/bind/v1/one/x"
	serves(t, url, 404)
	write(testSet(t))
	serves(t, url, 200)

	f := startTraffic(t, 1, map[string]func(context.Context) error{"GET": getting(t, url)})
	write([]byte("not a set"))
	rig.Eventually(t, rig.Patience, func() error {
		if !strings.Contains(g.Log(), "not a serialized google.protobuf.FileDescriptorSet") {
			return fmt.Errorf("the refusal is not logged")
		}
		return nil
	})
	write(testSet(t))
	serves(t, url, 200)
	f.wantFailed(t, nil)
}

func TestRegisteredSets(t *testing.T) {
	backend := testserver.Start(t)
	redis := rig.StartRedis(t)
	yaml := fmt.Sprintf(oneUpstream, backend.Address, "redis: {url: "+redis.URL()+"}")
	one, two := rig.StartGateway(t, yaml), rig.StartGateway(t, yaml)
	serves(t, one.URL+"/bind/v1/one/x", 404)
	sets := one.Admin + "/v1/descriptorSets"

	code, text := call(t, "POST", sets+"?descriptor_set_id=test", "application/x-protobuf", testSet(t))
	var set struct {
		Name, Sha256, Version string
		Services              []string
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil || code != 200 || set.Name != "descriptorSets/test" || set.Version != "1" || len(set.Services) == 0 {
		t.Fatalf("%d %s", code, text)
	}
	if got, err := statusOf(one.URL + "/bind/v1/one/x"); got != 200 {
		t.Errorf("once registered, the node that was called answers %d, %v", got, err)
	}
	serves(t, two.URL+"/bind/v1/one/x", 200)

	t.Run("survives a restart", func(t *testing.T) {
		three := rig.StartGateway(t, yaml)
		if got, err := statusOf(three.URL + "/bind/v1/one/x"); got != 200 {
			t.Errorf("%d, %v", got, err)
		}
	})
	t.Run("is listed", func(t *testing.T) {
		for _, url := range []string{sets, sets + "/test"} {
			if code, text := call(t, "GET", url, "", nil); code != 200 || !strings.Contains(text, "descriptorSets/test") {
				t.Errorf("%s: %d %s", url, code, text)
			}
		}
		if code, _ := call(t, "GET", sets+"/nothing", "", nil); code != 404 {
			t.Errorf("a set that is not there: %d", code)
		}
	})
	t.Run("a broken one is refused with the reason and changes nothing", func(t *testing.T) {
		f := startTraffic(t, 1, map[string]func(context.Context) error{"GET": getting(t, one.URL+"/bind/v1/one/x")})
		for _, c := range []struct {
			query string
			body  []byte
			want  string
		}{
			{"?descriptor_set_id=test", []byte("garbage"), "not a serialized google.protobuf.FileDescriptorSet"},
			{"?descriptor_set_id=test", nil, "has no files"},
			{"?descriptor_set_id=other", testSet(t), "is in both"},
			{"?descriptor_set_id=..%2Fx", testSet(t), "descriptor_set_id"},
		} {
			if code, text := call(t, "POST", sets+c.query, "application/x-protobuf", c.body); code != 400 || !strings.Contains(text, c.want) {
				t.Errorf("%s: %d %s, want 400 and %q", c.query, code, text, c.want)
			}
		}
		f.wantFailed(t, nil)
		if code, text := call(t, "GET", sets, "", nil); code != 200 || strings.Contains(text, "other") {
			t.Errorf("%d %s", code, text)
		}
	})
	t.Run("a web page cannot register", func(t *testing.T) {
		if code, _ := call(t, "POST", sets, "application/x-protobuf", testSet(t), "Origin", "https://evil.example.com"); code != 403 {
			t.Errorf("%d", code)
		}
	})
	t.Run("is deleted on every node", func(t *testing.T) {
		if code, text := call(t, "DELETE", sets+"/test", "", nil); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		serves(t, one.URL+"/bind/v1/one/x", 404)
		serves(t, two.URL+"/bind/v1/one/x", 404)
		if code, _ := call(t, "DELETE", sets+"/test", "", nil); code != 404 {
			t.Errorf("deleted twice: %d", code)
		}
	})
}

func TestReflectionComesBackWithTheBackend(t *testing.T) {
	address := rig.FreeAddress(t)
	g := rig.StartGateway(t, fmt.Sprintf(oneUpstream, address, "descriptors: [{reflection: {upstream: test}}]"))
	serves(t, g.URL+"/bind/v1/one/x", 404)
	backend := testserver.StartAt(t, address)
	serves(t, g.URL+"/bind/v1/one/x", 200)
	backend.Stop()
	serves(t, g.URL+"/bind/v1/one/x", 503)
	testserver.StartAt(t, address)
	serves(t, g.URL+"/bind/v1/one/x", 200)
}

func TestRulesOfTheConfigurationAndRPCPaths(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(oneUpstream, backend.Address, `
descriptors: [{reflection: {upstream: test}}]
http:
  rules:
    - {selector: crossgate.test.v1.Echo.EchoUnbound, get: "/configured/{name}"}
`))
	if code, text := call(t, "GET", g.URL+"/configured/x", "", nil); code != 200 || !strings.Contains(text, `"x"`) {
		t.Errorf("by a rule of the configuration: %d %s", code, text)
	}
	if code, text := call(t, "POST", g.URL+"/crossgate.test.v1.Echo/EchoUnbound", "application/json", []byte(`{"name":"y"}`)); code != 200 || !strings.Contains(text, `"y"`) {
		t.Errorf("by its own path: %d %s", code, text)
	}
}

func TestTheAdminTokenIsNeededForChanges(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", "a long admin token")
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0", token: "${ADMIN_TOKEN}"}
`)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/v1/status", "/v1/routes"} {
		if code, _ := call(t, "GET", g.Admin+path, "", nil); code != 200 {
			t.Errorf("%s without the token: %d", path, code)
		}
	}
	for _, c := range []struct{ method, path string }{{"POST", "/v1/reload"}, {"POST", "/v1/descriptorSets"}, {"DELETE", "/v1/descriptorSets/x"}} {
		if code, _ := call(t, c.method, g.Admin+c.path, "", nil); code != 401 {
			t.Errorf("%s %s without the token: %d", c.method, c.path, code)
		}
		if code, _ := call(t, c.method, g.Admin+c.path, "", nil, "Authorization", "Bearer wrong"); code != 401 {
			t.Errorf("%s %s with a wrong token: %d", c.method, c.path, code)
		}
		if code, _ := call(t, c.method, g.Admin+c.path, "", nil, "Authorization", "Bearer a long admin token"); code == 401 || code == 403 {
			t.Errorf("%s %s with the token: %d", c.method, c.path, code)
		}
	}
}
