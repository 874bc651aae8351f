package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/integration/rig"
)

// etcdCase is one recorded request to etcd's own JSON gateway; testdata/README.md says what the fields mean.
type etcdCase struct {
	Name       string
	RPC        string
	Method     string
	Path       string
	Body       json.RawMessage
	Status     int
	AlsoStatus []int `json:"also_status"`
	Response   json.RawMessage
	Frames     []json.RawMessage
	Volatile   []string
	Gateway    bool
}

// TestEtcd replays the recorded cases, in order, against a fresh etcd behind the gateway and against etcd's own JSON
// gateway, and compares the answers as messages.
func TestEtcd(t *testing.T) {
	backend := rig.StartEtcd(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{file: %s/etcd.binpb}]
upstreams: [{name: etcd, endpoints: ["%s"]}]
routes:
  - name: etcd
    grpc: {upstream: etcd, services: ["etcdserverpb.*"], json: {names: proto, unpopulated: omit}}
    timeout: 0s
`, testdata(t), backend))

	raw, err := os.ReadFile("testdata/etcd_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []etcdCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	files := loadSet(t, "testdata/etcd.binpb")
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
			defer cancel()
			answer := c.send(ctx, t, g.URL)
			defer answer.Body.Close()
			if answer.StatusCode != c.Status && !slices.Contains(c.AlsoStatus, answer.StatusCode) {
				body, _ := io.ReadAll(answer.Body)
				t.Fatalf("status %d, want %d or %v: %s", answer.StatusCode, c.Status, c.AlsoStatus, body)
			}
			switch {
			case len(c.Frames) > 0:
				c.compareFrames(t, files, answer.Body)
			case answer.StatusCode != http.StatusOK:
				c.compareError(t, answer)
			case c.Status == http.StatusOK:
				body, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				c.compare(t, files, body, c.Response)
			}
		})
	}
}

func (c *etcdCase) send(ctx context.Context, t *testing.T, base string) *http.Response {
	t.Helper()
	body := []byte(c.Body)
	var text string
	if json.Unmarshal(body, &text) == nil {
		body = []byte(text)
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, base+c.Path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// compareFrames reads as many lines as were recorded; a watch stays open after them. The gateway writes the messages
// themselves, etcd's gateway wraps each in "result".
func (c *etcdCase) compareFrames(t *testing.T, files *protoregistry.Files, body io.Reader) {
	t.Helper()
	lines := bufio.NewScanner(body)
	for i, frame := range c.Frames {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d of %d frames: %v", i, len(c.Frames), lines.Err())
		}
		var wrapped struct{ Result json.RawMessage }
		if err := json.Unmarshal(frame, &wrapped); err != nil {
			t.Fatal(err)
		}
		c.compare(t, files, lines.Bytes(), wrapped.Result)
	}
}

func (c *etcdCase) compareError(t *testing.T, answer *http.Response) {
	t.Helper()
	var got, want struct {
		Code    int
		Message string
	}
	if slices.Contains(c.Volatile, "*") {
		return
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatalf("the error has no JSON body: %v", err)
	}
	if err := json.Unmarshal(c.Response, &want); err != nil {
		t.Fatal(err)
	}
	if got.Code != want.Code {
		t.Errorf("code %d, want %d", got.Code, want.Code)
	}
	if got.Message == "" || !slices.Contains(c.Volatile, "message") && got.Message != want.Message {
		t.Errorf("message %q, want %q", got.Message, want.Message)
	}
}

func (c *etcdCase) compare(t *testing.T, files *protoregistry.Files, got, want []byte) {
	t.Helper()
	service, method, _ := strings.Cut(c.RPC, "/")
	d, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		t.Fatal(err)
	}
	output := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method)).Output()
	decode := func(what string, text []byte) proto.Message {
		m := dynamicpb.NewMessage(output)
		if err := protojson.Unmarshal(text, m); err != nil {
			t.Fatalf("%s is no %s: %v\n%s", what, output.FullName(), err, text)
		}
		for _, path := range c.Volatile {
			clearField(m, strings.Split(path, "."))
		}
		return m
	}
	g, w := decode("the answer", got), decode("the recording", want)
	if !proto.Equal(g, w) {
		t.Errorf("answer\n%v\nwant\n%v", protojson.Format(g), protojson.Format(w))
	}
}

// clearField clears the field at path in every element on the way.
func clearField(m protoreflect.Message, path []string) {
	if path[0] == "*" {
		proto.Reset(m.Interface())
		return
	}
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case fd == nil || !m.Has(fd):
	case len(path) == 1:
		m.Clear(fd)
	case fd.IsList():
		for i := range m.Get(fd).List().Len() {
			clearField(m.Get(fd).List().Get(i).Message(), path[1:])
		}
	default:
		clearField(m.Mutable(fd).Message(), path[1:])
	}
}

func loadSet(t *testing.T, file string) *protoregistry.Files {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// testdata is the absolute path of the recorded inputs.
func testdata(t testing.TB) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return wd + "/testdata"
}
