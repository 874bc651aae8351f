package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// ask sends a request with headers, in pairs, of which Host is one, and returns the answer with its whole body.
func ask(t testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	answer, err := send(soon(t), method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func send(ctx context.Context, method, url, body string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	return http.DefaultClient.Do(r)
}

// rpcStatus is a google.rpc.Status in JSON.
type rpcStatus struct {
	Code    codes.Code       `json:"code"`
	Message string           `json:"message"`
	Details []map[string]any `json:"details"`
}

// wantStatus checks that an answer is an HTTP error with a google.rpc.Status of that code.
func wantStatus(t testing.TB, answer *http.Response, body string, httpStatus int, code codes.Code) rpcStatus {
	t.Helper()
	if answer.StatusCode != httpStatus {
		t.Errorf("HTTP status %d, want %d: %s", answer.StatusCode, httpStatus, body)
	}
	if got := answer.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	return wantStatusJSON(t, body, code)
}

func wantStatusJSON(t testing.TB, text string, code codes.Code) rpcStatus {
	t.Helper()
	var s rpcStatus
	strict := json.NewDecoder(strings.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&s); err != nil {
		t.Fatalf("%v: %q is no google.rpc.Status", err, text)
	}
	if s.Code != code || s.Message == "" {
		t.Errorf("status %s, want code %d and a message", text, code)
	}
	return s
}

func TestRESTBadInputNamesTheFieldAndWhatWasExpected(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for name, c := range map[string]struct {
		method, path, body string
		says               []string
	}{
		"a string where a number belongs":   {"POST", "/bind/v1/all", `{"nested":{"count":"many"}}`, []string{"nested.count", "many"}},
		"a number where a string belongs":   {"POST", "/bind/v1/all", `{"name":1}`, []string{"name", "string"}},
		"an element of a list":              {"POST", "/bind/v1/all", `{"numbers":[1,2,"x"]}`, []string{"numbers[2]"}},
		"an unknown field":                  {"POST", "/bind/v1/all", `{"nested":{"colour":1}}`, []string{"colour"}},
		"a number out of range":             {"POST", "/bind/v1/all", `{"nested":{"count":3000000000}}`, []string{"nested.count", "int32"}},
		"an enum value that is not there":   {"POST", "/bind/v1/all", `{"kind":"KIND_NONE"}`, []string{"kind", "KIND_NONE"}},
		"a time that is none":               {"POST", "/bind/v1/all", `{"time":"yesterday"}`, []string{"time"}},
		"bytes that are not base64":         {"POST", "/bind/v1/all", `{"data":"***"}`, []string{"data", "***"}},
		"two members of a oneof":            {"POST", "/bind/v1/all", `{"left":"a","right":1}`, []string{"choice"}},
		"a body that is cut off":            {"POST", "/bind/v1/all", `{"name":"x`, nil},
		"a body of another kind":            {"POST", "/bind/v1/all", `[]`, nil},
		"something after the body":          {"POST", "/bind/v1/all", `{} {}`, nil},
		"a path variable":                   {"GET", "/bind/v1/shelves/s/three", "", []string{"nested.count", "three"}},
		"a query parameter":                 {"GET", "/bind/v1/one/x?number=many", "", []string{"number", "many"}},
		"an unknown query parameter":        {"GET", "/bind/v1/one/x?colour=red", "", []string{"colour"}},
		"a query parameter given twice":     {"GET", "/bind/v1/one/x?note=a&note=b", "", []string{"note"}},
		"a request message of a stream":     {"POST", "/stream/v1/sum", `{"number":"x"}`, []string{"number"}},
		"the request of a stream":           {"GET", "/stream/v1/count/x", "", []string{"n"}},
		"a dot segment, escaped":            {"GET", "/bind/v1/one/%2e%2e", "", []string{"segment"}},
		"a query parameter with bad escape": {"GET", "/bind/v1/one/x?note=%zz", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := ask(t, c.method, g.URL+c.path, c.body)
			s := wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
			for _, word := range c.says {
				if !strings.Contains(s.Message, word) {
					t.Errorf("the message %q does not say %q", s.Message, word)
				}
			}
		})
	}

	t.Run("for programs, as google.rpc.BadRequest", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{"nested":{"count":"many"}}`)
		s := wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
		if len(s.Details) != 2 || s.Details[1]["@type"] != "type.googleapis.com/google.rpc.BadRequest" || !strings.Contains(body, `"field":"nested.count"`) {
			t.Errorf("details %v, want a BadRequest that names nested.count", s.Details)
		}
	})
	t.Run("a deadline that is none", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+"/bind/v1/one/x", "", "Grpc-Timeout", "soon")
		wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
	})
}

func TestRESTNoRouteIs404(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for _, path := range []string{"/", "/nothing", "/bind/v1/one", "/bind/v1/one/x/y", "/bind/v1/one/x:verb/y"} {
		answer, body := ask(t, "GET", g.URL+path, "")
		wantStatus(t, answer, body, http.StatusNotFound, codes.NotFound)
	}
}

func TestRESTWrongMethodIs405WithAllow(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for path, want := range map[string][]string{
		"/bind/v1/all":      {"POST"},
		"/bind/v1/one/x":    {"GET", "HEAD"},
		"/bind/v1/many/m":   {"GET", "HEAD", "PUT"},
		"/test/v1/scalars":  {"GET", "HEAD", "POST"},
		"/stream/v1/count":  {"POST"},
		"/control/v1/wait":  {"GET", "HEAD"},
		"/bind/v1/things/a": {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"},
	} {
		answer, body := ask(t, "PATCH", g.URL+path, "")
		wantStatus(t, answer, body, http.StatusMethodNotAllowed, codes.Unimplemented)
		allow := strings.Split(answer.Header.Get("Allow"), ", ")
		slices.Sort(allow)
		if !slices.Equal(allow, want) {
			t.Errorf("%s: Allow %q, want %q", path, allow, want)
		}
	}
}

func TestRESTBodyTooLargeIs413(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", "max_body_size: 1KiB")
	body := func(n int) string { return `{"note":"` + strings.Repeat("x", n-len(`{"note":""}`)) + `"}` }

	if answer, text := ask(t, "POST", g.URL+"/bind/v1/all", body(1024)); answer.StatusCode != http.StatusOK {
		t.Errorf("a body of the limit's size: %s: %s", answer.Status, text)
	}
	answer, text := ask(t, "POST", g.URL+"/bind/v1/all", body(1025))
	wantStatus(t, answer, text, http.StatusRequestEntityTooLarge, codes.ResourceExhausted)

	t.Run("without a declared length", func(t *testing.T) {
		r, err := http.NewRequestWithContext(soon(t), "POST", g.URL+"/bind/v1/all", io.MultiReader(strings.NewReader(body(1025))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, answer, string(text), http.StatusRequestEntityTooLarge, codes.ResourceExhausted)
	})
	t.Run("as the request of a server stream", func(t *testing.T) {
		answer, text := ask(t, "POST", g.URL+"/stream/v1/count", strings.Repeat(" ", 2000)+`{}`)
		wantStatus(t, answer, text, http.StatusRequestEntityTooLarge, codes.ResourceExhausted)
	})
}

func TestRESTOtherContentTypesAre415(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for _, header := range [][]string{
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"Content-Type", "multipart/form-data; boundary=x"},
		{"Content-Type", "application/jsonx"},
		{"Content-Encoding", "deflate"},
	} {
		answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{}`, header...)
		wantStatus(t, answer, body, http.StatusUnsupportedMediaType, codes.InvalidArgument)
	}
	for _, kind := range []string{"application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json", ""} {
		if answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{}`, "Content-Type", kind); answer.StatusCode != http.StatusOK {
			t.Errorf("Content-Type %q: %s: %s", kind, answer.Status, body)
		}
	}
}

func TestRESTBackendGoneIs503(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", "")
	serves(t, g.URL+"/bind/v1/one/x", http.StatusOK)
	backend.Stop()
	for _, path := range []string{"/bind/v1/one/x", "/stream/v1/count/3"} {
		answer, body := ask(t, "GET", g.URL+path, "")
		wantStatus(t, answer, body, http.StatusServiceUnavailable, codes.Unavailable)
	}
	testserver.StartAt(t, backend.Address)
	serves(t, g.URL+"/bind/v1/one/x", http.StatusOK)
}

func TestRESTDeadlineIs504(t *testing.T) {
	t.Run("the route's", func(t *testing.T) {
		g := oneRoute(t, testserver.Start(t).Address, "", "timeout: 100ms")
		answer, body := ask(t, "GET", g.URL+"/control/v1/wait?time=60s", "")
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
	t.Run("the route's, before a stream's first message", func(t *testing.T) {
		g := oneRoute(t, testserver.Start(t).Address, "", "timeout: 100ms")
		answer, body := ask(t, "GET", g.URL+"/stream/v1/count/3", "", "Grpc-Metadata-X-Test-Delay", "60s")
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
	t.Run("the caller's, nearer than the route's", func(t *testing.T) {
		g := oneRoute(t, testserver.Start(t).Address, "", "")
		answer, body := ask(t, "GET", g.URL+"/control/v1/wait?time=60s", "", "Grpc-Timeout", "100m")
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
	t.Run("a caller cannot have more than the route's", func(t *testing.T) {
		g := oneRoute(t, testserver.Start(t).Address, "", "timeout: 100ms")
		answer, body := ask(t, "GET", g.URL+"/control/v1/wait?time=60s", "", "Grpc-Timeout", "1H")
		wantStatus(t, answer, body, http.StatusGatewayTimeout, codes.DeadlineExceeded)
	})
}

// An answer that cannot be printed whole is an error from its first byte on.
func TestRESTNeverAHalfWritten200(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	t.Run("when the backend fails after its headers", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+"/control/v1/fail", `{"code":13,"message":"broken"}`, "Grpc-Metadata-X-Test-Header-A", "1")
		if s := wantStatus(t, answer, body, http.StatusInternalServerError, codes.Internal); s.Message != "broken" {
			t.Errorf("message %q, want the backend's", s.Message)
		}
	})
	t.Run("when the answer has no JSON form", func(t *testing.T) {
		// The JSON mapping ends with the year 9999 (timestamp.proto); the wire does not.
		late := grpc.ChainUnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			return &testproto.Times{Timestamp: &timestamppb.Timestamp{Seconds: 1 << 50}}, nil
		})
		g := oneRoute(t, testserver.Start(t, late).Address, "", "")
		answer, body := ask(t, "POST", g.URL+"/test/v1/times", `{}`)
		wantStatus(t, answer, body, http.StatusInternalServerError, codes.Internal)
	})
	t.Run("when the backend breaks the connection", func(t *testing.T) {
		backend := testserver.Start(t)
		g := oneRoute(t, backend.Address, "", "")
		before := backend.Calls()
		var answer *http.Response
		var body []byte
		var asked sync.WaitGroup
		var err error
		ctx := soon(t)
		asked.Go(func() {
			if answer, err = send(ctx, "GET", g.URL+"/control/v1/wait?time=60s", ""); err == nil {
				defer answer.Body.Close()
				body, err = io.ReadAll(answer.Body)
			}
		})
		called(t, backend, before)
		backend.Stop()
		asked.Wait()
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, answer, string(body), http.StatusServiceUnavailable, codes.Unavailable)
	})
}

// called waits until the backend has been called once more than before.
func called(t testing.TB, backend *testserver.Server, before int64) {
	t.Helper()
	rig.Eventually(t, rig.Patience, func() error {
		if backend.Calls() == before {
			return errors.New("the backend has not been called")
		}
		return nil
	})
}

func TestRESTServerStreams(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for name, c := range map[string]struct{ path, accept, kind, want string }{
		"a line for each message": {"/stream/v1/count/3", "", "application/x-ndjson",
			"{\"i\":0,\"padding\":\"\"}\n{\"i\":1,\"padding\":\"\"}\n{\"i\":2,\"padding\":\"\"}\n"},
		"an event for each message": {"/stream/v1/count/2", "text/event-stream", "text/event-stream",
			"id: 1\ndata: {\"i\":0,\"padding\":\"\"}\n\nid: 2\ndata: {\"i\":1,\"padding\":\"\"}\n\n"},
		"no message": {"/stream/v1/count/0", "", "application/x-ndjson", ""},
		"no event":   {"/stream/v1/count/0", "text/event-stream", "text/event-stream", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := ask(t, "GET", g.URL+c.path, "", "Accept", c.accept)
			if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != c.kind || body != c.want {
				t.Errorf("%s, %q:\n%swant %s:\n%s", answer.Status, answer.Header.Get("Content-Type"), body, c.kind, c.want)
			}
		})
	}

	t.Run("an error before the first message is an HTTP status", func(t *testing.T) {
		for _, accept := range []string{"", "text/event-stream"} {
			answer, body := ask(t, "GET", g.URL+"/stream/v1/count/0?fail=5", "", "Accept", accept)
			wantStatus(t, answer, body, http.StatusNotFound, codes.NotFound)
		}
	})
	t.Run("an error after messages is the last line", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+"/stream/v1/count/2?fail=10", "")
		lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
		if answer.StatusCode != http.StatusOK || len(lines) != 3 {
			t.Fatalf("%s: %q, want 2 messages and an error", answer.Status, body)
		}
		var last struct{ Error json.RawMessage }
		if err := json.Unmarshal([]byte(lines[2]), &last); err != nil {
			t.Fatal(err)
		}
		if s := wantStatusJSON(t, string(last.Error), codes.Aborted); s.Message != "after 2 messages" {
			t.Errorf("message %q", s.Message)
		}
	})
	t.Run("an error after events is the last event", func(t *testing.T) {
		_, body := ask(t, "GET", g.URL+"/stream/v1/count/2?fail=10", "", "Accept", "text/event-stream")
		events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
		if len(events) != 3 {
			t.Fatalf("%q, want 2 events and an error", body)
		}
		text, ok := strings.CutPrefix(events[2], "event: error\ndata: ")
		if !ok {
			t.Fatalf("the last event is %q, want an error event", events[2])
		}
		wantStatusJSON(t, text, codes.Aborted)
	})
	t.Run("a deadline after messages is the last line", func(t *testing.T) {
		_, body := ask(t, "GET", g.URL+"/stream/v1/count/2?interval=60s", "", "Grpc-Timeout", "300m")
		first, last, _ := strings.Cut(strings.TrimSuffix(body, "\n"), "\n")
		if first != `{"i":0,"padding":""}` || !strings.HasPrefix(last, `{"error":{"code":4,`) {
			t.Errorf("%q, want a message and a DEADLINE_EXCEEDED", body)
		}
	})
	t.Run("a message is not held back until the next", func(t *testing.T) {
		ctx, cancel := context.WithCancel(soon(t))
		defer cancel()
		answer, err := send(ctx, "GET", g.URL+"/stream/v1/count/2?interval=60s", "")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if line, err := bufio.NewReader(answer.Body).ReadString('\n'); err != nil || line != "{\"i\":0,\"padding\":\"\"}\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func TestRESTClientStreams(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	answer, body := ask(t, "POST", g.URL+"/stream/v1/sum", "{\"number\":\"1\"}\n{\"number\":2}\n{\"number\":39}\n")
	if answer.StatusCode != http.StatusOK || !sameJSON([]byte(body), []byte(`{"sum":"42","count":3}`)) {
		t.Errorf("%s: %s", answer.Status, body)
	}
	answer, body = ask(t, "POST", g.URL+"/stream/v1/talk", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
	if want := "{\"text\":\"a\",\"fail\":0}\n{\"text\":\"b\",\"fail\":0}\n"; answer.StatusCode != http.StatusOK || body != want {
		t.Errorf("%s: %s", answer.Status, body)
	}
}

func TestRESTClientGoneCancelsTheBackend(t *testing.T) {
	for name, path := range map[string]string{
		"of a unary call": "/control/v1/wait?time=60s",
		"of a stream":     "/stream/v1/count/2?interval=60s",
	} {
		t.Run(name, func(t *testing.T) {
			backend := testserver.Start(t)
			g := oneRoute(t, backend.Address, "", "timeout: 2m")
			before := backend.Calls()
			ctx, cancel := context.WithCancel(soon(t))
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if answer, err := send(ctx, "GET", g.URL+path, ""); err == nil {
					_, _ = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
			}()
			called(t, backend, before)
			cancel()
			<-ended
			wantCanceled(t, backend, 1)
		})
	}
}

func TestRESTErrorsKeepTheirDetails(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	details := `[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"name","description":"too long"}]}]`
	answer, body := ask(t, "POST", g.URL+"/control/v1/fail", `{"code":3,"message":"näme \"x\"","details":`+details+`}`)
	s := wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
	if s.Message != `näme "x"` {
		t.Errorf("message %q", s.Message)
	}
	var got struct{ Details json.RawMessage }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"field":"name"`, `"description":"too long"`, `"@type":"type.googleapis.com/google.rpc.BadRequest"`} {
		if !strings.Contains(string(got.Details), word) {
			t.Errorf("details %s, want %s in them", got.Details, word)
		}
	}
}

func TestRESTEachCodeHasItsHTTPStatus(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for code, want := range map[codes.Code]int{
		codes.Canceled: 499, codes.Unknown: 500, codes.InvalidArgument: 400, codes.DeadlineExceeded: 504, codes.NotFound: 404,
		codes.AlreadyExists: 409, codes.PermissionDenied: 403, codes.ResourceExhausted: 429, codes.FailedPrecondition: 400,
		codes.Aborted: 409, codes.OutOfRange: 400, codes.Unimplemented: 501, codes.Internal: 500, codes.Unavailable: 503,
		codes.DataLoss: 500, codes.Unauthenticated: 401,
	} {
		answer, body := ask(t, "POST", g.URL+"/control/v1/fail", fmt.Sprintf(`{"code":%d,"message":"m"}`, code))
		wantStatus(t, answer, body, want, code)
		if want == 401 && answer.Header.Get("WWW-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate (RFC 9110 section 15.5.2)")
		}
	}
}

// RFC 9110 section 9.3.2: HEAD is GET without the content.
func TestRESTHead(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for path, want := range map[string]int{
		"/bind/v1/one/x":          200,
		"/bind/v1/one/x?number=x": 400,
		"/nothing":                404,
		"/bind/v1/all":            405,
		"/stream/v1/count/3":      200,
	} {
		answer, body := ask(t, "HEAD", g.URL+path, "")
		if answer.StatusCode != want || body != "" {
			t.Errorf("%s: %s with %d bytes, want %d without", path, answer.Status, len(body), want)
		}
		if path == "/bind/v1/one/x" && answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: Content-Type %q", path, answer.Header.Get("Content-Type"))
		}
	}
}

func TestRESTCORS(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", `cors: {origins: ["https://app.example.com"], credentials: true, expose: [X-Request-Id], max_age: 5m}`)
	const origin = "https://app.example.com"
	header := func(t *testing.T, answer *http.Response, name, want string) {
		t.Helper()
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}

	t.Run("a preflight is answered by the gateway", func(t *testing.T) {
		before := backend.Calls()
		answer, _ := ask(t, "OPTIONS", g.URL+"/bind/v1/all", "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
		if answer.StatusCode != http.StatusNoContent {
			t.Errorf("%s, want 204", answer.Status)
		}
		header(t, answer, "Access-Control-Allow-Origin", origin)
		header(t, answer, "Access-Control-Allow-Credentials", "true")
		header(t, answer, "Access-Control-Allow-Methods", "POST")
		header(t, answer, "Access-Control-Allow-Headers", "authorization,content-type")
		header(t, answer, "Access-Control-Max-Age", "300")
		if !strings.Contains(answer.Header.Get("Vary"), "Origin") {
			t.Errorf("Vary is %q, want Origin in it", answer.Header.Get("Vary"))
		}
		if got := backend.Calls(); got != before {
			t.Errorf("the backend was called %d times", got-before)
		}
	})
	t.Run("a preflight of another origin is not allowed", func(t *testing.T) {
		answer, _ := ask(t, "OPTIONS", g.URL+"/bind/v1/all", "", "Origin", "https://evil.example.com", "Access-Control-Request-Method", "POST")
		header(t, answer, "Access-Control-Allow-Origin", "")
		header(t, answer, "Access-Control-Allow-Credentials", "")
	})
	t.Run("an answer may be read", func(t *testing.T) {
		answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x", "", "Origin", origin)
		header(t, answer, "Access-Control-Allow-Origin", origin)
		header(t, answer, "Access-Control-Allow-Credentials", "true")
		header(t, answer, "Access-Control-Expose-Headers", "X-Request-Id")
		header(t, answer, "Vary", "Origin")
	})
	t.Run("and so may an error", func(t *testing.T) {
		answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x?number=x", "", "Origin", origin)
		header(t, answer, "Access-Control-Allow-Origin", origin)
	})
	t.Run("another origin may not read", func(t *testing.T) {
		answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x", "", "Origin", "https://evil.example.com")
		header(t, answer, "Access-Control-Allow-Origin", "")
		header(t, answer, "Vary", "Origin")
	})
	t.Run("a request without an origin varies too", func(t *testing.T) {
		answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x", "")
		header(t, answer, "Access-Control-Allow-Origin", "")
		header(t, answer, "Vary", "Origin")
	})
	t.Run("without the key no origin may read", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "", "")
		answer, _ := ask(t, "GET", g.URL+"/bind/v1/one/x", "", "Origin", origin)
		header(t, answer, "Access-Control-Allow-Origin", "")
	})
}

// inspect returns the metadata that the backend gets with a request.
func inspect(t testing.TB, g *rig.Gateway, header ...string) (*http.Response, func(key string) []string) {
	t.Helper()
	answer, body := ask(t, "GET", g.URL+"/control/v1/inspect", "", header...)
	var got struct {
		Metadata map[string]struct{ Values []string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", answer.Status, err, body)
	}
	return answer, func(key string) []string { return got.Metadata[key].Values }
}

func TestRESTHandsHeadersOn(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

	answer, md := inspect(t, g, "X-Request-Id", "request-1", "Traceparent", trace, "Tracestate", "a=b", "Grpc-Metadata-X-Tenant", "one")
	for key, want := range map[string]string{
		"x-request-id": "request-1", "traceparent": trace, "tracestate": "a=b", "x-tenant": "one",
	} {
		if got := md(key); !slices.Equal(got, []string{want}) {
			t.Errorf("the backend got %s %q, want %q", key, got, want)
		}
	}
	if got := answer.Header.Get("X-Request-Id"); got != "request-1" {
		t.Errorf("the client got X-Request-Id %q, want its own", got)
	}

	t.Run("with a request id for who has none", func(t *testing.T) {
		answer, md := inspect(t, g)
		id := answer.Header.Get("X-Request-Id")
		if got := md("x-request-id"); id == "" || !slices.Equal(got, []string{id}) {
			t.Errorf("the backend got %q, the client %q; want the same", got, id)
		}
	})
	t.Run("but no request id that could break a log", func(t *testing.T) {
		answer, _ := inspect(t, g, "X-Request-Id", `"><script>`+strings.Repeat("x", 500))
		if got := answer.Header.Get("X-Request-Id"); got == "" || strings.Contains(got, "script") {
			t.Errorf("the client got X-Request-Id %q, want another", got)
		}
	})
	t.Run("but none that it was not told to", func(t *testing.T) {
		_, md := inspect(t, g, "X-Internal", "secret", "Cookie", "session=1", "Authorization", "Bearer x")
		for _, key := range []string{"x-internal", "cookie", "authorization"} {
			if got := md(key); got != nil {
				t.Errorf("the backend got %s %q", key, got)
			}
		}
	})
}

// TestACallOfGRPCComesFromWhereItDoes is about what a backend is told of a call by REST, and by gRPC itself.
func TestACallOfGRPCComesFromWhereItDoes(t *testing.T) {
	backend := testserver.Start(t)
	for _, c := range []struct {
		name, listener, forwarded, rest, grpc string
	}{
		{"a stranger's word is dropped", "", "6.6.6.6", "127.0.0.1", ""},
		{"a trusted proxy's is kept, as far as it is trusted", "trusted_proxies: [127.0.0.0/8]", "6.6.6.6, 192.0.2.1", "192.0.2.1, 127.0.0.1", "192.0.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := oneRoute(t, backend.Address, c.listener, "")
			_, md := inspect(t, g, "X-Forwarded-For", c.forwarded, "Grpc-Metadata-X-Forwarded-For", "6.6.6.6")
			if got := strings.Join(md("x-forwarded-for"), " + "); got != c.rest {
				t.Errorf("by REST the backend is told %q, want %q", got, c.rest)
			}
			ctx := metadata.AppendToOutgoingContext(soon(t), "x-forwarded-for", c.forwarded)
			if c.listener == "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "forwarded", "for=6.6.6.6", "x-real-ip", "6.6.6.6")
			}
			answer, err := testproto.NewControlClient(dialGRPC(t, g)).Inspect(ctx, new(testproto.InspectRequest))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(answer.GetMetadata()["x-forwarded-for"].GetValues(), " + "); got != c.grpc {
				t.Errorf("by gRPC the backend is told %q, want %q", got, c.grpc)
			}
			if text := answer.String(); c.listener == "" && strings.Contains(text, "6.6.6.6") {
				t.Errorf("the stranger is believed: %s", text)
			}
		})
	}
}

func TestRESTForwardedForIsBelievedOfTrustedProxiesOnly(t *testing.T) {
	backend := testserver.Start(t)
	const limit = "rate_limits: [{per: ip, rate: 1/h}]"
	try := func(t *testing.T, g *rig.Gateway, forwarded string, want int) {
		t.Helper()
		var header []string
		if forwarded != "" {
			header = []string{"X-Forwarded-For", forwarded}
		}
		if answer, body := ask(t, "GET", g.URL+"/bind/v1/one/x", "", header...); answer.StatusCode != want {
			t.Errorf("X-Forwarded-For %q: %d, want %d: %s", forwarded, answer.StatusCode, want, body)
		}
	}
	t.Run("a client cannot choose its address", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "", limit)
		try(t, g, "203.0.113.1", 200)
		try(t, g, "203.0.113.2", 429)
		try(t, g, "", 429)
	})
	t.Run("a trusted proxy says whose the request is", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]", limit)
		try(t, g, "203.0.113.1", 200)
		try(t, g, "203.0.113.1", 429)
		try(t, g, "203.0.113.2", 200)
		try(t, g, "203.0.113.3, 10.0.0.1", 200)
		try(t, g, "203.0.113.3", 429)
	})
	t.Run("what the client wrote before the proxy's entry is not believed", func(t *testing.T) {
		g := oneRoute(t, backend.Address, "trusted_proxies: [127.0.0.0/8]", limit)
		try(t, g, "198.51.100.1, 203.0.113.1", 200)
		try(t, g, "198.51.100.2, 203.0.113.1", 429)
	})
}

func TestMessagesNestAHundredDeepAndNoDeeper(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for depth, want := range map[int]int{1: 200, 100: 200, 101: 400, 5000: 400} {
		body := strings.Repeat(`{"child":`, depth-1) + "{}" + strings.Repeat("}", depth-1)
		answer, text := ask(t, "POST", g.URL+"/test/v1/recursive", body, "Content-Type", "application/json")
		if answer.StatusCode != want {
			t.Errorf("%d deep: %s %.200s", depth, answer.Status, text)
		}
	}
}
