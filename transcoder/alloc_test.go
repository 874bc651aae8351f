package transcoder

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/upstream"
)

// still is a backend that answers at once with the bytes it was sent, and a codec that moves bytes as they are: what
// remains is the cost of Serve itself.
type still struct{}

func (still) Invoke(_ context.Context, call *upstream.Call, reply *upstream.Reply) error {
	reply.SetBytes(call.Request)
	return nil
}

func (still) NewStream(context.Context, *grpc.StreamDesc, string) (grpc.ClientStream, error) {
	return nil, errors.New("no streams")
}

func (still) CompileRequest(protoreflect.MessageDescriptor, string, codec.Options) (codec.Request, error) {
	return still{}, nil
}

func (still) CompileResponse(protoreflect.MessageDescriptor, string, codec.Options) (codec.Response, error) {
	return still{}, nil
}

func (still) AppendWire(dst, body []byte, _ []codec.Param) ([]byte, error) {
	return append(dst, body...), nil
}

func (still) AppendJSON(dst, wire []byte) ([]byte, error) { return append(dst, wire...), nil }

type sink struct{ header http.Header }

func (w *sink) Header() http.Header         { return w.header }
func (w *sink) Write(p []byte) (int, error) { return len(p), nil }
func (w *sink) WriteHeader(int)             {}

type bodyReader struct{ strings.Reader }

func (*bodyReader) Close() error { return nil }

// serving returns a function that serves one request of a method, as a server would.
func serving(t testing.TB, m *Method, rawQuery, body string, vars routing.Vars) func() {
	t.Helper()
	reader := new(bodyReader)
	r := (&http.Request{
		Method: "POST", URL: &url.URL{Path: "/", RawQuery: rawQuery}, Host: "api.example.com", RemoteAddr: "192.0.2.1:1234",
		Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"curl/8"}, "X-Request-Id": {"r"}, "Traceparent": {"00-1-2-01"}},
		Body:   reader, ContentLength: int64(len(body)),
	}).WithContext(context.Background())
	w := &sink{header: http.Header{}}
	return func() {
		reader.Reset(body)
		clear(w.header)
		m.Serve(w, r, vars)
	}
}

func TestServeAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	all := methods(t)
	o := Options{Backend: still{}, Codec: still{}}
	for _, c := range []struct {
		name, method   string
		rawQuery, body string
		vars           routing.Vars
		most           float64
	}{
		{"a body", "Echo", "", `{"title":"a"}`, nil, 4},
		{"path and query", "Get", "deep=true&page_size=7", "", routing.Vars{{Name: "name", Value: "shelves/1/items/2"}}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Compile(all[c.method], all[c.method].Bindings[0], o)
			if err != nil {
				t.Fatal(err)
			}
			serve := serving(t, m, c.rawQuery, c.body, c.vars)
			if n := testing.AllocsPerRun(200, serve); n > c.most {
				t.Errorf("%v allocations, want at most %v", n, c.most)
			} else {
				t.Logf("%v allocations", n)
			}
		})
	}
}

// BenchmarkServe measures a unary call without network: "still" without codec, "reference" with it.
func BenchmarkServe(b *testing.B) {
	all := methods(b)
	const body = `{"title":"a title","count":42,"big":"9007199254740993","kind":"BOOK","tags":["x","y"],"owner":{"id":"u-1","displayName":"Ada"}}`
	for name, c := range map[string]codec.Codec{"still": still{}, "reference": codec.Reference} {
		b.Run(name, func(b *testing.B) {
			m, err := Compile(all["Echo"], all["Echo"].Bindings[0], Options{Backend: still{}, Codec: c})
			if err != nil {
				b.Fatal(err)
			}
			serve := serving(b, m, "", body, nil)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}
