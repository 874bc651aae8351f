package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
	"github.com/crossgate/crossgate/transcoder"
)

// connectError is an error as Connect writes it.
type connectError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"details"`
}

func (e *connectError) code(t testing.TB) codes.Code {
	t.Helper()
	if e == nil {
		return codes.OK
	}
	code, known := transcoder.CodeOfConnect(e.Code)
	if !known {
		t.Errorf("%q is no code of Connect", e.Code)
	}
	return code
}

// connectCaller calls by Connect: a unary method by a body each way, others by envelopes.
func connectCaller(codec string, two bool) func(context.Context, testing.TB, *rig.Gateway, *matrixCall) outcome {
	return func(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome {
		messages := c.wires(t)
		if codec == "json" {
			messages = nil
			for _, m := range c.requests {
				messages = append(messages, jsonOf(t, m))
			}
			if c.broken {
				messages = append(messages, []byte(`{"`))
			}
		}
		stream := c.client || c.server
		body, contentType := messages[0], "application/"+codec
		if stream {
			body, contentType = frameAll(messages...), "application/connect+"+codec
		}
		r, err := http.NewRequestWithContext(ctx, "POST", g.URL+c.full, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return outcome{}
		}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Connect-Protocol-Version", "1")
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
		var o outcome
		var failure *connectError
		if stream {
			messages, failure, _, err = readConnect(answer.Body)
		} else {
			messages, failure, err = readConnectUnary(answer)
		}
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return outcome{code: codes.Canceled}
		}
		if want := contentType; (stream || failure == nil) && answer.Header.Get("Content-Type") != want {
			t.Errorf("%s, %s; want %s", answer.Status, answer.Header.Get("Content-Type"), want)
		}
		o.code = failure.code(t)
		for _, payload := range messages {
			m := c.answer()
			if codec == "json" {
				err = protojson.Unmarshal(payload, m)
			} else {
				err = proto.Unmarshal(payload, m)
			}
			if err != nil {
				t.Error(err)
			}
			o.answers = append(o.answers, m)
		}
		return o
	}
}

func readConnectUnary(answer *http.Response) ([][]byte, *connectError, error) {
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode == http.StatusOK {
		return [][]byte{body}, nil, err
	}
	failure := new(connectError)
	if err := json.Unmarshal(body, failure); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", answer.Status, err, body)
	}
	if code, _ := transcoder.CodeOfConnect(failure.Code); answer.StatusCode != transcoder.HTTPStatus(code) {
		return nil, nil, fmt.Errorf("%s for %s", answer.Status, failure.Code)
	}
	return nil, failure, nil
}

// readConnect reads a stream to its end, which is an envelope of its own.
func readConnect(body io.Reader) (messages [][]byte, failure *connectError, trailer map[string][]string, err error) {
	for {
		flags, payload, err := readFrame(body)
		if err != nil {
			return messages, nil, nil, err
		}
		if flags&2 == 0 {
			if flags&1 != 0 {
				if payload, err = gunzip(payload); err != nil {
					return messages, nil, nil, err
				}
			}
			messages = append(messages, payload)
			continue
		}
		var end struct {
			Error    *connectError       `json:"error"`
			Metadata map[string][]string `json:"metadata"`
		}
		if err := json.Unmarshal(payload, &end); err != nil {
			return messages, nil, nil, fmt.Errorf("%w: %s", err, payload)
		}
		if _, _, err := readFrame(body); !errors.Is(err, io.EOF) {
			return messages, nil, nil, errors.New("something follows the end")
		}
		return messages, end.Error, end.Metadata, nil
	}
}

func gzipped(text []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// connectRoute starts a gateway before a test server.
func connectRoute(t testing.TB, keys string) *rig.Gateway {
	t.Helper()
	return oneRoute(t, testserver.Start(t).Address, "", keys)
}

func TestConnectUnaryCarriesMetadataBothWays(t *testing.T) {
	g := connectRoute(t, "")
	answer, body := ask(t, "POST", g.URL+testproto.Control_Inspect_FullMethodName, "{}", "Connect-Protocol-Version", "1", "Connect-Timeout-Ms", "9000",
		"X-Plain", "one", "X-Raw-Bin", "AP+A", "X-Test-Header-A", "header", "X-Test-Trailer-B-Bin", "AP+A")
	got := new(testproto.InspectResponse)
	if err := protojson.Unmarshal([]byte(body), got); err != nil {
		t.Fatalf("%s: %v: %s", answer.Status, err, body)
	}
	if answer.Header.Get("X-Test-Header-A") != "header" || answer.Header.Get("Trailer-X-Test-Trailer-B-Bin") != "AP+A" || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", answer.Header)
	}
	for key, want := range map[string][]string{"x-plain": {"one"}, "x-raw-bin": {"AP+A"}} {
		if v := got.GetMetadata()[key].GetValues(); !slices.Equal(v, want) {
			t.Errorf("the backend got %s %q, want %q", key, v, want)
		}
	}
	for key, v := range got.GetMetadata() {
		if strings.HasPrefix(key, "connect-") || strings.HasPrefix(key, "accept") || key == "content-length" {
			t.Errorf("the backend got %s %q, which is of the way there", key, v)
		}
	}
	if left := got.GetTimeLeft().AsDuration().Seconds(); left <= 0 || left > 9 {
		t.Errorf("the backend had %vs left, want at most 9s", left)
	}
	for name := range answer.Header {
		if strings.HasPrefix(name, "Grpc-") || strings.HasPrefix(name, "Trailer-Grpc-") {
			t.Errorf("the client got %s", name)
		}
	}
}

func TestConnectErrorsHaveTheirDetailsAndTrailers(t *testing.T) {
	g := connectRoute(t, "")
	violation := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "name", Description: "too long"}}}
	detail, err := anypb.New(violation)
	if err != nil {
		t.Fatal(err)
	}
	fail := jsonOf(t, &testproto.FailRequest{Code: int32(codes.FailedPrecondition), Message: "100% wröng", Details: []*anypb.Any{detail}})
	check := func(t *testing.T, failure *connectError) {
		t.Helper()
		if failure == nil || failure.Code != "failed_precondition" || failure.Message != "100% wröng" || len(failure.Details) != 1 {
			t.Fatalf("error %+v", failure)
		}
		got := new(errdetails.BadRequest)
		raw, err := base64.RawStdEncoding.DecodeString(failure.Details[0].Value)
		if err != nil || proto.Unmarshal(raw, got) != nil || !proto.Equal(got, violation) || failure.Details[0].Type != "google.rpc.BadRequest" {
			t.Errorf("detail %+v, %v", failure.Details[0], err)
		}
	}
	t.Run("unary", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+testproto.Control_Fail_FullMethodName, string(fail), "Connect-Protocol-Version", "1", "X-Test-Trailer-A", "t")
		failure := new(connectError)
		if err := json.Unmarshal([]byte(body), failure); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		check(t, failure)
		if answer.StatusCode != 400 || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Trailer-X-Test-Trailer-A") != "t" {
			t.Errorf("%s, header %v", answer.Status, answer.Header)
		}
	})
	t.Run("a plain call of the same method gets a google.rpc.Status", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+testproto.Control_Fail_FullMethodName, string(fail))
		wantStatus(t, answer, body, 400, codes.FailedPrecondition)
	})
	t.Run("stream", func(t *testing.T) {
		wire, err := proto.Marshal(&testproto.CountRequest{N: 1, Fail: int32(codes.Aborted)})
		if err != nil {
			t.Fatal(err)
		}
		answer, body := ask(t, "POST", g.URL+testproto.Streams_Count_FullMethodName, string(frameAll(wire)),
			"Content-Type", "application/connect+proto", "X-Test-Header-A", "h", "X-Test-Trailer-A", "t")
		messages, failure, trailer, err := readConnect(strings.NewReader(body))
		if err != nil || len(messages) != 1 || failure == nil || failure.Code != "aborted" || failure.Message != "after 1 messages" {
			t.Fatalf("%v, %d messages, %+v", err, len(messages), failure)
		}
		if answer.Header.Get("X-Test-Header-A") != "h" || !slices.Equal(trailer["x-test-trailer-a"], []string{"t"}) || len(trailer) != 1 {
			t.Errorf("header %v, trailer %v", answer.Header, trailer)
		}
	})
}

func TestConnectGetServesMethodsWithoutSideEffects(t *testing.T) {
	g := connectRoute(t, "")
	path := testproto.Control_Inspect_FullMethodName
	for name, c := range map[string]struct {
		query  string
		header []string
		status int
		says   string
	}{
		"in JSON":                  {"connect=v1&encoding=json&message=%7B%7D", nil, 200, `"timeLeft"`},
		"without connect":          {"encoding=json&message=%7B%7D", nil, 200, `"timeLeft"`},
		"in base64":                {"connect=v1&encoding=json&base64=1&message=" + base64.URLEncoding.EncodeToString([]byte(" {} ")), nil, 200, `"timeLeft"`},
		"without padding":          {"connect=v1&encoding=json&base64=1&message=" + base64.RawURLEncoding.EncodeToString([]byte(" {} ")), nil, 200, `"timeLeft"`},
		"compressed":               {"connect=v1&encoding=json&base64=1&compression=gzip&message=" + base64.RawURLEncoding.EncodeToString(gzipped([]byte("{}"))), nil, 200, `"timeLeft"`},
		"in proto":                 {"connect=v1&encoding=proto&message=", nil, 200, ""},
		"in proto, compressed":     {"connect=v1&encoding=proto&base64=1&compression=gzip&message=" + base64.RawURLEncoding.EncodeToString(gzipped(nil)), nil, 200, ""},
		"with a timeout":           {"connect=v1&encoding=json&message=%7B%7D", []string{"Connect-Timeout-Ms", "0"}, 504, `"deadline_exceeded"`},
		"no message":               {"connect=v1&encoding=json", nil, 400, `"invalid_argument"`},
		"two messages":             {"connect=v1&encoding=json&message=%7B%7D&message=%7B%7D", nil, 400, `"invalid_argument"`},
		"no encoding":              {"connect=v1&message=%7B%7D", nil, 400, `"invalid_argument"`},
		"another version":          {"connect=v2&encoding=json&message=%7B%7D", nil, 400, `"invalid_argument"`},
		"another encoding":         {"connect=v1&encoding=xml&message=%7B%7D", nil, 415, `"unknown"`},
		"another compression":      {"connect=v1&encoding=json&compression=br&message=%7B%7D", nil, 501, `"unimplemented"`},
		"no base64":                {"connect=v1&encoding=json&base64=1&message=*", nil, 400, `"invalid_argument"`},
		"a broken escape":          {"connect=v1&encoding=json&message=%zz", nil, 400, `"invalid_argument"`},
		"a message that is broken": {"connect=v1&encoding=json&message=%7B", nil, 400, `"invalid_argument"`},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := ask(t, "GET", g.URL+path+"?"+c.query, "", c.header...)
			if answer.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%s: %s; want %d and %s", answer.Status, body, c.status, c.says)
			}
		})
	}
	t.Run("a method with side effects", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+testproto.Control_Fail_FullMethodName+"?connect=v1&encoding=json&message=%7B%7D", "")
		if answer.StatusCode != 405 || answer.Header.Get("Allow") != "POST" || !strings.Contains(body, `"unknown"`) {
			t.Errorf("%s, Allow %q: %s", answer.Status, answer.Header.Get("Allow"), body)
		}
	})
}

func TestConnectGetAnswersCanBeCached(t *testing.T) {
	g := connectRoute(t, "")
	url := g.URL + testproto.Control_Inspect_FullMethodName + "?connect=v1&encoding=json&message=" + url.QueryEscape("{}")
	for _, c := range []struct {
		name, match string
		status      int
	}{
		{"at first", "", 200},
		{"unchanged", `"one"`, 304},
		{"unchanged, weakly", `"zero", W/"one"`, 304},
		{"whatever it is", `*`, 304},
		{"changed", `"two"`, 200},
	} {
		header := []string{"X-Test-Return-Etag", `"one"`, "X-Test-Return-Cache-Control", "max-age=60", "X-Test-Return-Vary", "X-Tenant"}
		if c.match != "" {
			header = append(header, "If-None-Match", c.match)
		}
		answer, body := ask(t, "GET", url, "", header...)
		if answer.StatusCode != c.status || (body == "") != (c.status == 304) {
			t.Errorf("%s: %s: %s", c.name, answer.Status, body)
		}
		if answer.Header.Get("Etag") != `"one"` || answer.Header.Get("Cache-Control") != "max-age=60" || !slices.Equal(answer.Header["Vary"], []string{"X-Tenant", "Accept-Encoding"}) {
			t.Errorf("%s: header %v", c.name, answer.Header)
		}
	}
}

func TestConnectCompression(t *testing.T) {
	g := connectRoute(t, "")
	path := g.URL + testproto.Bindings_PostAll_FullMethodName
	want := &testproto.Bound{Note: strings.Repeat("compressible ", 1000)}
	wire, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []string{"proto", "json"} {
		for _, accept := range []string{"gzip", "br, gzip;q=0.5", "gzip;q=0, identity", "identity"} {
			t.Run(codec+" accepting "+accept, func(t *testing.T) {
				body := wire
				if codec == "json" {
					body = jsonOf(t, want)
				}
				answer, text := ask(t, "POST", path, string(gzipped(body)), "Content-Type", "application/"+codec, "Connect-Protocol-Version", "1",
					"Content-Encoding", "gzip", "Accept-Encoding", accept)
				raw := []byte(text)
				takes := strings.Contains(accept, "gzip") && !strings.Contains(accept, "q=0,")
				if encoding := answer.Header.Get("Content-Encoding"); encoding == "gzip" {
					if !takes {
						t.Error("the answer is compressed, which was not asked for")
					}
					if raw, err = gunzip(raw); err != nil {
						t.Fatal(err)
					}
				} else if takes {
					t.Errorf("the answer has the encoding %q", encoding)
				}
				got := new(testproto.Bound)
				if codec == "json" {
					err = protojson.Unmarshal(raw, got)
				} else {
					err = proto.Unmarshal(raw, got)
				}
				if err != nil || !proto.Equal(got, want) {
					t.Errorf("%s, %v: %.100s", answer.Status, err, text)
				}
			})
		}
	}
	t.Run("of a stream in JSON", func(t *testing.T) {
		request := gzipped(jsonOf(t, &testproto.TalkMessage{Text: strings.Repeat("a", 5000)}))
		body := append([]byte{1, 0, 0, byte(len(request) >> 8), byte(len(request))}, request...)
		answer, text := ask(t, "POST", g.URL+testproto.Streams_Talk_FullMethodName, string(body), "Content-Type", "application/connect+json",
			"Connect-Content-Encoding", "gzip", "Connect-Accept-Encoding", "gzip")
		if len(text) > 1000 || answer.Header.Get("Connect-Content-Encoding") != "gzip" {
			t.Errorf("%d bytes, header %v", len(text), answer.Header)
		}
		messages, failure, _, err := readConnect(strings.NewReader(text))
		if err != nil || failure != nil || len(messages) != 1 || !strings.Contains(string(messages[0]), "aaaaa") {
			t.Errorf("%v, %+v, %q", err, failure, messages)
		}
	})
	t.Run("that unpacks to more than the route takes", func(t *testing.T) {
		g := connectRoute(t, "max_body_size: 1KiB")
		bomb := gzipped([]byte(`{"note":"` + strings.Repeat("x", 1<<20) + `"}`))
		if len(bomb) > 2000 {
			t.Fatal("the bomb is too large")
		}
		bomb = gzipped(bytes.Repeat([]byte(" "), 100<<10))
		answer, body := ask(t, "POST", g.URL+testproto.Bindings_PostAll_FullMethodName, string(bomb), "Connect-Protocol-Version", "1", "Content-Encoding", "gzip")
		if answer.StatusCode != 429 || !strings.Contains(body, "resource_exhausted") {
			t.Errorf("%s: %s", answer.Status, body)
		}
	})
}

func TestConnectBadInput(t *testing.T) {
	g := connectRoute(t, "")
	unary, stream := testproto.Bindings_PostAll_FullMethodName, testproto.Streams_Talk_FullMethodName
	for name, c := range map[string]struct {
		path, contentType, body string
		header                  []string
		status                  int
		code                    string
	}{
		"broken JSON names the field":          {unary, "application/json", `{"nested":{"count":"many"}}`, nil, 400, `"code":"invalid_argument","message":"nested.count`},
		"another version":                      {unary, "application/json", `{}`, []string{"Connect-Protocol-Version", "2"}, 400, "invalid_argument"},
		"a timeout that is none":               {unary, "application/proto", ``, []string{"Connect-Timeout-Ms", "soon"}, 400, "invalid_argument"},
		"a timeout of too many digits":         {unary, "application/proto", ``, []string{"Connect-Timeout-Ms", "12345678901"}, 400, "invalid_argument"},
		"an encoding that nobody has":          {unary, "application/json", `{}`, []string{"Content-Encoding", "br"}, 501, "unimplemented"},
		"an encoding the backend has not":      {unary, "application/proto", `xx`, []string{"Content-Encoding", "br"}, 501, "unimplemented"},
		"no gzip":                              {unary, "application/json", `{}`, []string{"Content-Encoding", "gzip"}, 400, "invalid_argument"},
		"a unary call of a stream":             {stream, "application/proto", ``, nil, 415, "unknown"},
		"a stream of a unary method":           {unary, "application/connect+proto", ``, nil, 415, "unknown"},
		"another codec of a stream":            {stream, "application/connect+xml", ``, nil, 415, "unknown"},
		"a method that is not there":           {"/crossgate.test.v1.Control/Missing", "application/proto", ``, nil, 404, "unimplemented"},
		"a stream of one":                      {"/crossgate.test.v1.Control/Missing", "application/connect+proto", ``, nil, 200, "unimplemented"},
		"a stream cut off within a prefix":     {stream, "application/connect+json", "\x00\x00", nil, 200, "invalid_argument"},
		"a stream cut off within a message":    {stream, "application/connect+json", "\x00\x00\x00\x00\x05{}", nil, 200, "invalid_argument"},
		"a proto stream cut off":               {stream, "application/connect+proto", "\x00\x00\x00\x00\x05{}", nil, 200, "invalid_argument"},
		"an end of the client's":               {stream, "application/connect+json", "\x02\x00\x00\x00\x02{}", nil, 200, "invalid_argument"},
		"a proto end of the client's":          {stream, "application/connect+proto", "\x02\x00\x00\x00\x00", nil, 200, "invalid_argument"},
		"compression that no header tells of":  {stream, "application/connect+json", "\x01\x00\x00\x00\x02{}", nil, 200, "internal"},
		"compression that is not known":        {stream, "application/connect+json", "\x01\x00\x00\x00\x02{}", []string{"Connect-Content-Encoding", "br"}, 200, "unimplemented"},
		"a field of a stream that is not JSON": {stream, "application/connect+json", "\x00\x00\x00\x00\x0a{\"text\":1}", nil, 200, `"message":"text: `},
		"a timeout of a stream that is none":   {stream, "application/connect+json", "", []string{"Connect-Timeout-Ms", "-1"}, 200, "invalid_argument"},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{"Content-Type", c.contentType, "Connect-Protocol-Version", "1"}, c.header...)
			answer, body := ask(t, "POST", g.URL+c.path, c.body, header...)
			if answer.StatusCode != c.status || !strings.Contains(body, c.code) {
				t.Errorf("%s: %s; want %d and %s", answer.Status, body, c.status, c.code)
			}
			if c.status == 415 && !strings.HasPrefix(answer.Header.Get("Accept-Post"), "application/") {
				t.Errorf("Accept-Post %q", answer.Header.Get("Accept-Post"))
			}
		})
	}
}

func TestConnectNeedsDescriptorsForJSONOnly(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
routes:
  - {name: test, grpc: {upstream: test, services: [crossgate.test.v1.Bindings, crossgate.test.v1.Streams]}}
`, backend.Address))
	wire, err := proto.Marshal(&testproto.Bound{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	path := g.URL + testproto.Bindings_PostAll_FullMethodName
	if answer, body := ask(t, "POST", path, string(wire), "Content-Type", "application/proto"); answer.StatusCode != 200 || body != string(wire) {
		t.Errorf("proto: %s: %q", answer.Status, body)
	}
	if answer, body := ask(t, "POST", path, "{}", "Connect-Protocol-Version", "1"); answer.StatusCode != 503 || !strings.Contains(body, `"unavailable"`) {
		t.Errorf("JSON: %s: %s", answer.Status, body)
	}
	_, body := ask(t, "POST", g.URL+testproto.Streams_Talk_FullMethodName, string(frameAll([]byte("\x0a\x01a"))), "Content-Type", "application/connect+proto")
	if messages, failure, _, err := readConnect(strings.NewReader(body)); err != nil || failure != nil || len(messages) != 1 {
		t.Errorf("stream: %v, %+v, %q", err, failure, body)
	}
}

func TestRESTIsNotTakenForConnect(t *testing.T) {
	g := connectRoute(t, "")
	answer, body := ask(t, "GET", g.URL+"/bind/v1/one/x?connect=v1", "")
	wantStatus(t, answer, body, 400, codes.InvalidArgument) // an unknown query parameter
	answer, body = ask(t, "POST", g.URL+"/bind/v1/all", `{"name":1}`, "Connect-Protocol-Version", "1")
	wantStatus(t, answer, body, 400, codes.InvalidArgument)
	answer, body = ask(t, "POST", g.URL+"/bind/v1/all", `x`, "Content-Type", "application/proto")
	wantStatus(t, answer, body, 415, codes.InvalidArgument)
}
