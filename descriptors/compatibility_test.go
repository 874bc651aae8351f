package descriptors

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// protoSet compiles the text of one .proto file, at path, into a serialized set with its imports.
func protoSet(t testing.TB, path, text string) []byte {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{path: text})},
		protocompile.ResolverFunc(linkedIn),
	}}
	files, err := compiler.Compile(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	collect(set, map[string]bool{}, files[0])
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const shopProto = `
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
service Shop {
  rpc Get(GetRequest) returns (Item) {
    option (google.api.http) = {
      get: "/v1/{name=shelves/*/items/*}"
      additional_bindings {post: "/v1/items:get" body: "*" response_body: "title"}
    };
  }
  rpc Watch(GetRequest) returns (stream Item);
}
service Stock { rpc Count(GetRequest) returns (Item); }
message GetRequest { string name = 1; }
message Item {
  string title = 1;
  int64 price = 2;
  Colour colour = 3;
  repeated string tags = 4;
  map<string, int32> sizes = 5;
  Part part = 6;
  oneof kind { string book = 7; string film = 8; }
  optional string note = 9;
  message Part { string name = 1; Grade grade = 2; }
  enum Grade { GRADE_UNSPECIFIED = 0; GOOD = 1; }
}
enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }
`

// edit replaces texts of shopProto, in pairs.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(shopProto, pairs[i]) {
			t.Fatalf("%q is not there to be replaced", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(shopProto)
}

func TestCompareFindsWhatBreaksCallers(t *testing.T) {
	old := protoSet(t, "shop.proto", shopProto)
	for _, c := range []struct {
		name  string
		edits []string
		want  []string
	}{
		{"nothing", nil, nil},
		{"a service", []string{"service Stock { rpc Count(GetRequest) returns (Item); }", ""},
			[]string{"SERVICE_REMOVED shop.v1.Stock: the service is gone"}},
		{"a method", []string{"rpc Watch(GetRequest) returns (stream Item);", ""},
			[]string{"METHOD_REMOVED shop.v1.Shop.Watch: the method is gone"}},
		{"what a method takes", []string{"Watch(GetRequest)", "Watch(Item)"},
			[]string{"METHOD_INPUT_CHANGED shop.v1.Shop.Watch: it took shop.v1.GetRequest, and takes shop.v1.Item"}},
		{"what a method answers", []string{"Count(GetRequest) returns (Item)", "Count(GetRequest) returns (GetRequest)"},
			[]string{"METHOD_OUTPUT_CHANGED shop.v1.Stock.Count: it answered shop.v1.Item, and answers shop.v1.GetRequest"}},
		{"a kind of method", []string{"returns (stream Item)", "returns (Item)"},
			[]string{"METHOD_STREAMING_CHANGED shop.v1.Shop.Watch: it was a server stream, and is a unary"}},
		{"a binding", []string{`additional_bindings {post: "/v1/items:get" body: "*" response_body: "title"}`, ""},
			[]string{"BINDING_REMOVED shop.v1.Shop.Get: POST /v1/items:get is gone"}},
		{"the path of a binding", []string{"shelves/*/items/*", "shelves/*"},
			[]string{"BINDING_REMOVED shop.v1.Shop.Get: GET /v1/{name=shelves/*/items/*} is gone"}},
		{"the bodies of a binding", []string{`body: "*" response_body: "title"`, `body: "name"`}, []string{
			"BINDING_CHANGED shop.v1.Shop.Get: the body of POST /v1/items:get was the whole message, and is the field name",
			"BINDING_CHANGED shop.v1.Shop.Get: the answer of POST /v1/items:get was the field title, and is the whole message",
		}},
		{"a field", []string{"int64 price = 2;", "reserved 2;"},
			[]string{"FIELD_REMOVED shop.v1.Item.price: field 2 is gone"}},
		{"the number of a field", []string{"int64 price = 2;", "int64 price = 20;"},
			[]string{"FIELD_NUMBER_CHANGED shop.v1.Item.price: its number was 2, and is 20"}},
		{"the name of a field", []string{"int64 price = 2;", "int64 cost = 2;"},
			[]string{"FIELD_NAME_CHANGED shop.v1.Item.price: field 2 was called price, and is called cost"}},
		{"two fields that change places", []string{"string title = 1;", "string title = 2;", "int64 price = 2;", "int64 price = 1;"}, []string{
			"FIELD_NUMBER_CHANGED shop.v1.Item.price: its number was 2, and is 1",
			"FIELD_NUMBER_CHANGED shop.v1.Item.title: its number was 1, and is 2",
		}},
		{"the JSON name of a field", []string{"int64 price = 2;", `int64 price = 2 [json_name = "cost"];`},
			[]string{"FIELD_JSON_NAME_CHANGED shop.v1.Item.price: its JSON name was price, and is cost"}},
		{"the type of a field", []string{"int64 price = 2;", "int32 price = 2;"},
			[]string{"FIELD_TYPE_CHANGED shop.v1.Item.price: its type was int64, and is int32"}},
		{"the message of a field", []string{"Part part = 6;", "GetRequest part = 6;"},
			[]string{"FIELD_TYPE_CHANGED shop.v1.Item.part: its type was shop.v1.Item.Part, and is shop.v1.GetRequest"}},
		{"the values of a map", []string{"map<string, int32> sizes", "map<string, int64> sizes"},
			[]string{"FIELD_TYPE_CHANGED shop.v1.Item.sizes: its type was map<string, int32>, and is map<string, int64>"}},
		{"a list that becomes one", []string{"repeated string tags", "string tags"},
			[]string{"FIELD_LABEL_CHANGED shop.v1.Item.tags: it was repeated, and is singular"}},
		{"a map that becomes a list", []string{"map<string, int32> sizes", "repeated int32 sizes"},
			[]string{"FIELD_LABEL_CHANGED shop.v1.Item.sizes: it was a map, and is repeated"}},
		{"a field that leaves a oneof", []string{"oneof kind { string book = 7; string film = 8; }", "oneof kind { string book = 7; } string film = 8;"},
			[]string{"FIELD_ONEOF_CHANGED shop.v1.Item.film: it was in the oneof kind, and is in no oneof"}},
		{"a nested message", []string{"Part part = 6;", "reserved 6;", "message Part { string name = 1; Grade grade = 2; }", ""}, []string{
			"MESSAGE_REMOVED shop.v1.Item.Part: the message is gone",
			"FIELD_REMOVED shop.v1.Item.part: field 6 is gone",
		}},
		{"an enum", []string{"enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; BLUE = 2; }", "", "Colour colour = 3;", "string colour = 3;"}, []string{
			"ENUM_REMOVED shop.v1.Colour: the enum is gone",
			"FIELD_TYPE_CHANGED shop.v1.Item.colour: its type was shop.v1.Colour, and is string",
		}},
		{"values of enums", []string{"RED = 1; BLUE = 2;", "RED = 3;", "GOOD = 1;", "FINE = 1;"}, []string{
			"ENUM_VALUE_REMOVED shop.v1.Colour.BLUE: the value 2 is gone, or has another name",
			"ENUM_VALUE_NUMBER_CHANGED shop.v1.Colour.RED: its number was 1, and is 3",
			"ENUM_VALUE_REMOVED shop.v1.Item.Grade.GOOD: the value 1 is gone, or has another name",
		}},
		{"what callers do not notice", []string{
			"int64 price = 2;", "optional int64 price = 2; string added = 30;",
			"optional string note", "string note",
			"service Stock {", "service Added { rpc Get(Item) returns (Item); } service Stock {",
			"{name=shelves/*/items/*}", "shelves/*/{name=items/*}",
			"RED = 1;", "RED = 1; GREEN = 5;",
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			breaks, err := Compare(old, protoSet(t, "shop/v1/moved.proto", edit(t, c.edits...)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range breaks {
				got = append(got, b.String())
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("breaks\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
		})
	}
}

func TestCompareFindsNewRequiredFieldsAndExtensions(t *testing.T) {
	const old = `
syntax = "proto2";
package a;
import "google/protobuf/descriptor.proto";
message M { optional string x = 1; extensions 100 to 200; }
extend M { optional string gone = 100; optional string moved = 101; optional string kept = 102; }
extend google.protobuf.FieldOptions { optional string option = 50000; }
`
	const new = `
syntax = "proto2";
package a;
message M { required string x = 1; required string y = 2; extensions 100 to 200; }
extend M { optional string moved = 103; repeated string kept = 102; }
`
	breaks, err := Compare(protoSet(t, "a.proto", old), protoSet(t, "a.proto", new))
	if err != nil {
		t.Fatal(err)
	}
	if len(breaks) != 5 {
		t.Errorf("%d breaks %v, want 5", len(breaks), breaks)
	}
	for _, want := range []string{
		"FIELD_LABEL_CHANGED a.M.x: it was singular, and is required", "FIELD_REQUIRED a.M.y: the field is new, and required",
		"FIELD_REMOVED a.gone: extension 100 of a.M is gone", "FIELD_NUMBER_CHANGED a.moved: its number was 101, and is 103",
		"FIELD_LABEL_CHANGED a.kept: it was singular, and is repeated",
	} {
		if !slices.ContainsFunc(breaks, func(b Break) bool { return b.String() == want }) {
			t.Errorf("breaks %v, want %s", breaks, want)
		}
	}
}

func TestCompareTakesNoBrokenSets(t *testing.T) {
	good := protoSet(t, "shop.proto", shopProto)
	if _, err := Compare([]byte("x"), good); err == nil || !strings.Contains(err.Error(), "the old set") {
		t.Errorf("error %v", err)
	}
	if _, err := Compare(good, []byte("x")); err == nil || !strings.Contains(err.Error(), "the new set") {
		t.Errorf("error %v", err)
	}
}

func TestCompareFindsNothingInRealSetsThatStay(t *testing.T) {
	for _, file := range []string{etcdSet, "testdata/bench.binpb"} {
		if breaks, err := Compare(read(t, file), read(t, file)); err != nil || len(breaks) > 0 {
			t.Errorf("%s: %v, %v", file, breaks, err)
		}
	}
}
