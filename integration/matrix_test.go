package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// matrixMethod is a method of one kind, by all of its names.
type matrixMethod struct {
	kind           string
	full           string // /package.Service/Method
	path           string // of a REST binding by POST whose body is the whole message
	client, server bool   // which sides stream
	answer         func() proto.Message
}

var (
	matrixUnary = &matrixMethod{"unary", testproto.Bindings_PostAll_FullMethodName, "/bind/v1/all", false, false,
		func() proto.Message { return new(testproto.Bound) }}
	matrixServer = &matrixMethod{"server stream", testproto.Streams_Count_FullMethodName, "/stream/v1/count", false, true,
		func() proto.Message { return new(testproto.CountResponse) }}
	matrixClient = &matrixMethod{"client stream", testproto.Streams_Sum_FullMethodName, "/stream/v1/sum", true, false,
		func() proto.Message { return new(testproto.SumResponse) }}
	matrixBidi = &matrixMethod{"bidirectional stream", testproto.Streams_Talk_FullMethodName, "/stream/v1/talk", true, true,
		func() proto.Message { return new(testproto.TalkMessage) }}
)

// matrixCall is one call: what is sent, and what steers the backend.
type matrixCall struct {
	*matrixMethod
	requests []proto.Message
	broken   bool     // after the requests comes one whose bytes are no message
	metadata []string // pairs
}

// outcome is what a caller saw of a call.
type outcome struct {
	answers []proto.Message
	code    codes.Code
}

// matrixProtocol is how clients of one protocol call a gateway. Its call sends all of the requests, ends its side, and
// reads to the end; one whose ctx ends may return anything.
type matrixProtocol struct {
	name   string
	call   func(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome
	broken codes.Code // of a message whose bytes are broken: the gateway's where it reads them, else the backend's
}

var matrixProtocols = []matrixProtocol{
	{"REST", restCaller(false), codes.InvalidArgument},
	{"REST over HTTP 2", restCaller(true), codes.InvalidArgument},
	{"WebSocket", socketCaller(websocket.MessageText), codes.InvalidArgument},
	{"WebSocket with protobuf", socketCaller(websocket.MessageBinary), codes.Internal},
	{"gRPC", callGRPC, codes.Internal},
	{"gRPC-Web", webCaller(false, false), codes.Internal},
	{"gRPC-Web over HTTP 2", webCaller(false, true), codes.Internal},
	{"gRPC-Web in text", webCaller(true, false), codes.Internal},
	{"Connect", connectCaller("proto", false), codes.Internal},
	{"Connect over HTTP 2", connectCaller("proto", true), codes.Internal},
	{"Connect in JSON", connectCaller("json", false), codes.InvalidArgument},
	{"Connect in JSON over HTTP 2", connectCaller("json", true), codes.InvalidArgument},
}

// matrixTable has a row for each kind of method and fault.
var matrixTable = []struct {
	fault    string
	method   *matrixMethod
	requests []proto.Message
	broken   bool
	metadata []string
	route    string // keys of the route
	cancel   bool   // the caller goes away once the backend has the call
	answers  []proto.Message
	some     bool // how many answers come before the fault is open
	code     codes.Code
}{
	{fault: "ok", method: matrixUnary, requests: list(bound("x")), answers: list(bound("x"))},
	{fault: "ok", method: matrixServer, requests: list(count(3, 0)), answers: list(counted(0), counted(1), counted(2))},
	{fault: "ok", method: matrixClient, requests: list(add(40), add(0), add(2)), answers: list(&testproto.SumResponse{Sum: 42, Count: 3})},
	{fault: "ok", method: matrixBidi, requests: list(say("a"), say(""), say("b")), answers: list(say("a"), say(""), say("b"))},

	{fault: "error before data", method: matrixUnary, requests: list(bound("x")), metadata: failing, code: codes.Aborted},
	{fault: "error before data", method: matrixServer, requests: list(count(3, 0)), metadata: failing, code: codes.Aborted},
	{fault: "error before data", method: matrixClient, requests: list(add(1)), metadata: failing, code: codes.Aborted},
	{fault: "error before data", method: matrixBidi, requests: list(say("a")), metadata: failing, code: codes.Aborted},

	{fault: "error after data", method: matrixUnary, requests: list(bound("x")), metadata: append(failing, "x-test-send-header", "1"), code: codes.Aborted},
	{fault: "error after data", method: matrixServer, requests: list(count(2, codes.DataLoss)), answers: list(counted(0), counted(1)), code: codes.DataLoss},
	{fault: "error after data", method: matrixClient, requests: list(add(1), &testproto.SumRequest{Fail: int32(codes.DataLoss)}), code: codes.DataLoss},
	{fault: "error after data", method: matrixBidi, requests: list(say("a"), &testproto.TalkMessage{Text: "no", Fail: int32(codes.DataLoss)}),
		answers: list(say("a")), code: codes.DataLoss},

	{fault: "deadline", method: matrixUnary, requests: list(bound("x")), metadata: waiting, route: soonOver, code: codes.DeadlineExceeded},
	{fault: "deadline", method: matrixServer, requests: list(&testproto.CountRequest{N: 2, Interval: durationpb.New(time.Minute)}),
		route: soonOver, some: true, code: codes.DeadlineExceeded},
	{fault: "deadline", method: matrixClient, requests: list(add(1)), metadata: waiting, route: soonOver, code: codes.DeadlineExceeded},
	{fault: "deadline", method: matrixBidi, requests: list(say("a")), metadata: waiting, route: soonOver, code: codes.DeadlineExceeded},

	{fault: "client cancel", method: matrixUnary, requests: list(bound("x")), metadata: waiting, cancel: true},
	{fault: "client cancel", method: matrixServer, requests: list(&testproto.CountRequest{N: 2, Interval: durationpb.New(time.Minute)}), cancel: true},
	{fault: "client cancel", method: matrixClient, requests: list(add(1)), metadata: waiting, cancel: true},
	{fault: "client cancel", method: matrixBidi, requests: list(say("a")), metadata: waiting, cancel: true},

	{fault: "oversize", method: matrixUnary, requests: list(bound(oversize)), route: smallBodies, code: codes.ResourceExhausted},
	{fault: "oversize", method: matrixServer, requests: list(&testproto.CountRequest{Note: oversize}), route: smallBodies, code: codes.ResourceExhausted},
	{fault: "oversize", method: matrixClient, requests: list(add(1), &testproto.SumRequest{Note: oversize}), route: smallBodies, code: codes.ResourceExhausted},
	{fault: "oversize", method: matrixBidi, requests: list(say("a"), say(oversize)), route: smallBodies, some: true, code: codes.ResourceExhausted},

	{fault: "malformed", method: matrixUnary, broken: true},
	{fault: "malformed", method: matrixServer, broken: true},
	{fault: "malformed", method: matrixClient, requests: list(add(1)), broken: true},
	{fault: "malformed", method: matrixBidi, requests: list(say("a")), broken: true, some: true},
}

var (
	failing  = []string{"x-test-code", "10", "x-test-message", "no luck"}
	waiting  = []string{"x-test-delay", "60s"}
	oversize = strings.Repeat("x", 2000)
)

const (
	soonOver    = "timeout: 300ms"
	smallBodies = "max_body_size: 1KiB"
)

func list(m ...proto.Message) []proto.Message { return m }

func bound(name string) proto.Message { return &testproto.Bound{Name: name} }

func count(n int32, fail codes.Code) proto.Message {
	return &testproto.CountRequest{N: n, Fail: int32(fail)}
}

func counted(i int32) proto.Message { return &testproto.CountResponse{I: i} }

func add(n int64) proto.Message { return &testproto.SumRequest{Number: n} }

func say(text string) proto.Message { return &testproto.TalkMessage{Text: text} }

func TestEveryProtocolCarriesEveryKindOfMethodAndItsFaults(t *testing.T) {
	backend := testserver.Start(t)
	gateways := map[string]*rig.Gateway{}
	for _, route := range []string{"", soonOver, smallBodies} {
		gateways[route] = matrixGateway(t, backend.Address, route)
	}
	for _, p := range matrixProtocols {
		for _, row := range matrixTable {
			t.Run(p.name+"/"+row.method.kind+"/"+row.fault, func(t *testing.T) {
				c := &matrixCall{row.method, row.requests, row.broken, row.metadata}
				if row.cancel {
					cancelMidway(t, backend, p, gateways[row.route], c)
					return
				}
				got := p.call(soon(t), t, gateways[row.route], c)
				want := row.code
				if row.broken {
					want = p.broken
				}
				if got.code != want {
					t.Errorf("the call ended with %v, want %v", got.code, want)
				}
				if !row.some && !sameMessages(got.answers, row.answers) {
					t.Errorf("answers %v, want %v", got.answers, row.answers)
				}
			})
		}
	}
}

// matrixGateway starts a gateway that speaks every protocol to a backend's services.
func matrixGateway(t testing.TB, backend, route string) *rig.Gateway {
	t.Helper()
	return rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{reflection: {upstream: test}}]
routes:
  - name: test
    grpc: {upstream: test, services: ["crossgate.test.v1.*"], websocket: {}}
    %s
`, backend, route))
}

// cancelMidway goes away while the backend is busy with a call, which must learn of it.
func cancelMidway(t *testing.T, backend *testserver.Server, p matrixProtocol, g *rig.Gateway, c *matrixCall) {
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	calls, canceled := backend.Calls(), backend.Canceled()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.call(ctx, t, g, c)
	}()
	called(t, backend, calls)
	cancel()
	<-ended
	wantCanceled(t, backend, canceled+1)
}

func sameMessages(got, want []proto.Message) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !proto.Equal(got[i], want[i]) {
			return false
		}
	}
	return true
}

// restCaller calls by HTTP: one JSON value for each request, and NDJSON or one JSON value back.
func restCaller(two bool) func(context.Context, testing.TB, *rig.Gateway, *matrixCall) outcome {
	return func(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome {
		body := bytes.Join(c.texts(t), []byte("\n"))
		r, err := http.NewRequestWithContext(ctx, "POST", g.URL+c.path, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return outcome{}
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(c.metadata); i += 2 {
			r.Header.Set("Grpc-Metadata-"+c.metadata[i], c.metadata[i+1])
		}
		answer, err := httpClient(t, two).Do(r)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return outcome{code: codes.Canceled}
		}
		defer answer.Body.Close()
		return readREST(ctx, t, answer, c)
	}
}

func readREST(ctx context.Context, t testing.TB, answer *http.Response, c *matrixCall) outcome {
	var o outcome
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line := lines.Bytes()
		var failed struct {
			rpcStatus
			Error *rpcStatus
		}
		switch {
		case answer.StatusCode != http.StatusOK:
			if err := json.Unmarshal(line, &failed); err != nil {
				t.Errorf("%s: %v: %s", answer.Status, err, line)
			}
			o.code = failed.Code
		case c.server && bytes.HasPrefix(line, []byte(`{"error":`)):
			if err := json.Unmarshal(line, &failed); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			o.code = failed.Error.Code
		default:
			m := c.answer()
			if err := protojson.Unmarshal(line, m); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			o.answers = append(o.answers, m)
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		t.Errorf("after %d answers: %v", len(o.answers), err)
	}
	return o
}

func jsonOf(t testing.TB, m proto.Message) []byte {
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return text
}

// httpClient returns a client of HTTP/1.1 or of HTTP/2 in clear text, which ends with the test.
func httpClient(t testing.TB, two bool) *http.Client {
	transport := &http.Transport{}
	if two {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// callGRPC calls by gRPC itself, with bytes for messages so that they can be broken.
func callGRPC(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome {
	conn := dialGRPC(t, g, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wireCodec{})))
	desc := &grpc.StreamDesc{ClientStreams: c.client, ServerStreams: c.server}
	stream, err := conn.NewStream(metadata.AppendToOutgoingContext(ctx, c.metadata...), desc, c.full)
	if err != nil {
		return outcome{code: status.Code(err)}
	}
	for _, wire := range c.wires(t) {
		// io.EOF says that the call is over, for a reason that receiving tells.
		if err := stream.SendMsg(wire); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return outcome{code: status.Code(err)}
		}
	}
	_ = stream.CloseSend()
	var o outcome
	for {
		var wire []byte
		err := stream.RecvMsg(&wire)
		if errors.Is(err, io.EOF) {
			return o
		}
		if err != nil {
			o.code = status.Code(err)
			return o
		}
		m := c.answer()
		if err := proto.Unmarshal(wire, m); err != nil {
			t.Error(err)
		}
		o.answers = append(o.answers, m)
		if !c.server {
			return o
		}
	}
}

// socketCaller calls over a WebSocket, by JSON in text frames or by protobuf in binary ones.
func socketCaller(kind websocket.MessageType) func(context.Context, testing.TB, *rig.Gateway, *matrixCall) outcome {
	return func(ctx context.Context, t testing.TB, g *rig.Gateway, c *matrixCall) outcome {
		header := http.Header{}
		for i := 0; i < len(c.metadata); i += 2 {
			header.Set("Grpc-Metadata-"+c.metadata[i], c.metadata[i+1])
		}
		conn, _, err := websocket.Dial(ctx, g.URL+c.path, &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Error(err)
			return outcome{}
		}
		defer conn.CloseNow()
		frames := c.wires(t)
		if kind == websocket.MessageText {
			frames = c.texts(t)
		}
		for _, frame := range frames {
			if conn.Write(ctx, kind, frame) != nil {
				break // reading tells why
			}
		}
		if c.client {
			_ = conn.Write(ctx, websocket.MessageText, nil)
		}
		var o outcome
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				o.code = socketCode(websocket.CloseStatus(err))
				return o
			}
			m := c.answer()
			if kind == websocket.MessageText {
				err = protojson.Unmarshal(frame, m)
			} else {
				err = proto.Unmarshal(frame, m)
			}
			if err != nil {
				t.Errorf("%v: %q", err, frame)
			}
			o.answers = append(o.answers, m)
		}
	}
}

// socketCode is the status of a close code (docs/streams.md).
func socketCode(code websocket.StatusCode) codes.Code {
	switch {
	case code == websocket.StatusNormalClosure:
		return codes.OK
	case code == websocket.StatusMessageTooBig:
		return codes.ResourceExhausted
	case code > 4100 && code <= 4116:
		return codes.Code(code - 4100)
	}
	return codes.Unknown
}

// texts are the call's requests in JSON.
func (c *matrixCall) texts(t testing.TB) [][]byte {
	var texts [][]byte
	for _, m := range c.requests {
		texts = append(texts, jsonOf(t, m))
	}
	if c.broken {
		texts = append(texts, []byte(`{"`))
	}
	return texts
}

// wires are the call's requests in wire format.
func (c *matrixCall) wires(t testing.TB) [][]byte {
	var wires [][]byte
	for _, m := range c.requests {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Error(err)
		}
		wires = append(wires, wire)
	}
	if c.broken {
		// A field whose length goes beyond the end.
		wires = append(wires, []byte{0x0a, 0x7f})
	}
	return wires
}

// wireCodec passes bytes as messages.
type wireCodec struct{}

func (wireCodec) Name() string { return "proto" }

func (wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	wire, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no wire", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(wire)}, nil
}

func (wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	wire, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no place for a wire", v)
	}
	*wire = data.Materialize()
	return nil
}
