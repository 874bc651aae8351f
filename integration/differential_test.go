package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// grpcGateway serves the test services through the handlers that grpc-gateway v2 generates, with its defaults.
func grpcGateway(t testing.TB, backend string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	mux := runtime.NewServeMux()
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	for _, register := range []func(context.Context, *runtime.ServeMux, string, []grpc.DialOption) error{
		testproto.RegisterEchoHandlerFromEndpoint, testproto.RegisterBindingsHandlerFromEndpoint, testproto.RegisterControlHandlerFromEndpoint,
	} {
		if err := register(ctx, mux, backend, options); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

const besidePeer = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes: [{name: test, %s}]
`

type exchange struct{ method, path, body string }

// TestDifferential sends the same requests to the gateway and to grpc-gateway v2's generated handlers. Statuses are
// equal and so are answers, as JSON; of an error the code counts, not the words.
//
// What is meant to differ is in TestIntendedDifferences.
func TestDifferential(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test, unknown_query: ignore, json: {unknown: ignore}}"))
	peer := grpcGateway(t, backend.Address)

	for _, r := range exchanges() {
		code, got := r.send(t, g.URL)
		peerCode, want := r.send(t, peer)
		if code != peerCode {
			t.Errorf("%s %s %s: status %d, grpc-gateway %d: %s", r.method, r.path, r.body, code, peerCode, got)
			continue
		}
		if peerCode >= 400 {
			got, want = onlyCode(got), onlyCode(want)
		}
		if !sameJSON(got, want) {
			t.Errorf("%s %s %s:\n%s\ngrpc-gateway\n%s", r.method, r.path, r.body, got, want)
		}
	}
}

// TestIntendedDifferences holds the requests that the two answer differently, on purpose, and why.
func TestIntendedDifferences(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test}"))
	peer := grpcGateway(t, backend.Address)
	for _, c := range []struct {
		why          string
		request      exchange
		ours, theirs int
	}{
		{"a variable of one segment is decoded whole, %2F too (google/api/http.proto)", exchange{"GET", "/bind/v1/one/x%2Fy", ""}, 200, 404},
		{"** matches zero segments (google/api/http.proto)", exchange{"GET", "/bind/v1/files/a", ""}, 200, 404},
		{"base64 without padding is base64 (the protobuf JSON mapping)", exchange{"GET", "/test/v1/scalars?bytesValue=aGk", ""}, 200, 400},
		{"a query parameter that is no field is refused unless the route ignores it", exchange{"GET", "/bind/v1/one/x?nothing=1", ""}, 400, 200},
		{"a field that the message does not have is refused unless the route ignores it", exchange{"POST", "/bind/v1/all", `{"nothing":1}`}, 400, 200},
		{"an integer that is the body may be a string, as the protobuf JSON mapping has it", exchange{"PUT", "/bind/v1/number/x", `"7"`}, 200, 400},
		{"a map has no syntax of its own in a query", exchange{"GET", "/bind/v1/one/x?labels[a]=b", ""}, 400, 200},
		{"there are no query parameters beside a body that is the whole message", exchange{"POST", "/bind/v1/all?note=n", "{}"}, 400, 200},
		{"a path that takes other methods is 405 (RFC 9110), not 501", exchange{"DELETE", "/bind/v1/all", ""}, 405, 501},
	} {
		if got, body := c.request.send(t, g.URL); got != c.ours {
			t.Errorf("%s: %d, want %d: %s", c.why, got, c.ours, body)
		}
		if got, body := c.request.send(t, peer); got != c.theirs {
			t.Errorf("%s: grpc-gateway answers %d, not %d any more: %s", c.why, got, c.theirs, body)
		}
	}
}

// exchanges are the requests that the differential tests send: of each kind of binding and field, well made and not, and
// random messages of each type.
func exchanges() []exchange {
	requests := []exchange{
		{"GET", "/bind/v1/one/x", ""},
		{"GET", "/bind/v1/one/x?note=n&tags=a&tags=b&kind=KIND_TWO&nested.name=inner&nested.count=7", ""},
		{"GET", "/bind/v1/one/x?kind=2&time=2026-01-02T03:04:05.678Z&wrapped=5", ""},
		{"GET", "/bind/v1/one/x?kind=NO_SUCH_KIND", ""},
		{"GET", "/bind/v1/one/x?nested.count=many", ""},
		{"GET", "/bind/v1/one/x?time=yesterday", ""},
		{"GET", "/bind/v1/things/a", ""},
		{"GET", "/bind/v1/files/a/b/c", ""},
		{"GET", "/bind/v1/shelves/s/3", ""},
		{"GET", "/bind/v1/shelves/s/three", ""},
		{"GET", "/bind/v1/anonymous/a/b/c/d", ""},
		{"GET", "/bind/v1/typed/-1/-2/3/4/true/1.5/-2.25/aGk=/text", ""},
		{"GET", "/bind/v1/typed/1/2/3/4/maybe/1/2/aGk=/text", ""},
		{"GET", "/bind/v1/typed/99999999999/2/3/4/true/1/2/aGk=/text", ""},
		{"GET", "/bind/v1/typed/1/2/-3/4/true/1/2/aGk=/text", ""},
		{"GET", "/bind/v1/kinds/KIND_ONE/2026-01-02T03:04:05Z/9", ""},
		{"GET", "/bind/v1/kinds/2/2026-01-02T03:04:05Z/9", ""},
		{"POST", "/bind/v1/all", `{"name":"n","tags":["a"],"nested":{"name":"i","count":3}}`},
		{"POST", "/bind/v1/all", ``},
		{"POST", "/bind/v1/all", `{}`},
		{"POST", "/bind/v1/all", `{"name":1}`},
		{"POST", "/bind/v1/all", `{"name":"n"`},
		{"POST", "/bind/v1/all", `[]`},
		{"PUT", "/bind/v1/things/a", `{"name":"other","note":"n"}`},
		{"POST", "/bind/v1/field/f?note=q&tags=x", `{"name":"i","count":3}`},
		{"PUT", "/bind/v1/string/s", `"a string"`},
		{"PUT", "/bind/v1/string/s", `7`},
		{"DELETE", "/bind/v1/things/a", ""},
		{"POST", "/bind/v1/things/a:poke", `{"note":"n"}`},
		{"GET", "/bind/v1/things:count?note=n", ""},
		{"GET", "/bind/v1/response/message/m?nested.name=i", ""},
		{"GET", "/bind/v1/response/repeated/m?tags=a&tags=b", ""},
		{"POST", "/bind/v1/response/string", `{"name":"n"}`},
		{"GET", "/bind/v1/many/m", ""},
		{"POST", "/bind/v1/many", `{"name":"n"}`},
		{"PUT", "/bind/v1/many/m", `{"count":1}`},
		{"GET", "/bind/v1/many/m/field?nested.name=x", ""},
		{"GET", "/bind/v1/nothing/here", ""},
		{"POST", "/control/v1/fail", `{"code":5,"message":"not there"}`},
		{"POST", "/control/v1/fail", `{"code":16,"message":"who are you"}`},
		{"PATCH", "/bind/v1/shelves/s?mask=count", `{"count":4}`},
		{"PATCH", "/bind/v1/shelves/s?note=q&mask=count,name", `{"name":"other","count":4}`},
		{"PATCH", "/bind/v1/update/x", `{"note":"n","nested":{"count":4,"deep":{"name":"d"}},"tags":["a"],"labels":{"a":"b"},"time":"2026-01-02T03:04:05Z"}`},
		{"PATCH", "/bind/v1/update/x", `{"note":"","nested":null,"wrapped":"5","maybe":null,"number":0}`},
		{"PATCH", "/bind/v1/update/x?updateMask=note", `{"note":"n","number":"4"}`},
		{"PATCH", "/bind/v1/update/x?update_mask=note,nested.count", `{"number":"4"}`},
		{"PATCH", "/bind/v1/update/x", `{"name":"y","nested":{}}`},
		{"PATCH", "/bind/v1/update/x", `{"note":`},
		{"PUT", "/bind/v1/labels/x?note=n", `{"a":"b","c":"d"}`},
		{"PUT", "/bind/v1/tags/x", `["a","b"]`},
		{"PUT", "/bind/v1/number/x", `7`},
		{"PUT", "/bind/v1/number/x", `"seven"`},
		{"GET", "/bind/v1/file/x?note=text/csv&data=YSxi", ""},
		{"GET", "/bind/v1/file/x?note=application/json&data=eyJhIjoxfQ==", ""},
		{"GET", "/test/v1/scalars?int32_value=-5&stringValue=s&bool_value=true&bytesValue=aGk=", ""},
		{"GET", "/test/v1/repeateds?int64Values=1&int64Values=2&kinds=KIND_ONE&kinds=2&double_values=1e3", ""},
		{"GET", "/test/v1/optionals?uint32_value=0&string_value=", ""},
		{"GET", "/test/v1/empty", ""},
		{"POST", "/test/v1/struct", `{"a":[1,null,{"b":"c"}]}`},
		{"POST", "/test/v1/value", `[1,"x",null]`},
		{"POST", "/test/v1/listValue", `[1,2]`},
		{"POST", "/test/v1/timestamp", `"2026-01-02T03:04:05.000000001Z"`},
		{"POST", "/test/v1/stringValue", `"wrapped"`},
		{"POST", "/test/v1/any", `{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"}`},
		{"POST", "/test/v1/empty", `{}`},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for path, m := range map[string]proto.Message{
		"scalars": &testproto.Scalars{}, "optionals": &testproto.Optionals{}, "repeateds": &testproto.Repeateds{}, "maps": &testproto.Maps{},
		"oneofs": &testproto.Oneofs{}, "nested": &testproto.Nested{}, "recursive": &testproto.Recursive{}, "enums": &testproto.Enums{},
		"times": &testproto.Times{}, "wrappers": &testproto.Wrappers{}, "dynamics": &testproto.Dynamics{}, "names": &testproto.Names{},
	} {
		for range 20 {
			filled := m.ProtoReflect().New()
			fill(random, filled, 3)
			body, err := protojson.Marshal(filled.Interface())
			if err != nil {
				continue // a random Any, Timestamp or Value need not have a JSON form
			}
			requests = append(requests, exchange{"POST", "/test/v1/" + path, string(body)})
		}
	}
	return requests
}

func (e *exchange) send(t *testing.T, base string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, e.method, base+e.path, bytes.NewReader([]byte(e.body)))
	if err != nil {
		t.Fatal(err)
	}
	if e.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

func onlyCode(body []byte) []byte {
	var s struct{ Code int }
	if json.Unmarshal(body, &s) != nil {
		return body
	}
	return fmt.Appendf(nil, `{"code":%d}`, s.Code)
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return reflect.DeepEqual(x, y)
}

// fill gives about half the fields of a message random values.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if r.IntN(2) == 0 || fd.Message() != nil && depth == 0 {
			continue
		}
		switch {
		case fd.IsMap():
			for range r.IntN(3) {
				key := randomScalar(r, fd.MapKey()).MapKey()
				if fd.MapValue().Message() != nil {
					v := m.Mutable(fd).Map().NewValue()
					fill(r, v.Message(), depth-1)
					m.Mutable(fd).Map().Set(key, v)
				} else {
					m.Mutable(fd).Map().Set(key, randomScalar(r, fd.MapValue()))
				}
			}
		case fd.IsList():
			for range r.IntN(3) {
				if fd.Message() != nil {
					fill(r, m.Mutable(fd).List().AppendMutable().Message(), depth-1)
				} else {
					m.Mutable(fd).List().Append(randomScalar(r, fd))
				}
			}
		case fd.Message() != nil:
			fill(r, m.Mutable(fd).Message(), depth-1)
		default:
			m.Set(fd, randomScalar(r, fd))
		}
	}
}

func randomScalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(fd.Enum().Values().Get(r.IntN(fd.Enum().Values().Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()) >> r.IntN(32))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64()) >> r.IntN(64))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(r.Uint32() >> r.IntN(32))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(r.Uint64() >> r.IntN(64))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(r.NormFloat64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.NormFloat64() * 1e6)
	case protoreflect.BytesKind:
		b := make([]byte, r.IntN(9))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return protoreflect.ValueOfBytes(b)
	}
	return protoreflect.ValueOfString([]string{"", "plain", "quo\"te", "é", "\n\t", "日本", "a/b?c"}[r.IntN(7)])
}
