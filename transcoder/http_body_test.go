package transcoder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// serveFiles has the methods whose bodies are google.api.HttpBody.
func (s *shop) serveFiles() {
	s.files = map[protoreflect.Name]func(protoreflect.MethodDescriptor, grpc.ServerStream) error{
		"PutFile": echoOnce, "Raw": echoOnce, "Fetch": fetch, "Push": s.push, "Pipe": pipe,
	}
}

func echoOnce(md protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	m := dynamicpb.NewMessage(md.Input())
	if err := stream.RecvMsg(m); err != nil {
		return err
	}
	return stream.SendMsg(m)
}

// fetch sends page_size pieces of 32 KiB, or fails after them.
func fetch(md protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	request := dynamicpb.NewMessage(md.Input())
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	field := func(name protoreflect.Name) protoreflect.Value { return request.Get(md.Input().Fields().ByName(name)) }
	piece := &httpbody.HttpBody{ContentType: field("parent").String(), Data: bytes.Repeat([]byte("0123456789abcdef"), 2048)}
	for range field("page_size").Int() {
		if err := stream.SendMsg(piece); err != nil {
			return err
		}
		piece.ContentType = "text/ignored"
	}
	switch field("name").String() {
	case "fail":
		return status.Error(codes.DataLoss, "the rest is gone")
	case "empty":
		return stream.SendMsg(&httpbody.HttpBody{ContentType: "text/empty"})
	}
	return nil
}

// push answers with what it was sent: each distinct name and media type, the number of bytes and their digest.
func (s *shop) push(md protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	var names, kinds []string
	digest, n, largest := sha256.New(), 0, 0
	for {
		m := dynamicpb.NewMessage(md.Input())
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			answer := dynamicpb.NewMessage(md.Output())
			text := fmt.Sprintf("%v %v %d %x", names, kinds, n, digest.Sum(nil))
			if largest > rawChunk {
				text += fmt.Sprintf(" a piece of %d bytes", largest)
			}
			answer.Set(md.Output().Fields().ByName("request"), protoreflect.ValueOfString(text))
			return stream.SendMsg(answer)
		}
		if err != nil {
			return err
		}
		if name := m.Get(md.Input().Fields().ByName("name")).String(); name != "" {
			names = append(names, name)
		}
		content := new(httpbody.HttpBody)
		wire, err := proto.Marshal(m.Get(md.Input().Fields().ByName("content")).Message().Interface())
		if err == nil {
			err = proto.Unmarshal(wire, content)
		}
		if err != nil {
			return err
		}
		if content.ContentType != "" {
			kinds = append(kinds, content.ContentType)
		}
		digest.Write(content.Data)
		n += len(content.Data)
		largest = max(largest, len(content.Data))
	}
}

// pipe sends each piece back, in the field content.
func pipe(md protoreflect.MethodDescriptor, stream grpc.ServerStream) error {
	for {
		in := dynamicpb.NewMessage(md.Input())
		if err := stream.RecvMsg(in); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		out := dynamicpb.NewMessage(md.Output())
		out.Set(md.Output().Fields().ByName("content"), protoreflect.ValueOfMessage(in))
		if err := stream.SendMsg(out); err != nil {
			return err
		}
	}
}

func TestAnHTTPBodyGoesBothWaysAsItIs(t *testing.T) {
	s := startShop(t, nil)
	for _, c := range []struct{ name, line, body, contentType, wantType string }{
		{"a whole request", "POST /v1/raw", "\x00\xff<html>", "text/html; charset=latin1", "text/html; charset=latin1"},
		{"a field of the request", "PUT /v1/files/a", "\x89PNG", "image/png", "image/png"},
		{"JSON is a body like any other", "POST /v1/raw", `{"contentType":"x"`, "application/json", "application/json"},
		{"a form too", "POST /v1/raw", "a=b", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded"},
		{"an empty body", "PUT /v1/files/a", "", "text/plain", "text/plain"},
		{"a body that does not say what it is", "POST /v1/raw", "x", "", "application/octet-stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := s.do(c.line, c.body, "Content-Type", c.contentType)
			if answer.StatusCode != http.StatusOK || text != c.body || answer.Header.Get("Content-Type") != c.wantType || answer.Header.Get("X-Tenant")+answer.Header.Get("Grpc-Metadata-X-Tenant") != "acme" {
				t.Errorf("status %d, %v: %q", answer.StatusCode, answer.Header, text)
			}
		})
	}
	t.Run("a message that is not the body is JSON", func(t *testing.T) {
		_, text := s.do("POST /v1/files/a", `{"note":"n","content":{"contentType":"text/plain","data":"aGk="}}`)
		sameJSON(t, text, `{"name":"a","note":"n","content":{"contentType":"text/plain","data":"aGk="}}`)
		_, text = s.do("PUT /v1/files/a/more", `[{"data":"aGk="}]`)
		sameJSON(t, text, `{"name":"a","more":[{"data":"aGk="}]}`)
	})
	t.Run("and at the method's own path", func(t *testing.T) {
		_, text := s.do("POST /shop.Shop/Raw", `{"contentType":"text/plain","data":"aGk="}`)
		sameJSON(t, text, `{"contentType":"text/plain","data":"aGk="}`)
	})
	t.Run("a query besides it", func(t *testing.T) {
		if answer, text := s.do("PUT /v1/files/a?note=n", "x", "Content-Type", "text/plain"); answer.StatusCode != http.StatusOK || text != "x" {
			t.Errorf("status %d: %s", answer.StatusCode, text)
		}
		if answer, text := s.do("PUT /v1/files/a?content.data=aGk=", "x"); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("a field of the body: status %d: %s", answer.StatusCode, text)
		}
	})
	t.Run("a long body", func(t *testing.T) {
		long := strings.Repeat("0123456789", 100_000)
		if answer, text := s.do("POST /v1/raw", long, "Content-Type", "text/plain"); text != long || answer.ContentLength != int64(len(long)) {
			t.Errorf("%d bytes, declared %d", len(text), answer.ContentLength)
		}
	})
}

func TestAnHTTPBodyRefused(t *testing.T) {
	s := startShop(t, func(o *Options) { o.MaxBodySize = 1000 })
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
	}{
		{"too large", strings.Repeat("x", 1001), nil, http.StatusRequestEntityTooLarge},
		{"compressed", "x", []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType},
		{"a media type that gRPC cannot carry", "x", []string{"Content-Type", "text/\xff"}, http.StatusUnsupportedMediaType},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := s.calls.Load()
			if answer, text := s.do("POST /v1/raw", c.body, c.header...); answer.StatusCode != c.status || s.calls.Load() != calls {
				t.Errorf("status %d: %s", answer.StatusCode, text)
			}
		})
	}
}

func TestAStreamOfHTTPBodiesIsOneBody(t *testing.T) {
	s := startShop(t, nil)
	for _, c := range []struct {
		name, line string
		status     int
		size       int
		wantType   string
	}{
		{"many pieces", "GET /v1/fetch?page_size=7&parent=video/mp4", 200, 7 * 32 << 10, "video/mp4"},
		{"a client that asks for events", "GET /v1/fetch?page_size=2&parent=video/mp4", 200, 2 * 32 << 10, "video/mp4"},
		{"no media type", "GET /v1/fetch?page_size=1", 200, 32 << 10, "application/octet-stream"},
		{"no pieces", "GET /v1/fetch", 200, 0, "application/octet-stream"},
		{"an empty piece", "GET /v1/fetch?name=empty", 200, 0, "text/empty"},
		{"an error before the first piece", "GET /v1/fetch?name=fail", 500, -1, "application/json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, text := s.do(c.line, "", "Accept", "text/event-stream, */*")
			if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != c.wantType || c.size >= 0 && len(text) != c.size {
				t.Errorf("status %d, %v, %d bytes: %.100s", answer.StatusCode, answer.Header, len(text), text)
			}
		})
	}
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("an error after the first piece breaks the connection, HTTP/2 %v", two), func(t *testing.T) {
			answer, err := testClient(t, two).Get(s.gateway.URL + "/v1/fetch?page_size=3&name=fail")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if n, err := io.Copy(io.Discard, answer.Body); err == nil {
				t.Errorf("%d bytes look like a whole body", n)
			}
		})
	}
}

func TestAnUploadIsStreamedInPieces(t *testing.T) {
	s := startShop(t, func(o *Options) { o.MaxBodySize = 100_000 })
	push := func(t *testing.T, body io.Reader) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", s.gateway.URL+"/v1/push/big.bin", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-tar")
		answer, err := testClient(t, false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var seen struct{ Request string }
		if err := json.NewDecoder(answer.Body).Decode(&seen); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %v", answer.StatusCode, err)
		}
		return seen.Request
	}
	t.Run("with the name and the media type in the first", func(t *testing.T) {
		for _, size := range []int{0, 1, rawChunk, 1_000_000} {
			body := bytes.Repeat([]byte("x"), size)
			want := fmt.Sprintf("[big.bin] [application/x-tar] %d %x", size, sha256.Sum256(body))
			if got := push(t, bytes.NewReader(body)); got != want {
				t.Errorf("%d bytes: got %s, want %s", size, got, want)
			}
		}
	})
	t.Run("as they come", func(t *testing.T) {
		reader, writer := io.Pipe()
		r, err := http.NewRequest("POST", s.gateway.URL+"/v1/pipe", reader)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/x-talk")
		go func() { _, _ = io.WriteString(writer, "hello") }()
		answer, err := testClient(t, true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		got := make([]byte, 5)
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "hello" || answer.Header.Get("Content-Type") != "text/x-talk" {
			t.Errorf("%q, %v, %v", got, err, answer.Header)
		}
		writer.Close()
		if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// endless is n bytes that nobody holds.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := int(min(e.n, int64(len(p))))
	e.n -= int64(n)
	return n, nil
}

func TestUploadsAndDownloadsTakeTheSameMemoryWhateverTheirSize(t *testing.T) {
	const size = 128 << 20
	s := startShop(t, func(o *Options) { o.MaxBodySize = 1 << 20 })
	c := testClient(t, false)
	most := watchHeap(t)
	answer, err := c.Post(s.gateway.URL+"/v1/push/big.bin", "application/x-tar", &endless{size})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if want := fmt.Sprintf(" %d ", size); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%v: %.300s", err, text)
	}
	if answer, err = c.Get(s.gateway.URL + fmt.Sprintf("/v1/fetch?page_size=%d", size>>15)); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if grown := most(); grown > size/2 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

// watchHeap returns a function that says by how much the heap, of backend and client too, has grown at the most.
func watchHeap(t *testing.T) func() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // until the returned function is called, or the test is over
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-stop:
				return
			case <-t.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return most - min(most, before)
	}
}

func TestAVariableInsideARawBodyIsRefused(t *testing.T) {
	m := methods(t)["PutFile"]
	b := m.Bindings[0]
	b.Template = "/v1/files/{content.content_type}"
	if _, err := Compile(m, b, Options{}); err == nil || !strings.Contains(err.Error(), "is a field of the body") {
		t.Errorf("error %v", err)
	}
}
