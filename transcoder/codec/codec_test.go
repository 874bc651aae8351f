package codec

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const testProto = `
syntax = "proto3";
package test;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Kind { KIND_UNSPECIFIED = 0; BOOK = 1; TOOL = 2; }
message Owner { string id = 1; string display_name = 2; Owner boss = 3; }
message Item {
  string title = 1; int32 count = 2; int64 big = 3; uint32 small = 4; uint64 huge = 5; bool ok = 6; float ratio = 7;
  double exact = 8; bytes raw = 9; Kind kind = 10; Owner owner = 11; repeated string tags = 12; repeated int32 sizes = 13;
  map<string, string> labels = 14; repeated Owner owners = 15; optional int32 maybe = 16; repeated Kind kinds = 17;
  google.protobuf.Timestamp at = 20; google.protobuf.Duration wait = 21; google.protobuf.FieldMask mask = 22;
  google.protobuf.Struct object = 23; google.protobuf.Value value = 24; google.protobuf.Empty empty = 25;
  google.protobuf.Int64Value wrapped = 26; google.protobuf.StringValue text = 27; google.protobuf.BoolValue flag = 28;
  google.protobuf.BytesValue wrapped_raw = 29; google.protobuf.ListValue list = 30; google.protobuf.Any any = 31;
  repeated google.protobuf.Timestamp times = 32; map<string, Owner> people = 33;
  oneof choice { string name = 40; int32 number = 41; }
}
`

func compileProto(t testing.TB, source string) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"test.proto": source}),
	})}
	files, err := c.Compile(context.Background(), "test.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

func message(t testing.TB, name protoreflect.Name) protoreflect.MessageDescriptor {
	t.Helper()
	return compileProto(t, testProto).Messages().ByName(name)
}

// fieldPath finds a field by its dotted path, through singular messages; it is nil when there is none.
func fieldPath(md protoreflect.MessageDescriptor, names string) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(names, ".") {
		if md == nil || len(fields) > 0 && fields[len(fields)-1].Cardinality() == protoreflect.Repeated {
			return nil
		}
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return nil
		}
		fields, md = append(fields, fd), fd.Message()
	}
	return fields
}

// params reads "a.b=x" pairs.
func params(t testing.TB, md protoreflect.MessageDescriptor, pairs []string) []Param {
	t.Helper()
	var list []Param
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		path := fieldPath(md, name)
		if path == nil {
			t.Fatalf("no field %s in %s", name, md.FullName())
		}
		list = append(list, Param{Path: path, Value: value})
	}
	return list
}

// same reports whether wire holds what the JSON says.
func same(t *testing.T, md protoreflect.MessageDescriptor, wire []byte, text string) {
	t.Helper()
	got, want := dynamicpb.NewMessage(md), dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal([]byte(text), want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", protojson.Format(got), protojson.Format(want))
	}
}

func TestReferenceRequest(t *testing.T) {
	md := message(t, "Item")
	for _, c := range []struct {
		name   string
		bound  string
		body   string
		params []string
		want   string
	}{
		{"the body is the message", "*", `{"title":"a","owner":{"displayName":"Ada"}}`, nil, `{"title":"a","owner":{"displayName":"Ada"}}`},
		{"proto names are taken too", "*", `{"owner":{"display_name":"Ada"}}`, nil, `{"owner":{"displayName":"Ada"}}`},
		{"an empty body sets nothing", "*", ``, nil, `{}`},
		{"a body of spaces sets nothing", "*", " \n", nil, `{}`},
		{"a body that is a message field", "owner", `{"id":"1"}`, nil, `{"owner":{"id":"1"}}`},
		{"a body that is a list", "tags", `["a","b"]`, nil, `{"tags":["a","b"]}`},
		{"a body that is a map", "labels", `{"a":"b"}`, nil, `{"labels":{"a":"b"}}`},
		{"a body that is a scalar", "count", `7`, nil, `{"count":7}`},
		{"a body of null is an unset field", "owner", `null`, nil, `{}`},
		{"without a binding the body is not read", "", `{"title":`, []string{"count=1"}, `{"count":1}`},
		{"a param replaces a scalar of the body", "*", `{"title":"a"}`, []string{"title=b"}, `{"title":"b"}`},
		{"a nested param joins the body's message", "owner", `{"displayName":"Ada"}`, []string{"owner.id=7"}, `{"owner":{"id":"7","displayName":"Ada"}}`},
		{"a nested param makes the messages on its way", "", ``, []string{"owner.boss.boss.id=1"}, `{"owner":{"boss":{"boss":{"id":"1"}}}}`},
		{"a repeated field takes a param for each element", "", ``, []string{"tags=a", "tags=b", "sizes=1"}, `{"tags":["a","b"],"sizes":[1]}`},
		{"a param is appended to the body's list", "*", `{"tags":["a"]}`, []string{"tags=b"}, `{"tags":["a","b"]}`},
		{"a param of another member of a oneof wins", "*", `{"name":"a"}`, []string{"number=3"}, `{"number":3}`},
		{"zero in a field with presence is there", "", ``, []string{"maybe=0"}, `{"maybe":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Reference.CompileRequest(md, c.bound, Options{})
			if err != nil {
				t.Fatal(err)
			}
			wire, err := r.AppendWire([]byte("x"), []byte(c.body), params(t, md, c.params))
			if err != nil {
				t.Fatal(err)
			}
			if wire[0] != 'x' {
				t.Error("the message is not appended")
			}
			same(t, md, wire[1:], c.want)
		})
	}
}

func TestReferenceWritesEachEmbeddedMessageOnce(t *testing.T) {
	md := message(t, "Item")
	r, err := Reference.CompileRequest(md, "owner", Options{})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := r.AppendWire(nil, []byte(`{"id":"1"}`), params(t, md, []string{"owner.display_name=Ada"}))
	if err != nil {
		t.Fatal(err)
	}
	// dynamicpb ranges over a map, so that the two fields of the owner stand in either order.
	if want := []string{"\x5a\x08\x0a\x011\x12\x03Ada", "\x5a\x08\x12\x03Ada\x0a\x011"}; !slices.Contains(want, string(wire)) {
		t.Errorf("wire %q, want one of %q", wire, want)
	}
}

func TestReferenceRefuses(t *testing.T) {
	md := message(t, "Item")
	for _, c := range []struct {
		name   string
		bound  string
		body   string
		params []string
		field  string
		reason string // contained
	}{
		{"a string for an integer", "*", `{"count":"abc"}`, nil, "count", `expected int32, got "abc" (line 1, column 10)`},
		{"a number for a bool", "*", "{\n \"ok\": 7}", nil, "ok", `expected bool, got 7 (line 2, column 8)`},
		{"a place in a list of messages", "*", `{"owners":[{"id":"a"},{"id":1}]}`, nil, "owners[1].id", "expected string, got 1"},
		{"a place in a map", "*", `{"people":{"ann":{"id":1}}}`, nil, "people.ann.id", "expected string, got 1"},
		{"an element of a list", "*", `{"sizes":[1,"x"]}`, nil, "sizes[1]", "expected int32"},
		{"a field that is not there", "*", `{"owner":{"nope":1}}`, nil, "owner", `unknown field "nope"`},
		{"a field twice", "*", `{"title":"a","title":"b"}`, nil, "", `duplicate field "title"`},
		{"two members of a oneof", "*", `{"name":"a","number":1}`, nil, "", "oneof"},
		{"an enum name that is not there", "*", `{"kind":"CAR"}`, nil, "kind", `expected enum, got "CAR"`},
		{"bytes that are no base64", "*", `{"raw":"***"}`, nil, "raw", "expected bytes"},
		{"a bad time", "*", `{"at":"yesterday"}`, nil, "at", "expected google.protobuf.Timestamp"},
		{"JSON that ends too early", "*", `{"title":`, nil, "", "ends too early"},
		{"JSON that does not end", "*", `{"title":"a"} {}`, nil, "", "unexpected token {"},
		{"no JSON", "*", `title=a`, nil, "", "invalid value title"},
		{"an array for a message", "*", `[]`, nil, "", "unexpected token ["},
		{"a bad value below the body's field", "owner", `{"id":1}`, nil, "owner.id", `expected string, got 1 (line 1, column 7)`},
		{"a body that would add other fields", "count", `1,"title":"x"`, nil, "count", "not valid JSON"},
		{"a body's field of another type", "tags", `{}`, nil, "tags", "unexpected token {"},
		{"a number out of range", "*", `{"count":3000000000}`, nil, "count", "expected int32"},
		{"an Any of a type nobody knows", "*", `{"any":{"@type":"type.googleapis.com/no.Such"}}`, nil, "any.@type", "unable to resolve"},
		{"invalid UTF-8", "*", "{\"title\":\"\xff\"}", nil, "title", "invalid UTF-8"},
		{"a param of the wrong kind", "", ``, []string{"owner.boss.id=a", "sizes=x"}, "sizes", `expected a whole number of 32 bits, got "x"`},
		{"a param for a message", "", ``, []string{"owner=x"}, "owner", "is a message"},
		{"a param for a map", "", ``, []string{"labels=x"}, "labels", "is a map"},
		{"a param for a repeated message", "", ``, []string{"owners=x"}, "owners", "repeated message"},
		{"the field path of a nested param", "", ``, []string{"owner.display_name=\xff"}, "owner.displayName", "valid UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Reference.CompileRequest(md, c.bound, Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.AppendWire(nil, []byte(c.body), params(t, md, c.params))
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if bad.Field != c.field || !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("field %q, reason %q; want %q, %q", bad.Field, bad.Reason, c.field, c.reason)
			}
			if strings.Contains(bad.Error(), "proto:") || strings.Contains(bad.Error(), "\u00a0") {
				t.Errorf("the text of the protobuf module shows: %q", bad)
			}
		})
	}
}

func TestReferenceIgnoresUnknownFieldsWhenToldTo(t *testing.T) {
	md := message(t, "Item")
	r, err := Reference.CompileRequest(md, "*", Options{DiscardUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := r.AppendWire(nil, []byte(`{"nope":{"a":[1]},"title":"x"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, md, wire, `{"title":"x"}`)
}

func TestReferenceAsksForRequiredFields(t *testing.T) {
	md := compileProto(t, `syntax = "proto2"; package test; message Old { required string id = 1; optional string note = 2; }`).Messages().Get(0)
	r, err := Reference.CompileRequest(md, "*", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AppendWire(nil, []byte(`{"note":"a"}`), nil); err == nil || !strings.Contains(err.Error(), "test.Old.id") {
		t.Errorf("error %v, want one that names the field", err)
	}
	if _, err := r.AppendWire(nil, []byte(`{"note":"a"}`), params(t, md, []string{"id=1"})); err != nil {
		t.Errorf("a required field given as a param: %v", err)
	}
}

func TestReferenceResponse(t *testing.T) {
	md := message(t, "Item")
	owner := message(t, "Owner")
	for _, c := range []struct {
		name    string
		md      protoreflect.MessageDescriptor
		field   string
		options Options
		message string
		want    string
	}{
		{"unset fields are left out", md, "", Options{}, `{"title":"a","big":"7"}`, `{"title":"a","big":"7"}`},
		{"unset fields are emitted", owner, "", Options{EmitUnpopulated: true}, `{"id":"1"}`, `{"id":"1","displayName":"","boss":null}`},
		{"proto names", owner, "", Options{ProtoNames: true}, `{"displayName":"a"}`, `{"display_name":"a"}`},
		{"enums as names", md, "", Options{}, `{"kind":"BOOK"}`, `{"kind":"BOOK"}`},
		{"enums as numbers", md, "", Options{EnumNumbers: true}, `{"kind":"BOOK","kinds":["TOOL"]}`, `{"kind":1,"kinds":[2]}`},
		{"integers of 64 bits as numbers", md, "", Options{Int64Numbers: true}, `{"big":"-7","huge":"7","wrapped":"7","owner":{"id":"7"},"labels":{"7":"7"}}`, `{"big":-7,"huge":7,"owner":{"id":"7"},"labels":{"7":"7"},"wrapped":7}`},
		{"an unset integer of 64 bits as a number", md, "big", Options{Int64Numbers: true}, `{}`, `0`},
		{"an enum value without a name", md, "", Options{}, `{"kind":99}`, `{"kind":99}`},
		{"a message field", md, "owner", Options{}, `{"title":"a","owner":{"id":"1"}}`, `{"id":"1"}`},
		{"a message field that is not set", md, "owner", Options{}, `{}`, `{}`},
		{"a message field that is not set, all emitted", md, "owner", Options{EmitUnpopulated: true}, `{}`, `{"id":"","displayName":"","boss":null}`},
		{"a list of messages", md, "owners", Options{ProtoNames: true}, `{"owners":[{"displayName":"a"},{}]}`, `[{"display_name":"a"},{}]`},
		{"an empty list", md, "owners", Options{}, `{"title":"a"}`, `[]`},
		{"a map", md, "labels", Options{}, `{"labels":{"b":"1","a":"2"}}`, `{"a":"2","b":"1"}`},
		{"an empty map", md, "labels", Options{}, `{}`, `{}`},
		{"a scalar", md, "title", Options{}, `{"title":"a"}`, `"a"`},
		{"an unset scalar", md, "big", Options{}, `{}`, `"0"`},
		{"an unset scalar with presence", md, "maybe", Options{}, `{}`, `null`},
		{"a member of a oneof that is not set", md, "number", Options{EmitUnpopulated: true}, `{"name":"a"}`, `null`},
		{"an unset Value", md, "value", Options{}, `{}`, `null`},
		{"a Timestamp", md, "at", Options{}, `{"at":"2026-01-02T03:04:05.100Z"}`, `"2026-01-02T03:04:05.100Z"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Reference.CompileResponse(c.md, c.field, c.options)
			if err != nil {
				t.Fatal(err)
			}
			m := dynamicpb.NewMessage(c.md)
			if err := protojson.Unmarshal([]byte(c.message), m); err != nil {
				t.Fatal(err)
			}
			wire, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.AppendJSON([]byte("x"), wire)
			if err != nil || string(got) != "x"+c.want {
				t.Errorf("got %s, %v, want x%s", got, err, c.want)
			}
		})
	}
}

func TestReferenceResponseRefusesMalformedWire(t *testing.T) {
	r, err := Reference.CompileResponse(message(t, "Item"), "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for wire, want := range map[string]string{
		"\x0a\xff":                  "test.Item",
		"\x72\x05\x0a\x01a\x08\x01": "a map entry with keys of two types",
	} {
		got, err := r.AppendJSON([]byte("x"), []byte(wire))
		if err == nil || string(got) != "x" || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %q, %v", wire, got, err)
		}
	}
}

func TestCompileRefusesFieldsThatAreNotThere(t *testing.T) {
	md := message(t, "Item")
	if _, err := Reference.CompileRequest(md, "nope", Options{}); err == nil || !strings.Contains(err.Error(), `body: test.Item has no field "nope"`) {
		t.Errorf("body: %v", err)
	}
	if _, err := Reference.CompileResponse(md, "nope", Options{}); err == nil || !strings.Contains(err.Error(), `response_body: test.Item has no field "nope"`) {
		t.Errorf("response_body: %v", err)
	}
}

// TestDeepJSON says that nesting ends in an error, not in a crash.
func TestDeepJSON(t *testing.T) {
	md := message(t, "Item")
	r, err := Reference.CompileRequest(md, "*", Options{})
	if err != nil {
		t.Fatal(err)
	}
	deep := `{"owner":` + strings.Repeat(`{"boss":`, 200_000)
	if _, err := r.AppendWire(nil, []byte(deep), nil); err == nil {
		t.Error("no error")
	}
}

func FuzzReferenceErrorsHaveAPlace(f *testing.F) {
	for _, s := range []string{`{"count":"x"}`, `{"owners":[{"id":1}]}`, "{\n\"a\\\"b\":{", `{"people":{"é":{"id":1}}}`, "[", `"`} {
		f.Add(s)
	}
	md := message(f, "Item")
	whole, err := Reference.CompileRequest(md, "*", Options{})
	if err != nil {
		f.Fatal(err)
	}
	part, err := Reference.CompileRequest(md, "people", Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, r := range []Request{whole, part} {
			_, err := r.AppendWire(nil, []byte(body), nil)
			var bad *Error
			if err != nil && (!errors.As(err, &bad) || bad.Reason == "") {
				t.Errorf("%q: %v is no *Error with a reason", body, err)
			}
		}
	})
}
