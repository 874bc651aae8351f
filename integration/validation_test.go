package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// ruledSet writes the test service's descriptors with rules for some fields, and returns the file.
func ruledSet(t testing.TB, rules map[string]*validate.FieldRules) string {
	t.Helper()
	set := proto.CloneOf(testserver.DescriptorSet())
	found := 0
	for _, f := range set.File {
		for _, m := range f.MessageType {
			for _, field := range m.Field {
				if r := rules[m.GetName()+"."+field.GetName()]; r != nil {
					found++
					if field.Options == nil {
						field.Options = &descriptorpb.FieldOptions{}
					}
					proto.SetExtension(field.Options, validate.E_Field, r)
				}
			}
		}
	}
	if found != len(rules) {
		t.Fatalf("%d of %d fields are there", found, len(rules))
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/ruled.binpb"
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func rule(id, text, expression string) *validate.FieldRules {
	return &validate.FieldRules{Cel: []*validate.Rule{{Id: &id, Message: &text, Expression: &expression}}}
}

// someRules has one for a message of each kind of method.
func someRules() map[string]*validate.FieldRules {
	return map[string]*validate.FieldRules{
		"Bound.note":        {Type: &validate.FieldRules_String_{String_: &validate.StringRules{MaxLen: proto.Uint64(5)}}},
		"Nested.count":      {Type: &validate.FieldRules_Int32{Int32: &validate.Int32Rules{GreaterThan: &validate.Int32Rules_Gte{Gte: 0}}}},
		"CountRequest.n":    {Type: &validate.FieldRules_Int32{Int32: &validate.Int32Rules{LessThan: &validate.Int32Rules_Lte{Lte: 10}}}},
		"SumRequest.number": rule("sum.even", "must be even", "this % 2 == 0"),
		"TalkMessage.text":  {Type: &validate.FieldRules_String_{String_: &validate.StringRules{NotContains: proto.String("!")}}},
	}
}

const ruledRoute = `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
descriptors: [{file: "%s"}]
routes: [{name: test, %s, grpc: {upstream: test, services: ["crossgate.test.v1.*"], validate: %t, websocket: {}}}]
`

func TestRulesAreEnforcedForEachMessageOfEveryProtocol(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(ruledRoute, backend.Address, ruledSet(t, someRules()), "max_body_size: 64KiB", true))
	for _, p := range matrixProtocols {
		for _, c := range []struct {
			name     string
			method   *matrixMethod
			requests []proto.Message
			want     codes.Code
			answers  int
			uncalled bool // the backend must not hear of it
		}{
			{"a good unary call", matrixUnary, list(&testproto.Bound{Note: "short"}), codes.OK, 1, false},
			{"an empty one", matrixUnary, list(&testproto.Bound{}), codes.OK, 1, false},
			{"a bad unary call", matrixUnary, list(&testproto.Bound{Note: "too long"}), codes.InvalidArgument, 0, true},
			{"a bad nested field", matrixUnary, list(&testproto.Bound{Nested: &testproto.Nested{Count: -1}}), codes.InvalidArgument, 0, true},
			{"a large good one", matrixUnary, list(&testproto.Bound{Name: strings.Repeat("x", 30_000)}), codes.OK, 1, false},
			{"a good server stream", matrixServer, list(count(3, codes.OK)), codes.OK, 3, false},
			{"a bad server stream", matrixServer, list(count(11, codes.OK)), codes.InvalidArgument, 0, true},
			{"a good client stream", matrixClient, list(add(2), add(4), add(6)), codes.OK, 1, false},
			{"a client stream whose third message is bad", matrixClient, list(add(2), add(4), add(3)), codes.InvalidArgument, 0, false},
			{"a good bidirectional stream", matrixBidi, list(say("a"), say("b")), codes.OK, 2, false},
		} {
			t.Run(p.name+"/"+c.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
				defer cancel()
				calls := backend.Calls()
				got := p.call(ctx, t, g, &matrixCall{matrixMethod: c.method, requests: c.requests})
				if got.code != c.want || len(got.answers) != c.answers {
					t.Errorf("ended with %v and %d answers, want %v and %d", got.code, len(got.answers), c.want, c.answers)
				}
				if c.uncalled && backend.Calls() != calls {
					t.Error("the backend was called")
				}
			})
		}
		t.Run(p.name+"/a bidirectional stream whose second message is bad", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
			defer cancel()
			got := p.call(ctx, t, g, &matrixCall{matrixMethod: matrixBidi, requests: list(say("a"), say("b!"))})
			if got.code != codes.InvalidArgument || len(got.answers) > 1 {
				t.Errorf("ended with %v and %d answers", got.code, len(got.answers))
			}
		})
	}
}

func TestViolationsNameFieldsAndRules(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(ruledRoute, backend.Address, ruledSet(t, someRules()), "max_body_size: 64KiB", true))
	t.Run("over REST", func(t *testing.T) {
		answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{"note":"too long","nested":{"count":-1}}`)
		s := wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
		if reason, domain := errorInfo(t, s.Details); reason != "VALIDATION_FAILED" || domain != "crossgate" {
			t.Errorf("%v of %v", reason, domain)
		}
		for _, want := range []string{`"field":"note"`, `"reason":"STRING_MAX_LEN"`, `[string.max_len]`, `"field":"nested.count"`, `"reason":"INT32_GTE"`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s, want %s in it", body, want)
			}
		}
	})
	t.Run("of path and query", func(t *testing.T) {
		answer, body := ask(t, "GET", g.URL+"/bind/v1/shelves/s/-1?note=too+long", "")
		wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
		if !strings.Contains(body, `"field":"note"`) || !strings.Contains(body, `"field":"nested.count"`) {
			t.Error(body)
		}
	})
	conn := dialGRPC(t, g)
	t.Run("over gRPC", func(t *testing.T) {
		_, err := testproto.NewBindingsClient(conn).GetOne(soon(t), &testproto.Bound{Note: "too long"})
		wantCode(t, err, codes.InvalidArgument)
		details := status.Convert(err).Details()
		if len(details) != 2 {
			t.Fatalf("details %v", details)
		}
		v := details[1].(*errdetails.BadRequest).GetFieldViolations()
		if len(v) != 1 || v[0].GetField() != "note" || v[0].GetReason() != "STRING_MAX_LEN" {
			t.Errorf("violations %v", v)
		}
	})
	t.Run("of compressed messages", func(t *testing.T) {
		client := testproto.NewBindingsClient(conn)
		if _, err := client.GetOne(soon(t), &testproto.Bound{Note: "short"}, grpc.UseCompressor(gzip.Name)); err != nil {
			t.Error(err)
		}
		_, err := client.GetOne(soon(t), &testproto.Bound{Note: "too long"}, grpc.UseCompressor(gzip.Name))
		wantCode(t, err, codes.InvalidArgument)
		// What is small on the wire and large in memory.
		_, err = client.GetOne(soon(t), &testproto.Bound{Name: strings.Repeat("x", 100_000)}, grpc.UseCompressor(gzip.Name))
		wantCode(t, err, codes.ResourceExhausted)
	})
	t.Run("of a message that is none", func(t *testing.T) {
		calls := backend.Calls()
		got := callGRPC(soon(t), t, g, &matrixCall{matrixMethod: matrixUnary, broken: true})
		if got.code != codes.InvalidArgument || backend.Calls() != calls {
			t.Errorf("ended with %v after %d calls", got.code, backend.Calls()-calls)
		}
	})
	t.Run("in an encoding that nobody can check", func(t *testing.T) {
		code, text := call(t, "POST", g.URL+testproto.Bindings_GetOne_FullMethodName, "application/grpc-web+proto", []byte("\x01\x00\x00\x00\x01x"), "Grpc-Encoding", "br")
		if code != 200 || !strings.Contains(text, "grpc-status: 12") && !strings.Contains(text, "grpc-status:12") {
			t.Errorf("%d %q", code, text)
		}
	})
}

func TestARouteWithoutValidationLeavesRulesToTheBackend(t *testing.T) {
	g := rig.StartGateway(t, fmt.Sprintf(ruledRoute, testserver.Start(t).Address, ruledSet(t, someRules()), "max_body_size: 64KiB", false))
	if answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{"note":"too long"}`); answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", answer.Status, body)
	}
	if _, err := testproto.NewBindingsClient(dialGRPC(t, g)).GetOne(soon(t), &testproto.Bound{Note: "too long"}); err != nil {
		t.Error(err)
	}
}

func TestACallThatSendsNoMessageEndsWithItsDeadline(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(ruledRoute, backend.Address, ruledSet(t, someRules()), "timeout: 200ms", true))
	stream, err := dialGRPC(t, g).NewStream(soon(t), &grpc.StreamDesc{ClientStreams: true}, testproto.Bindings_GetOne_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, stream.RecvMsg(new(testproto.Bound)), codes.DeadlineExceeded)
	if backend.Calls() > 0 {
		t.Error("the backend was called")
	}
}

func TestABrokenRuleRefusesTheSnapshotWithItsPlace(t *testing.T) {
	backend := testserver.Start(t)
	good, bad := ruledSet(t, someRules()), someRules()
	bad["Nested.count"] = rule("count.odd", "", "this.none == 1")
	g := rig.StartGateway(t, fmt.Sprintf(ruledRoute, backend.Address, good, "max_body_size: 64KiB", true))
	g.Rewrite(t, fmt.Sprintf(ruledRoute, backend.Address, ruledSet(t, bad), "max_body_size: 64KiB", true))
	rig.Eventually(t, rig.Patience, func() error {
		for _, want := range []string{"configuration refused", "crossgate.yaml:6:", "route test", "message crossgate.test.v1.Nested, field count: broken rule", "count.odd"} {
			if !strings.Contains(g.Log(), want) {
				return fmt.Errorf("the log does not say %q", want)
			}
		}
		return nil
	})
	if strings.Count(g.Log(), "broken rule") > 1 {
		t.Error("one rule is reported several times")
	}
	answer, body := ask(t, "POST", g.URL+"/bind/v1/all", `{"note":"too long"}`)
	wantStatus(t, answer, body, http.StatusBadRequest, codes.InvalidArgument)
}

func TestAServiceWithoutDescriptorsIsNotServedUnchecked(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
upstreams: [{name: test, endpoints: ["%s"]}]
routes: [{name: test, grpc: {upstream: test, services: [crossgate.test.v1.Bindings], validate: true}}]
`, backend.Address))
	_, err := testproto.NewBindingsClient(dialGRPC(t, g)).GetOne(soon(t), &testproto.Bound{})
	wantCode(t, err, codes.Unavailable)
	if backend.Calls() > 0 {
		t.Error("the backend was called")
	}
}
