package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/demo"
	"github.com/crossgate/crossgate/integration/rig"
)

// documentAt fetches an OpenAPI document and holds it against the specification's JSON Schema.
func documentAt(t *testing.T, url, host string) map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s %s: %.300s", url, answer.Status, answer.Header.Get("Content-Type"), text)
	}
	return validDocument(t, text)
}

func validDocument(t *testing.T, text []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	schema, err := c.Compile("../openapi/testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Fatalf("the document is not valid: %v", err)
	}
	return v.(map[string]any)
}

// operations are the operation ids of a document.
func operations(doc map[string]any) []string {
	var ids []string
	paths, _ := doc["paths"].(map[string]any)
	for _, item := range paths {
		for _, o := range item.(map[string]any) {
			if id, ok := o.(map[string]any)["operationId"].(string); ok {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

func startShop(t *testing.T) string {
	t.Helper()
	s, err := demo.StartShop("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Address()
}

func TestTheDocumentDescribesWhatReflectionTells(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{reflection: {upstream: shop}}]
upstreams: [{name: shop, endpoints: ["%s"]}]
routes:
  - name: shop
    grpc: {upstream: shop}
  - name: docs
    docs: {title: The shop}
`, startShop(t)))
	var doc map[string]any
	rig.Eventually(t, rig.Patience, func() error {
		if doc = documentAt(t, g.URL+"/openapi.json", ""); !slices.Contains(operations(doc), "crossgate.demo.v1.Shop.GetItem") {
			return fmt.Errorf("operations %v", operations(doc))
		}
		return nil
	})
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"title":"The shop"`, `"summary":"Returns one item"`, `"/v1/shelves/{shelf}/items/{item}:reserve"`, "- `SOLD_OUT`: All units are reserved.",
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the document has no %s", want)
		}
	}
	t.Run("and is not sent again to who has it", func(t *testing.T) {
		// A compressed answer would have a weak ETag of its own.
		request := func(method, condition string) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), method, g.URL+"/openapi.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Encoding", "identity")
			r.Header.Set("If-None-Match", condition)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		first := request("GET", "")
		first.Body.Close()
		etag := first.Header.Get("ETag")
		for _, c := range []struct {
			method, condition string
			want              int
		}{{"GET", etag, 304}, {"GET", `"other", W/` + etag, 304}, {"GET", `"other"`, 200}, {"HEAD", "", 200}, {"HEAD", etag, 304}, {"POST", "", 405}} {
			answer := request(c.method, c.condition)
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != c.want || c.want == 304 && len(body) > 0 || c.want != 405 && answer.Header.Get("ETag") != etag {
				t.Errorf("%s, If-None-Match %s: %s, %d bytes, ETag %s", c.method, c.condition, answer.Status, len(body), answer.Header.Get("ETag"))
			}
		}
	})
}

// TestTheDocumentFollowsRegisteredDescriptors registers a set, a newer version of it and takes it away, while the
// gateway runs.
func TestTheDocumentFollowsRegisteredDescriptors(t *testing.T) {
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: any, endpoints: ["127.0.0.1:1"]}]
routes:
  - name: all
    grpc: {upstream: any}
  - name: docs
    docs: {}
`)
	etag := func() string {
		answer, err := http.Head(g.URL + "/openapi.json")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.Header.Get("ETag")
	}
	if ids := operations(documentAt(t, g.URL+"/openapi.json", "")); len(ids) > 0 {
		t.Errorf("before anything is registered there are %v", ids)
	}
	empty := etag()
	register := func(raw []byte) {
		t.Helper()
		answer, err := http.Post(g.Admin+"/v1/descriptorSets?descriptor_set_id=shop", "application/x-protobuf", bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(answer.Body)
			t.Fatalf("register: %s: %s", answer.Status, text)
		}
	}
	raw, err := os.ReadFile("../demo/shop.binpb")
	if err != nil {
		t.Fatal(err)
	}
	register(raw)
	doc := documentAt(t, g.URL+"/openapi.json", "")
	if !slices.Contains(operations(doc), "crossgate.demo.v1.Shop.ListItems.2") {
		t.Errorf("operations %v", operations(doc))
	}
	if text, _ := json.Marshal(doc); !bytes.Contains(text, []byte(`"summary":"Puts a new item on a shelf"`)) {
		t.Error("the registered set's comments are lost")
	}
	first := etag()
	if first == empty {
		t.Error("the ETag has not changed with the document")
	}

	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	item := set.File[0].MessageType[0]
	item.Field = append(item.Field, &descriptorpb.FieldDescriptorProto{
		Name: proto.String("brand_new"), JsonName: proto.String("brandNew"), Number: proto.Int32(77),
		Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	})
	if raw, err = proto.Marshal(&set); err != nil {
		t.Fatal(err)
	}
	register(raw)
	if text, _ := json.Marshal(documentAt(t, g.URL+"/openapi.json", "")); !bytes.Contains(text, []byte(`"brandNew"`)) {
		t.Error("a new field is not in the document")
	}
	if etag() == first {
		t.Error("the ETag has not changed with the document")
	}

	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, g.Admin+"/v1/descriptorSets/shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if ids := operations(documentAt(t, g.URL+"/openapi.json", "")); len(ids) > 0 || etag() != empty {
		t.Errorf("after it was taken away there are %v", ids)
	}
}

// docsByHost has routes of several hosts, and two docs routes.
const docsByHost = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{file: %[1]s/etcd.binpb}]
upstreams: [{name: etcd, endpoints: ["127.0.0.1:1"]}]
auth:
  - name: keys
    api_keys: {keys: [{id: a, key: a-key-for-the-tests}]}
routes:
  - name: kv
    match: {hosts: [api.example.com]}
    grpc: {upstream: etcd, services: [etcdserverpb.KV]}
    auth: {require: [keys]}
    rate_limits: [{per: key, rate: 100/s}]
  - name: auth
    match: {hosts: [admin.example.com]}
    grpc: {upstream: etcd, services: [etcdserverpb.Auth], json: {names: proto}}
  - name: lease
    match: {hosts: ["*.example.com"]}
    grpc: {upstream: etcd, services: [etcdserverpb.Lease]}
  - name: watch
    grpc: {upstream: etcd, services: [etcdserverpb.Watch], streams: {framing: result}}
  - name: docs
    docs: {routes: [kv, auth, lease, watch]}
  - name: closed
    match: {hosts: [admin.example.com]}
    docs: {openapi: /private/openapi.json, page: "off", title: Closed, version: "7", servers: [https://admin.example.com]}
    auth: {require: [keys]}
    rate_limits: [{per: ip, rate: 1/h, burst: 3}]
`

func TestACallerSeesTheRoutesOfItsHost(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(docsByHost, testdata(t)))
	services := func(ids []string) []string {
		var names []string
		for _, id := range ids {
			name := strings.Split(id, ".")[1]
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return names
	}
	for host, want := range map[string][]string{
		"api.example.com":      {"KV", "Lease", "Watch"},
		"API.example.com:8443": {"KV", "Lease", "Watch"},
		"admin.example.com":    {"Auth", "Lease", "Watch"},
		"any.example.com":      {"Lease", "Watch"},
		"example.org":          {"Watch"},
	} {
		if got := services(operations(documentAt(t, g.URL+"/openapi.json", host))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	for query, want := range map[string][]string{"": {"Auth", "KV", "Lease", "Watch"}, "?host=any.example.com": {"Lease", "Watch"}} {
		if got := services(operations(documentAt(t, g.Admin+"/v1/openapi"+query, ""))); !slices.Equal(got, want) {
			t.Errorf("the admin listener, %q: %v, want %v", query, got, want)
		}
	}
	for host, want := range map[string][]string{"": {"Auth", "KV", "Lease", "Watch"}, "api.example.com": {"KV", "Lease", "Watch"}} {
		out, code := rig.Output(t, rig.Build(t), "openapi", "-c", g.ConfigFile, "--host", host)
		if code != 0 {
			t.Fatalf("crossgate openapi: exit %d: %s", code, out)
		}
		if got := services(operations(validDocument(t, []byte(out)))); !slices.Equal(got, want) {
			t.Errorf("crossgate openapi --host %q: %v, want %v", host, got, want)
		}
	}
	doc := documentAt(t, g.URL+"/openapi.json", "api.example.com")
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"security":[{"keys":[]}]`, `"securitySchemes":{"keys":{`, `"429":{"$ref"`, `"application/json":{"schema":{"description":"A line for each message."`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the document has no %s", want)
		}
	}
}

// TestDocumentationIsAdmittedAsAnyRoute: its own route's auth and limits apply, not those of what it describes.
func TestDocumentationIsAdmittedAsAnyRoute(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(docsByHost, testdata(t)))
	get := func(path, host, key string) (*http.Response, string) {
		t.Helper()
		header := []string{"Host", host}
		if key != "" {
			header = append(header, "X-API-Key", key)
		}
		return ask(t, "GET", g.URL+path, "", header...)
	}
	for _, c := range []struct {
		path, host, key string
		status          int
		text            string
	}{
		{"/openapi.json", "api.example.com", "", 200, `"title":"API"`},
		{"/docs", "api.example.com", "", 200, `data-document="./openapi.json"`},
		{"/private/openapi.json", "api.example.com", "a-key-for-the-tests", 404, ""},
		{"/private/openapi.json", "admin.example.com", "", 401, ""},
		{"/private/openapi.json", "admin.example.com", "wrong", 401, ""},
		{"/private/openapi.json", "admin.example.com", "a-key-for-the-tests", 200, `"info":{"title":"Closed","version":"7"},"servers":[{"url":"https://admin.example.com"}]`},
		{"/private/openapi.json", "admin.example.com", "a-key-for-the-tests", 429, ""},
		{"/docs/NOTICE", "api.example.com", "", 200, "swagger-ui"},
		{"/docs/nothing.js", "api.example.com", "", 404, ""},
		{"/docs/", "api.example.com", "", 404, ""},
	} {
		answer, text := get(c.path, c.host, c.key)
		if answer.StatusCode != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s%s with %q: %s: %.200s", c.host, c.path, c.key, answer.Status, text)
		}
	}
	page, text := get("/docs", "api.example.com", "")
	if policy := page.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'") {
		t.Errorf("Content-Security-Policy: %s", policy)
	}
	for _, name := range []string{"swagger-ui.css", "swagger-ui-bundle.js", "page.css", "page.js"} {
		from := strings.Index(text, "./docs/"+name)
		if from < 0 {
			t.Errorf("the page does not load %s", name)
			continue
		}
		reference, _, _ := strings.Cut(text[from+1:], `"`)
		file, content := get(reference, "api.example.com", "")
		if file.StatusCode != 200 || len(content) == 0 || file.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(file.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s, %d bytes, %v", reference, file.Status, len(content), file.Header)
		}
	}
}

// TestCommentsAreKept loads the same .proto by each kind of source that has source info.
func TestCommentsAreKept(t *testing.T) {
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"a tree of .proto files": `protos: {root: "` + here + `/proto", files: [crossgate/demo/v1/*.proto]}`,
		"a FileDescriptorSet":    `file: "` + here + `/demo/shop.binpb"`,
	} {
		t.Run(name, func(t *testing.T) {
			g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
descriptors: [{%s}]
upstreams: [{name: any, endpoints: ["127.0.0.1:1"]}]
routes: [{name: all, grpc: {upstream: any}}, {name: docs, docs: {}}]
`, source))
			text, err := json.Marshal(documentAt(t, g.URL+"/openapi.json", ""))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`"Shop keeps items on shelves."`, `"An item on a shelf."`, `"Units that are not reserved."`} {
				if !bytes.Contains(text, []byte(want)) {
					t.Errorf("the document has no %s", want)
				}
			}
		})
	}
}
