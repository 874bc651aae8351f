package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/crossgate/crossgate/integration/rig"
)

// startNodeBackend starts the backend of integration/nodebackend and returns its address.
func startNodeBackend(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("nodebackend/node_modules"); err != nil {
		t.Fatalf("the npm packages of integration/nodebackend are not installed; `make test` installs them: %v", err)
	}
	address := rig.FreeAddress(t)
	rig.Run(t, "node", "nodebackend/backend.js", address)
	rig.Eventually(t, rig.Patience, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return address
}

const behindNode = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: library, endpoints: ["%s"]}]
descriptors: [{protos: {root: %s, files: [library.proto]}}]
routes: [{name: library, grpc: {upstream: library}}]
`

// received is what the backend says of a request: what it understood, and the bytes in base64.
type received struct {
	Request string `json:"request"`
	Wire    []byte `json:"wire"`
}

// TestANodeBackendGetsTheWholeRequest sends requests of which body, path and query parameters belong to the same embedded messages to a backend
// whose decoder replaces a message that comes twice, where protobuf says to merge.
func TestANodeBackendGetsTheWholeRequest(t *testing.T) {
	root, err := filepath.Abs("nodebackend")
	if err != nil {
		t.Fatal(err)
	}
	address := startNodeBackend(t)
	g := rig.StartGateway(t, fmt.Sprintf(behindNode, address, root))
	for name, c := range map[string]struct{ method, path, body, want string }{
		"a path variable in the body's message": {
			"PATCH", "/v1/shelves/3/books/7?update_mask=title,author.name&allow_missing=true",
			`{"title":"Emma","author":{"name":"Jane Austen","born":1775},"tags":["a","b"]}`,
			`{"book":{"name":"shelves/3/books/7","title":"Emma","author":{"name":"Jane Austen","born":1775},"tags":["a","b"]},
			  "updateMask":{"paths":["title","author.name"]},"allowMissing":true}`,
		},
		"a path variable in place of what the body says": {
			"PATCH", "/v1/shelves/3/books/7", `{"name":"shelves/1/books/1","title":"Emma"}`,
			`{"book":{"name":"shelves/3/books/7","title":"Emma"},"updateMask":{"paths":["name","title"]}}`,
		},
		"a path variable without a body": {
			"PATCH", "/v1/shelves/3/books/7", ``, `{"book":{"name":"shelves/3/books/7"}}`,
		},
		"a path variable in a message of the whole body": {
			"PUT", "/v1/shelves/3/books/7", `{"allowMissing":true,"book":{"author":{"born":1775},"title":"Emma"},"updateMask":"title"}`,
			`{"book":{"name":"shelves/3/books/7","title":"Emma","author":{"born":1775}},"updateMask":{"paths":["title"]},"allowMissing":true}`,
		},
		"a path variable and query parameters at several levels, with a body": {
			"POST", "/v1/shelves/3/books:find?filter.year=1815&filter.shelf.keeper.name=Ann&filter.author.born=1775&filter.tags=a&filter.shelf.floor=2" +
				"&filter.author.name=Jane&filter.tags=b&filter.shelf.keeper.born=1960&page_size=10", `{"by":"year","descending":true}`,
			`{"filter":{"year":1815,"shelf":{"name":"shelves/3","floor":2,"keeper":{"name":"Ann","born":1960}},
			  "author":{"name":"Jane","born":1775},"tags":["a","b"]},"order":{"by":"year","descending":true},"pageSize":10}`,
		},
		"query parameters at several levels alone": {
			"GET", "/v1/books:find?filter.shelf.keeper.born=1960&order.by=year&filter.year=1815&filter.shelf.keeper.name=Ann&order.descending=true&filter.shelf.name=s", ``,
			`{"filter":{"year":1815,"shelf":{"name":"s","keeper":{"name":"Ann","born":1960}}},"order":{"by":"year","descending":true}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := ask(t, c.method, g.URL+c.path, c.body)
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", answer.Status, body)
			}
			var got received
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if !sameJSON([]byte(got.Request), []byte(c.want)) {
				t.Errorf("Node understood %s\nwant %s\nwire %x", got.Request, c.want, got.Wire)
			}
		})
	}
	t.Run("while a message that comes twice loses what came first", func(t *testing.T) {
		nodeReplacesMessages(t, g)
	})
}

// nodeReplacesMessages sends UpdateBookRequest{book: {title: "Emma"}} and behind it {book: {name: "x"}}, which is what a gateway does that
// appends path variables and relies on merging. If the backend merged them, the test above would prove nothing.
func nodeReplacesMessages(t *testing.T, g *rig.Gateway) {
	t.Helper()
	book := func(num protowire.Number, text string) []byte {
		b := protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), text)
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
	}
	conn := dialGRPC(t, g, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wireCodec{})))
	var wire []byte
	if err := conn.Invoke(soon(t), "/crossgate.test.library.v1.Library/UpdateBook", append(book(2, "Emma"), book(1, "x")...), &wire); err != nil {
		t.Fatal(err)
	}
	_, _, tag := protowire.ConsumeTag(wire) // Received.request
	text, _ := protowire.ConsumeBytes(wire[tag:])
	if want := `{"book":{"name":"x"}}`; !sameJSON(text, []byte(want)) {
		t.Errorf("Node understood %s, want %s", text, want)
	}
}
