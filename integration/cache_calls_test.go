package integration

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

const echoScalars = "/crossgate.test.v1.Echo/EchoScalars"

// caller calls EchoScalars in each protocol, and tells what came: the code, the message's string, and metadata.
type caller struct {
	t    testing.TB
	g    *rig.Gateway
	conn *grpc.ClientConn
}

type callAnswer struct {
	code            codes.Code
	text            string
	header, trailer metadata.MD
}

func (c *caller) call(protocol, text string, md ...string) callAnswer {
	c.t.Helper()
	message := &testproto.Scalars{StringValue: text}
	wire, err := proto.Marshal(message)
	if err != nil {
		c.t.Fatal(err)
	}
	switch protocol {
	case "grpc", "compressed":
		return c.native(message, protocol == "compressed", md...)
	case "web", "web-text":
		kind, body := "application/grpc-web+proto", frameAll(wire)
		if protocol == "web-text" {
			kind, body = "application/grpc-web-text+proto", []byte(base64.StdEncoding.EncodeToString(body))
		}
		answer, messages, trailer := askWeb(c.t, c.g.URL+echoScalars, body, append([]string{"Content-Type", kind}, md...)...)
		a := callAnswer{code: codeIn(c.t, trailer), header: lowerNames(answer.Header), trailer: lowerNames(trailer)}
		if len(messages) == 1 {
			a.text = c.textOf(messages[0])
		}
		return a
	case "connect":
		answer, body := ask(c.t, "POST", c.g.URL+echoScalars, `{"stringValue":"`+text+`"}`, append([]string{"Connect-Protocol-Version", "1"}, md...)...)
		a := callAnswer{header: lowerNames(answer.Header), trailer: metadata.MD{}}
		for name, values := range a.header {
			if trailer, ok := strings.CutPrefix(name, "trailer-"); ok {
				a.trailer[trailer] = values
			}
		}
		if answer.StatusCode != 200 {
			a.code = codes.Unknown
		} else if strings.Contains(body, `"stringValue":"`+text+`"`) {
			a.text = text
		}
		return a
	}
	c.t.Fatalf("there is no protocol %s", protocol)
	return callAnswer{}
}

func (c *caller) native(message *testproto.Scalars, compressed bool, md ...string) callAnswer {
	var a callAnswer
	answer := new(testproto.Scalars)
	options := []grpc.CallOption{grpc.Header(&a.header), grpc.Trailer(&a.trailer)}
	if compressed {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	err := c.conn.Invoke(metadata.AppendToOutgoingContext(soon(c.t), md...), echoScalars, message, answer, options...)
	a.code, a.text = status.Code(err), answer.GetStringValue()
	return a
}

func (c *caller) textOf(wire []byte) string {
	message := new(testproto.Scalars)
	if err := proto.Unmarshal(wire, message); err != nil {
		c.t.Fatal(err)
	}
	return message.GetStringValue()
}

func lowerNames(h http.Header) metadata.MD {
	md := metadata.MD{}
	for name, values := range h {
		md[strings.ToLower(name)] = values
	}
	return md
}

const cacheOfEcho = `cache:
      ttl: 100s
      coalesce: 1m
      methods: [crossgate.test.v1.Echo.EchoScalars]
      key: {ignore_metadata: [X-Trace, X-Kind, X-Test-Code]}`

func TestAnswersToCallsAreKeptForAllProtocols(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", cacheOfEcho)
	c := &caller{t, g, dialGRPC(t, g)}
	before := backend.Calls() // for its descriptors
	says := func(directives string, more ...string) []string {
		return append([]string{"x-test-return-cache-control", directives}, more...)
	}
	marked := []string{"x-test-header-a", "1", "x-test-trailer-b", "2"}
	vary := []string{"x-test-return-vary", "X-Kind"}
	large := strings.Repeat("x", 65<<10)
	steps := []struct {
		name, protocol, text string
		metadata             []string
		code                 codes.Code
		calls                int64 // of the backend, by then
		cache                string
	}{
		{"gRPC", "grpc", "a", nil, codes.OK, 1, "crossgate; fwd=uri-miss; stored"},
		{"gRPC again", "grpc", "a", nil, codes.OK, 1, "crossgate; hit"},
		{"gRPC-Web", "web", "a", nil, codes.OK, 1, "crossgate; hit"},
		{"gRPC-Web in base64", "web-text", "a", nil, codes.OK, 1, "crossgate; hit"},
		{"Connect in JSON", "connect", "a", nil, codes.OK, 1, "crossgate; hit"},
		{"another message", "connect", "b", nil, codes.OK, 2, "crossgate; fwd=uri-miss; stored"},
		{"which the others have then", "grpc", "b", nil, codes.OK, 2, "crossgate; hit"},
		{"no message", "web", "", nil, codes.OK, 3, "crossgate; fwd=uri-miss; stored"},
		{"nor here", "grpc", "", nil, codes.OK, 3, "crossgate; hit"},
		{"metadata tells answers apart", "grpc", "a", marked, codes.OK, 4, "crossgate; fwd=uri-miss; stored"},
		{"and comes from what is kept", "grpc", "a", marked, codes.OK, 4, "crossgate; hit"},
		{"for others, too", "web", "a", marked, codes.OK, 4, "crossgate; hit"},
		{"and others", "connect", "a", marked, codes.OK, 4, "crossgate; hit"},
		{"another value", "grpc", "a", []string{"x-tenant", "1"}, codes.OK, 5, "crossgate; fwd=uri-miss; stored"},
		{"what the key leaves out", "grpc", "a", []string{"x-trace", "1"}, codes.OK, 5, "crossgate; hit"},
		{"unless Vary names it", "grpc", "a", append(vary, "x-kind", "1"), codes.OK, 6, "crossgate; fwd=uri-miss; stored"},
		{"the same kind", "web", "a", append(vary, "x-kind", "1"), codes.OK, 6, "crossgate; hit"},
		{"another kind", "grpc", "a", append(vary, "x-kind", "2"), codes.OK, 7, "crossgate; fwd=vary-miss; stored"},
		{"the backend says no", "grpc", "a", says("no-store"), codes.OK, 8, "crossgate; fwd=uri-miss"},
		{"each time", "web", "a", says("no-store"), codes.OK, 9, "crossgate; fwd=uri-miss"},
		{"a caller with credentials", "grpc", "c", []string{"authorization", "Bearer x"}, codes.OK, 10, "crossgate; fwd=uri-miss"},
		{"each time", "grpc", "c", []string{"authorization", "Bearer x"}, codes.OK, 11, "crossgate; fwd=uri-miss"},
		{"what is public", "grpc", "c", says("public, max-age=100", "authorization", "Bearer x"), codes.OK, 12, "crossgate; fwd=uri-miss; stored"},
		{"is for all", "connect", "c", says("public, max-age=100"), codes.OK, 12, "crossgate; hit"},
		{"a failure is not kept", "grpc", "d", []string{"x-test-code", "3"}, codes.InvalidArgument, 13, "crossgate; fwd=uri-miss"},
		{"nor the next one", "grpc", "d", []string{"x-test-code", "14"}, codes.Unavailable, 14, "crossgate; fwd=uri-miss"},
		{"a success is, for those who ask for the same", "grpc", "d", nil, codes.OK, 15, "crossgate; fwd=uri-miss; stored"},
		{"and goes before the failure", "grpc", "d", []string{"x-test-code", "3"}, codes.OK, 15, "crossgate; hit"},
		{"what is not there, where it does not say for how long", "grpc", "e", []string{"x-test-code", "5", "x-n", "1"}, codes.NotFound, 16, "crossgate; fwd=uri-miss"},
		{"and where it does", "grpc", "e", says("max-age=100", "x-test-code", "5"), codes.NotFound, 17, "crossgate; fwd=uri-miss; stored"},
		{"is kept", "grpc", "e", says("max-age=100", "x-test-code", "5"), codes.NotFound, 17, "crossgate; hit"},
		{"for others, too", "web", "e", says("max-age=100", "x-test-code", "5"), codes.NotFound, 17, "crossgate; hit"},
		{"the client says no", "grpc", "a", []string{"cache-control", "no-store"}, codes.OK, 18, "crossgate; fwd=bypass"},
		{"only what is there", "grpc", "f", []string{"cache-control", "only-if-cached"}, codes.Unavailable, 18, ""},
		{"a header that takes another URL", "grpc", "a", []string{"x-original-url", "/x"}, codes.OK, 19, "crossgate; fwd=bypass"},
		{"what is compressed passes", "compressed", "a", nil, codes.OK, 20, ""},
		{"what is large passes", "grpc", large, nil, codes.OK, 21, ""},
		{"each time", "connect", large, nil, codes.OK, 22, ""},
	}
	for _, step := range steps {
		a := c.call(step.protocol, step.text, step.metadata...)
		got := strings.Join(append(a.header.Get("cache-status"), a.trailer.Get("cache-status")...), ", ")
		if a.code != step.code || backend.Calls()-before != step.calls || !strings.HasPrefix(got, step.cache) || step.cache == "" && got != "" || a.code == codes.OK && a.text != step.text {
			t.Errorf("%s: %s, the backend was called %d times, cache-status %q, %.20q", step.name, a.code, backend.Calls()-before, got, a.text)
		}
		if len(step.metadata) == len(marked) && step.metadata[0] == marked[0] {
			if a.header.Get("x-test-header-a")[0] != "1" || a.trailer.Get("x-test-trailer-b")[0] != "2" {
				t.Errorf("%s: header %v, trailer %v", step.name, a.header, a.trailer)
			}
		}
		if strings.HasPrefix(step.cache, "crossgate; hit") && len(a.header.Get("age"))+len(a.trailer.Get("age")) != 1 {
			t.Errorf("%s: header %v, trailer %v", step.name, a.header, a.trailer)
		}
	}
	// A method that says nothing of its side effects, and is not named, is called each time; so are streams.
	called := backend.Calls()
	control, streams := testproto.NewControlClient(c.conn), testproto.NewStreamsClient(c.conn)
	for range 2 {
		if _, err := control.Fail(soon(t), &testproto.FailRequest{}); err != nil {
			t.Error(err)
		}
		stream, err := streams.Count(soon(t), &testproto.CountRequest{N: 1})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
	}
	if n := backend.Calls() - called; n != 4 {
		t.Errorf("%d calls of 4 came to the backend", n)
	}
	// One that says so needs no configuration.
	for range 2 {
		if _, err := control.Inspect(soon(t), &testproto.InspectRequest{}); err != nil {
			t.Error(err)
		}
	}
	if n := backend.Calls() - called; n != 5 {
		t.Errorf("a method without side effects was called %d times", n-4)
	}
	// What is stale is given while another is fetched behind it.
	behind := []string{"x-test-return-cache-control", "max-age=0, stale-while-revalidate=1000"}
	for _, protocol := range []string{"grpc", "web", "connect"} {
		if a := c.call(protocol, "behind", behind...); a.code != codes.OK || a.text != "behind" {
			t.Errorf("%s: %s %q", protocol, a.code, a.text)
		}
		calls := backend.Calls()
		rig.Eventually(t, 60*time.Second, func() error {
			if a := c.call(protocol, "behind", behind...); !strings.HasPrefix(strings.Join(append(a.header.Get("cache-status"), a.trailer.Get("cache-status")...), ", "), "crossgate; hit") {
				return fmt.Errorf("header %v", a.header)
			}
			if backend.Calls() == calls {
				return errors.New("nothing is fetched behind it")
			}
			return nil
		})
	}
}

func TestAnswersToPostsWithoutSideEffectsAreKept(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", cacheOfEcho)
	before := backend.Calls()
	large := `{"stringValue":"` + strings.Repeat("x", 65<<10) + `"}`
	steps := []struct {
		name, path, body string
		header           []string
		status           int
		calls            int64
		cache            string
	}{
		{"a post", "/test/v1/scalars", `{"stringValue":"a"}`, nil, 200, 1, "crossgate; fwd=uri-miss; stored"},
		{"and again", "/test/v1/scalars", `{"stringValue":"a"}`, nil, 200, 1, "crossgate; hit"},
		{"another body", "/test/v1/scalars", `{"stringValue":"b"}`, nil, 200, 2, "crossgate; fwd=uri-miss; stored"},
		{"what is kept is not forgotten for that", "/test/v1/scalars", `{"stringValue":"a"}`, nil, 200, 2, "crossgate; hit"},
		{"another type", "/test/v1/scalars", `{"stringValue":"a"}`, []string{"Content-Type", "application/json; charset=utf-8"}, 200, 3, "crossgate; fwd=uri-miss; stored"},
		{"another path", echoScalars, `{"stringValue":"a"}`, nil, 200, 4, "crossgate; fwd=uri-miss; stored"},
		{"no body", "/test/v1/scalars", "", nil, 200, 5, "crossgate; fwd=uri-miss; stored"},
		{"and again", "/test/v1/scalars", "", nil, 200, 5, "crossgate; hit"},
		{"what is compressed passes", "/test/v1/scalars", string(gzipped([]byte(`{"stringValue":"a"}`))), []string{"Content-Encoding", "gzip"}, 200, 6, "crossgate; fwd=bypass"},
		{"what is large passes", "/test/v1/scalars", large, nil, 200, 7, ""},
		{"what is no JSON", "/test/v1/scalars", `{"stringValue":`, nil, 400, 7, "crossgate; fwd=uri-miss"},
		{"a form", "/test/v1/scalars", "stringValue=a", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, 7, ""},
		{"a method that says nothing", "/control/v1/fail", `{}`, nil, 200, 8, ""},
		{"each time", "/control/v1/fail", `{}`, nil, 200, 9, ""},
	}
	for _, step := range steps {
		answer, body := ask(t, "POST", g.URL+step.path, step.body, step.header...)
		if got := answer.Header.Get("Cache-Status"); answer.StatusCode != step.status || backend.Calls()-before != step.calls || !strings.HasPrefix(got, step.cache) || step.cache == "" && got != "" {
			t.Errorf("%s: %d, the backend was called %d times, Cache-Status %q, %.200s", step.name, answer.StatusCode, backend.Calls()-before, got, body)
		}
	}
}

func TestCallsAtOnceAreOneCall(t *testing.T) {
	backend := testserver.Start(t)
	g := oneRoute(t, backend.Address, "", cacheOfEcho)
	c := &caller{t, g, dialGRPC(t, g)}
	before := backend.Calls()
	const n = 50
	results := make(chan callAnswer, n)
	for range n {
		go func() { results <- c.call("grpc", "together", "x-test-delay", "500ms") }()
	}
	for range n {
		if a := <-results; a.code != codes.OK || a.text != "together" {
			t.Errorf("%s %q", a.code, a.text)
		}
	}
	if calls := backend.Calls() - before; calls != 1 {
		t.Errorf("%d calls came to the backend", calls)
	}
	// Who has less time than what is waited for takes does not wait for it.
	ctx, leave := context.WithCancel(context.Background())
	invoke := func(ctx context.Context) error {
		return c.conn.Invoke(metadata.AppendToOutgoingContext(ctx, "x-test-delay", "10m"), echoScalars, &testproto.Scalars{}, new(testproto.Scalars))
	}
	waited := make(chan error, 1)
	go func() { waited <- invoke(ctx) }()
	rig.Eventually(t, 60*time.Second, func() error {
		if backend.Calls()-before < 2 {
			return errors.New("the call does not come")
		}
		return nil
	})
	hurried, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := invoke(hurried); status.Code(err) != codes.DeadlineExceeded || backend.Calls()-before != 2 {
		t.Errorf("a call with a deadline: %v, %d calls came to the backend", err, backend.Calls()-before)
	}
	leave()
	wantCode(t, <-waited, codes.Canceled)
	wantCanceled(t, backend, 1)
}

func TestACallThatSendsNoMessageEndsWithItsTime(t *testing.T) {
	backend := testserver.Start(t)
	conn := dialGRPC(t, oneRoute(t, backend.Address, "", "timeout: 200ms\n    "+cacheOfEcho))
	before := backend.Calls()
	stream, err := conn.NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true}, echoScalars)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, stream.RecvMsg(new(testproto.Scalars)), codes.DeadlineExceeded)
	if n := backend.Calls() - before; n != 0 {
		t.Errorf("%d calls came to the backend", n)
	}
}

func TestStaleAnswersToCallsStandInForABackendThatIsGone(t *testing.T) {
	server := rig.StartRedis(t)
	backend := testserver.Start(t)
	start := func() *caller {
		g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0", token: admin-token}
redis: {url: %q}
cache: {redis: {timeout: 1m}}
upstreams: [{name: test, endpoints: [%q]}]
descriptors: [{reflection: {upstream: test}}]
routes:
  - name: test
    match: {hosts: [shop.example]}
    grpc: {upstream: test, services: [crossgate.test.v1.Echo]}
    cache: {methods: [crossgate.test.v1.Echo.*], redis: true, stale_if_error: 1000s}
`, server.URL(), backend.Address))
		return &caller{t, g, dialGRPC(t, g, grpc.WithAuthority("shop.example"))}
	}
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer client.Close()
	a, b := start(), start()
	before := backend.Calls()
	get := func(c *caller, protocol, text, directives string, want int64) callAnswer {
		t.Helper()
		answer := c.call(protocol, text, "x-test-return-cache-control", directives, "x-test-return-cache-tag", "scalars,"+text)
		if calls := backend.Calls() - before; answer.code != codes.OK || answer.text != text || calls != want {
			t.Errorf("%s: %s, %d calls came to the backend, cache-status %q", text, answer.code, calls, answer.header.Get("cache-status"))
		}
		return answer
	}
	get(a, "grpc", "kept", "max-age=1000", 1)
	get(a, "grpc", "stale", "max-age=0", 2)
	rig.Eventually(t, 60*time.Second, func() error {
		keys, err := client.Keys(context.Background(), "cg:cache:*").Result()
		if err == nil && len(keys) < 2 {
			err = fmt.Errorf("%d keys in Redis", len(keys))
		}
		return err
	})
	get(b, "grpc", "kept", "max-age=1000", 2)
	if answer, body := purge(t, a.g, `{"tags":["kept"]}`); answer.StatusCode != 200 {
		t.Errorf("a purge: %s %s", answer.Status, body)
	}
	get(a, "grpc", "kept", "max-age=1000", 3)
	backend.Stop()
	get(a, "grpc", "kept", "max-age=1000", 3)
	if answer := get(a, "grpc", "stale", "max-age=0", 3); answer.header.Get("cache-status")[0] != "crossgate; fwd=stale; detail=stale-if-error" {
		t.Errorf("%v", answer.header)
	}
	get(b, "grpc", "stale", "max-age=0", 3)
	if answer := a.call("grpc", "never"); answer.code != codes.Unavailable {
		t.Errorf("what was never there: %s", answer.code)
	}
}

func TestCallersWithAnIdentityHaveAnswersOfTheirOwn(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
upstreams: [{name: test, endpoints: [%q]}]
descriptors: [{reflection: {upstream: test}}]
auth: [{name: keys, api_keys: {keys: [{id: ann, key: 0123456789abcdef0ann, user: ann}, {id: ben, key: 0123456789abcdef0ben, user: ben}]}, from: [{header: X-Key}]}]
routes:
  - name: own
    match: {hosts: [own.example]}
    grpc: {upstream: test, services: [crossgate.test.v1.Echo]}
    auth: {require: [keys]}
    cache: {ttl: 100s, methods: [crossgate.test.v1.Echo.EchoScalars], key: {user: true, ignore_metadata: [X-Key]}}
  - name: open
    match: {hosts: [open.example]}
    grpc: {upstream: test, services: [crossgate.test.v1.Echo]}
    auth: {require: [keys]}
    cache: {ttl: 100s, methods: [crossgate.test.v1.Echo.EchoScalars], key: {ignore_metadata: [X-Key]}}
`, backend.Address))
	const ann, ben = "0123456789abcdef0ann", "0123456789abcdef0ben"
	own := &caller{t, g, dialGRPC(t, g, grpc.WithAuthority("own.example"))}
	open := &caller{t, g, dialGRPC(t, g, grpc.WithAuthority("open.example"))}
	before := backend.Calls()
	for i, step := range []struct {
		to         *caller
		directives string
		key        string
		code       codes.Code
		calls      int64
	}{
		{own, "max-age=100", ann, codes.OK, 1}, {own, "max-age=100", ben, codes.OK, 2}, {own, "max-age=100", ann, codes.OK, 2}, {own, "max-age=100", "wrong", codes.Unauthenticated, 2},
		{own, "public, max-age=100", ann, codes.OK, 3}, {own, "public, max-age=100", ben, codes.OK, 4}, {own, "private, max-age=100", ann, codes.OK, 5}, {own, "private, max-age=100", ann, codes.OK, 6},
		{open, "max-age=100", ann, codes.OK, 7}, {open, "max-age=100", ann, codes.OK, 8}, {open, "public, max-age=100", ann, codes.OK, 9}, {open, "public, max-age=100", ben, codes.OK, 9},
	} {
		if a := step.to.call("grpc", "x", "x-key", step.key, "x-test-return-cache-control", step.directives); a.code != step.code || backend.Calls()-before != step.calls {
			t.Errorf("%d, %s: %s, %d calls came to the backend, cache-status %q", i, step.directives, a.code, backend.Calls()-before, a.header.Get("cache-status"))
		}
	}
}
