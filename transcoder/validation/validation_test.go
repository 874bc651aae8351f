package validation

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// compileProto compiles the text of a .proto file through bytes, as sets come.
func compileProto(t testing.TB, text string) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"t.proto": text})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			d, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: d}, err
		}),
	}}
	files, err := compiler.Compile(context.Background(), "t.proto")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	var fd descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(raw, &fd); err != nil {
		t.Fatal(err)
	}
	f, err := protodesc.NewFile(&fd, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const header = `syntax = "proto3"; package t; import "buf/validate/validate.proto"; `

const shop = header + `
import "google/protobuf/timestamp.proto";
message Order {
  option (buf.validate.message).cel = {
    id: "order.dates", message: "must be sent after it was made",
    expression: "!has(this.sent) || !has(this.made) || this.sent > this.made"
  };
  string customer_name = 1 [(buf.validate.field).string = {min_len: 3, max_len: 10}];
  repeated Item order_items = 2 [(buf.validate.field).repeated.min_items = 1];
  map<string, Item> by_key = 3 [(buf.validate.field).map.keys.string.pattern = "^[a-z]+$"];
  google.protobuf.Timestamp made = 4;
  google.protobuf.Timestamp sent = 5;
  oneof pay { option (buf.validate.oneof).required = true; string card = 6; string cash = 7; }
  Order parent = 8;
  int32 share = 9 [(buf.validate.field).cel = {id: "share.fits", message: "must divide 100", expression: "this == 0 || 100 % this == 0"}];
  repeated bool flags = 10;
}
message Item { int32 count = 1 [(buf.validate.field).int32.gt = 0]; repeated Item parts = 2; }
message Plain { string name = 1; Deep deep = 2; }
message Deep { Plain plain = 1; repeated string names = 2; }
message Around { Plain plain = 1; Deeper deeper = 2; }
message Deeper { map<string, Item> items = 1; }
`

func message(f protoreflect.FileDescriptor, name protoreflect.Name) protoreflect.MessageDescriptor {
	return f.Messages().ByName(name)
}

func rulesOf(t testing.TB, md protoreflect.MessageDescriptor) *Rules {
	t.Helper()
	r, err := NewCompiler(protoregistry.GlobalTypes, nil).Compile(md)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wireOf(t testing.TB, md protoreflect.MessageDescriptor, text string) []byte {
	t.Helper()
	m := dynamicpb.NewMessage(md)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// violations returns "field REASON: description" of an error that names at least one.
func violations(t testing.TB, err error) []string {
	t.Helper()
	s := status.Convert(err)
	details := s.Details()
	if s.Code() != codes.InvalidArgument || len(details) != 2 {
		t.Fatalf("status %v with details %v", s, details)
	}
	if info := details[0].(*errdetails.ErrorInfo); info.GetReason() != "VALIDATION_FAILED" || info.GetDomain() != "crossgate" {
		t.Errorf("ErrorInfo %v", info)
	}
	var list []string
	for _, v := range details[1].(*errdetails.BadRequest).GetFieldViolations() {
		list = append(list, fmt.Sprintf("%s %s: %s", v.GetField(), v.GetReason(), v.GetDescription()))
	}
	return list
}

func TestAMessageThatBreaksItsRulesIsRefusedWithFieldsAndRules(t *testing.T) {
	order := message(compileProto(t, shop), "Order")
	rules := rulesOf(t, order)
	const good = `"customerName":"annabel","orderItems":[{"count":1}],"card":"x"`
	for _, c := range []struct {
		name, json string
		want       []string
	}{
		{"nothing wrong", `{` + good + `}`, nil},
		{"a field", `{"customerName":"an","orderItems":[{"count":1}],"card":"x"}`,
			[]string{"customerName STRING_MIN_LEN: must be at least 3 characters [string.min_len]"}},
		{"an element of a list, and of one in it", `{"customerName":"ann","orderItems":[{"count":1},{"count":0,"parts":[{"count":-1}]}],"card":"x"}`, []string{
			"orderItems[1].count INT32_GT: must be greater than 0 [int32.gt]",
			"orderItems[1].parts[0].count INT32_GT: must be greater than 0 [int32.gt]",
		}},
		{"a value of a map", `{` + good + `,"byKey":{"a":{"count":0}}}`,
			[]string{`byKey["a"].count INT32_GT: must be greater than 0 [int32.gt]`}},
		{"a key of a map", `{` + good + `,"byKey":{"A":{"count":1}}}`,
			[]string{"byKey[\"A\"] (key) STRING_PATTERN: does not match regex pattern `^[a-z]+$` [string.pattern]"}},
		{"an embedded message", `{` + good + `,"parent":{"orderItems":[{"count":1}],"cash":"x"}}`,
			[]string{"parent.customerName STRING_MIN_LEN: must be at least 3 characters [string.min_len]"}},
		{"a rule of the message's own", `{` + good + `,"made":"2026-01-02T00:00:00Z","sent":"2026-01-01T00:00:00Z"}`,
			[]string{" ORDER_DATES: must be sent after it was made [order.dates]"}},
		{"a rule of the field's own", `{` + good + `,"share":3}`,
			[]string{"share SHARE_FITS: must divide 100 [share.fits]"}},
		{"a oneof", `{"customerName":"ann","orderItems":[{"count":1}]}`,
			[]string{"pay REQUIRED: exactly one field is required in oneof [required]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := rules.Check(wireOf(t, order, c.json))
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := violations(t, err); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("violations\n%q\nwant\n%q", got, c.want)
			}
			if first := strings.SplitN(c.want[0], " ", 2)[0]; !strings.HasPrefix(err.Error(), first) {
				t.Errorf("the message %q does not name %q", err, first)
			}
		})
	}
}

func TestTypesThatLeadToNoRulesHaveNone(t *testing.T) {
	f := compileProto(t, shop)
	for name, want := range map[protoreflect.Name]bool{"Plain": false, "Deep": false, "Around": true, "Deeper": true, "Item": true} {
		if r := rulesOf(t, message(f, name)); (r != nil) != want {
			t.Errorf("%s has rules: %v, want %v", name, r != nil, want)
		}
	}
	var none *Rules
	if err := none.Check([]byte("anything")); err != nil {
		t.Error(err)
	}
}

func TestABrokenRuleIsAnErrorThatNamesMessageAndField(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an expression that does not parse", `message M { In in = 1; } message In { int32 a = 1; int32 b = 2 [(buf.validate.field).cel = {id: "x", expression: "this >"}]; }`,
			"message t.In, field b: broken rule: failed to compile expression x"},
		{"an expression of another type", `message M { string s = 1 [(buf.validate.field).cel = {id: "x", expression: "this > 3"}]; }`,
			"message t.M, field s: broken rule"},
		{"an expression that is neither true nor text", `message M { string s = 1 [(buf.validate.field).cel = {id: "x", expression: "size(this)"}]; }`,
			"message t.M, field s: broken rule: expression x outputs int"},
		{"a rule for another type", `message M { int32 n = 1 [(buf.validate.field).string.min_len = 1]; }`, "message t.M, field n: broken rule"},
		{"a rule of the message", `message M { option (buf.validate.message).cel = {id: "x", expression: "this.none == 1"}; int32 n = 1; } `,
			"message t.M: broken rule: failed to compile expression x"},
		{"one that is behind a list, a map and a cycle", `message M { repeated L l = 1; M m = 2; } message L { map<string, B> b = 1; M m = 2; } message B { M m = 1; string s = 2 [(buf.validate.field).cel = {id: "x", expression: "no"}]; }`,
			"message t.B, field s: broken rule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewCompiler(protoregistry.GlobalTypes, nil).Compile(message(compileProto(t, header+c.text), "M"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestPredefinedRulesOfASetAreFound(t *testing.T) {
	f := compileProto(t, `edition = "2023"; package t; import "buf/validate/validate.proto";
		extend buf.validate.StringRules { bool loud = 80048952 [(buf.validate.predefined).cel = {id: "string.loud", message: "must be loud", expression: "!rule || this == this.upperAscii()"}]; }
		message M { string s = 1 [(buf.validate.field).string.(loud) = true]; }`)
	var types protoregistry.Types
	if err := types.RegisterExtension(dynamicpb.NewExtensionType(f.Extensions().Get(0))); err != nil {
		t.Fatal(err)
	}
	md := message(f, "M")
	rules, err := NewCompiler(&types, []protoreflect.MessageDescriptor{md}).Compile(md)
	if err != nil {
		t.Fatal(err)
	}
	if got := violations(t, rules.Check(wireOf(t, md, `{"s":"quiet"}`))); got[0] != "s STRING_LOUD: must be loud [string.loud]" {
		t.Errorf("violations %q", got)
	}
	if _, err := NewCompiler(new(protoregistry.Types), nil).Compile(md); err == nil || !strings.Contains(err.Error(), "message t.M, field s") {
		t.Errorf("a rule that nobody knows: error %v", err)
	}
}

func TestARuleThatCannotBeEvaluatedIsTheRulesFault(t *testing.T) {
	md := message(compileProto(t, header+`message M { int32 n = 1 [(buf.validate.field).cel = {id: "x", expression: "[1, 2][this] == 1"}]; }`), "M")
	err := rulesOf(t, md).Check(wireOf(t, md, `{"n":7}`))
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "a rule of t.M cannot be evaluated" {
		t.Errorf("%v", err)
	}
}

func TestBytesThatAreNoMessageAreRefused(t *testing.T) {
	order := message(compileProto(t, shop), "Order")
	rules := rulesOf(t, order)
	deep := []byte(nil)
	for range 150 {
		deep = append(protowire.AppendTag(nil, 8, protowire.BytesType), protowire.AppendBytes(nil, deep)...)
	}
	for name, wire := range map[string][]byte{
		"cut off": {0x0a, 9, 'x'}, "a tag that is none": {0x07}, "text that is no UTF-8": {0x0a, 1, 0xff}, "too deep": deep,
	} {
		if s := status.Convert(rules.Check(wire)); s.Code() != codes.InvalidArgument || len(s.Details()) != 1 {
			t.Errorf("%s: %v", name, s)
		}
	}
}

func TestAMessageThatWouldTakeTooMuchMemoryIsRefusedUnbuilt(t *testing.T) {
	order := message(compileProto(t, shop), "Order")
	rules := rulesOf(t, order)
	items := func(n int) []byte { // of two bytes each
		return []byte(strings.Repeat("\x12\x00", n))
	}
	flags := func(n int) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 10, protowire.BytesType), make([]byte, n))
	}
	for name, wire := range map[string][]byte{"messages": items(65_537), "packed values": flags(1_048_577)} {
		if s := status.Convert(rules.Check(wire)); s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "holds too much") {
			t.Errorf("%s: %v", name, s)
		}
	}
	// A heavy one that may be checked is refused with its first violation.
	if got := violations(t, rules.Check(items(60_000))); len(got) != 1 {
		t.Errorf("%d violations of a heavy message", len(got))
	}
	// A light one with all, of which the error lists some.
	err := rules.Check(items(200))
	if got := violations(t, err); len(got) != maxViolations || !strings.Contains(err.Error(), "and 201 more") {
		t.Errorf("%d violations, %v", len(got), err)
	}
}

func TestReasonsHaveTheFormOfConstants(t *testing.T) {
	for id, want := range map[string]string{
		"string.min_len": "STRING_MIN_LEN", "user.first-name.fits": "USER_FIRST_NAME_FITS", "": "", "..": "", strings.Repeat("a", 100): strings.Repeat("A", 63), "größe": "GR__E",
	} {
		if got := reason(id); got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	order := message(compileProto(b, shop), "Order")
	rules := rulesOf(b, order)
	wire := wireOf(b, order, `{"customerName":"annabel","orderItems":[{"count":1},{"count":2,"parts":[{"count":3}]}],"card":"x","share":4,"byKey":{"a":{"count":1}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := rules.Check(wire); err != nil {
			b.Fatal(err)
		}
	}
}
