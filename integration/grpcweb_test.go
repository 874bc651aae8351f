package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// webCaller calls by gRPC-Web, binary or in base64, over HTTP/1.1 or HTTP/2.
func webCaller(text, two bool) func(context.Context, testing.TB, *rig.Gateway, *matrixCall) outcome {
	return func(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome {
		body := frameAll(c.wires(t)...)
		contentType := "application/grpc-web+proto"
		if text {
			contentType = "application/grpc-web-text+proto"
			body = []byte(base64.StdEncoding.EncodeToString(body))
		}
		r, err := http.NewRequestWithContext(ctx, "POST", g.URL+c.full, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return outcome{}
		}
		r.Header.Set("Content-Type", contentType)
		for i := 0; i < len(c.metadata); i += 2 {
			r.Header.Set(c.metadata[i], c.metadata[i+1])
		}
		answer, err := httpClient(t, two).Do(r)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return outcome{code: codes.Canceled}
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != contentType {
			t.Errorf("%s, %s; want 200 and %s", answer.Status, answer.Header.Get("Content-Type"), contentType)
		}
		messages, trailer, err := readWeb(answer.Body, text)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return outcome{code: codes.Canceled}
		}
		o := outcome{code: codeIn(t, trailer)}
		for _, wire := range messages {
			m := c.answer()
			if err := proto.Unmarshal(wire, m); err != nil {
				t.Error(err)
			}
			o.answers = append(o.answers, m)
		}
		return o
	}
}

// frameAll puts a prefix before each message.
func frameAll(messages ...[]byte) []byte {
	var body []byte
	for _, m := range messages {
		body = binary.BigEndian.AppendUint32(append(body, 0), uint32(len(m)))
		body = append(body, m...)
	}
	return body
}

// readFrame reads one prefix and what it stands before.
func readFrame(body io.Reader) (flags byte, payload []byte, err error) {
	var prefix [5]byte
	if _, err := io.ReadFull(body, prefix[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(prefix[1:]))
	_, err = io.ReadFull(body, payload)
	return prefix[0], payload, err
}

// readWeb reads a body of gRPC-Web to its end, which is its trailers.
func readWeb(body io.Reader, text bool) (messages [][]byte, trailer http.Header, err error) {
	if text {
		body = &padded{body: body}
	}
	for {
		flags, payload, err := readFrame(body)
		if err != nil {
			return messages, nil, err
		}
		if flags&0x80 == 0 {
			messages = append(messages, payload)
			continue
		}
		if _, _, err := readFrame(body); !errors.Is(err, io.EOF) {
			return messages, nil, errors.New("something follows the trailers")
		}
		return messages, parseTrailers(string(payload)), nil
	}
}

func parseTrailers(block string) http.Header {
	trailer := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(block, "\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name = textproto.CanonicalMIMEHeaderKey(name)
		trailer[name] = append(trailer[name], strings.TrimSpace(value))
	}
	return trailer
}

// padded decodes base64 group by group, as padding may stand anywhere.
type padded struct {
	body io.Reader
	left []byte
}

func (p *padded) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		var group [4]byte
		if _, err := io.ReadFull(p.body, group[:]); err != nil {
			return 0, err
		}
		var err error
		if p.left, err = base64.StdEncoding.AppendDecode(nil, group[:]); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

func codeIn(t testing.TB, trailer http.Header) codes.Code {
	t.Helper()
	n, err := strconv.ParseUint(trailer.Get("Grpc-Status"), 10, 32)
	if err != nil {
		t.Errorf("no status in the trailers %v", trailer)
	}
	return codes.Code(n)
}

// askWeb makes a call of gRPC-Web by HTTP/1.1 with headers in pairs.
func askWeb(t testing.TB, url string, body []byte, header ...string) (*http.Response, [][]byte, http.Header) {
	t.Helper()
	answer, text := ask(t, "POST", url, string(body), append([]string{"Content-Type", "application/grpc-web+proto"}, header...)...)
	messages, trailer, err := readWeb(strings.NewReader(text), strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc-web-text"))
	if err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return answer, messages, trailer
}

func TestGRPCWebCarriesMetadataAndDetails(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	t.Run("of a call", func(t *testing.T) {
		answer, messages, trailer := askWeb(t, g.URL+testproto.Control_Inspect_FullMethodName, frameAll(nil),
			"X-Plain", "one", "X-Raw-Bin", "AP+A", "X-Grpc-Web", "1", "X-User-Agent", "grpc-web-javascript/0.1", "Cookie", "a=b",
			"X-Test-Header-A", "header", "X-Test-Trailer-B-Bin", "AP+A", "Grpc-Timeout", "9S")
		got := new(testproto.InspectResponse)
		if len(messages) != 1 || proto.Unmarshal(messages[0], got) != nil {
			t.Fatalf("answers %v", messages)
		}
		if answer.Header.Get("X-Test-Header-A") != "header" || trailer.Get("X-Test-Trailer-B-Bin") != "AP+A" || codeIn(t, trailer) != codes.OK {
			t.Errorf("header %v, trailer %v", answer.Header, trailer)
		}
		for key, want := range map[string][]string{"x-plain": {"one"}, "x-raw-bin": {"AP+A"}, "cookie": {"a=b"}, "x-user-agent": {"grpc-web-javascript/0.1"}} {
			if v := got.GetMetadata()[key].GetValues(); !slices.Equal(v, want) {
				t.Errorf("the backend got %s %q, want %q", key, v, want)
			}
		}
		for _, key := range []string{"x-grpc-web", "accept-encoding", "content-length", "connection", "grpc-timeout"} {
			if v := got.GetMetadata()[key].GetValues(); v != nil {
				t.Errorf("the backend got %s %q, which is of the way there", key, v)
			}
		}
		if left := got.GetTimeLeft().AsDuration().Seconds(); left <= 0 || left > 9 {
			t.Errorf("the backend had %vs left, want at most 9s", left)
		}
	})
	t.Run("of a failure", func(t *testing.T) {
		wire, err := proto.Marshal(&testproto.FailRequest{Code: int32(codes.NotFound), Message: "nö"})
		if err != nil {
			t.Fatal(err)
		}
		answer, messages, trailer := askWeb(t, g.URL+testproto.Control_Fail_FullMethodName, frameAll(wire), "X-Test-Trailer-A", "trailer")
		if answer.StatusCode != 200 || len(messages) != 0 || codeIn(t, trailer) != codes.NotFound ||
			trailer.Get("Grpc-Message") != "n%C3%B6" || trailer.Get("X-Test-Trailer-A") != "trailer" || trailer["Content-Type"] != nil {
			t.Errorf("%s, %v, trailer %v", answer.Status, messages, trailer)
		}
	})
}

func TestGRPCWebAnswersInWhatAcceptNames(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for _, c := range []struct{ sent, accept, want string }{
		{"application/grpc-web", "*/*", "application/grpc-web"},
		{"application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"},
		{"application/grpc-web-text", "application/grpc-web", "application/grpc-web"},
		{"application/grpc-web-text+proto", "", "application/grpc-web-text+proto"},
	} {
		body := frameAll(nil)
		if strings.Contains(c.sent, "text") {
			body = []byte(base64.StdEncoding.EncodeToString(body))
		}
		answer, messages, trailer := askWeb(t, g.URL+testproto.Bindings_PostAll_FullMethodName, body, "Content-Type", c.sent, "Accept", c.accept)
		if answer.Header.Get("Content-Type") != c.want || len(messages) != 1 || codeIn(t, trailer) != codes.OK {
			t.Errorf("%s with Accept %q: %s, %d messages, %v", c.sent, c.accept, answer.Header.Get("Content-Type"), len(messages), trailer)
		}
	}
}

func TestGRPCWebBadInput(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for name, c := range map[string]struct {
		path, contentType string
		body              []byte
		timeout           string
		want              codes.Code
	}{
		"text that is not base64":    {testproto.Bindings_PostAll_FullMethodName, "application/grpc-web-text", []byte("****"), "", codes.InvalidArgument},
		"text that ends early":       {testproto.Bindings_PostAll_FullMethodName, "application/grpc-web-text", []byte("AAA"), "", codes.InvalidArgument},
		"a body that is cut off":     {testproto.Bindings_PostAll_FullMethodName, "application/grpc-web", frameAll([]byte("abc"))[:6], "", codes.InvalidArgument},
		"trailers of the client's":   {testproto.Bindings_PostAll_FullMethodName, "application/grpc-web", []byte{0x80, 0, 0, 0, 0}, "", codes.InvalidArgument},
		"a timeout that is none":     {testproto.Bindings_PostAll_FullMethodName, "application/grpc-web", frameAll(nil), "soon", codes.InvalidArgument},
		"a method that is not there": {"/crossgate.test.v1.Control/Missing", "application/grpc-web", frameAll(nil), "", codes.Unimplemented},
		"the path of a REST binding": {"/bind/v1/all", "application/grpc-web+proto", frameAll(nil), "", codes.Unimplemented},
		"text, of no service at all": {"/other.v1.Service/Method", "application/grpc-web-text", nil, "", codes.Unimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{"Content-Type", c.contentType}
			if c.timeout != "" {
				header = append(header, "Grpc-Timeout", c.timeout)
			}
			answer, messages, trailer := askWeb(t, g.URL+c.path, c.body, header...)
			if answer.StatusCode != 200 || len(messages) != 0 || codeIn(t, trailer) != c.want || trailer.Get("Grpc-Message") == "" {
				t.Errorf("%s, %d messages, trailer %v; want code %v", answer.Status, len(messages), trailer, c.want)
			}
		})
	}
}
