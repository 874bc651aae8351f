package transcoder

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/api/distribution"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/typepb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// What we take and grpc-gateway does not, by its error: base64 without padding, durations in the JSON form beyond 292
// years, and (where unknown parameters are ignored) fields of what is no message.
var onlyOurs = []string{"illegal base64", "invalid duration", "invalid path"}

// What we refuse and grpc-gateway does not, by our error: one field by both its names, text that is no UTF-8, numbers in
// hexadecimal or with underscores, empty paths in a field mask, two members of a oneof of which one is a message, and what
// our limits forbid. It also has its own syntax for maps, name[key]=value and name=key&name=value, which is no parameter here.
var onlyTheirs = []string{"takes one value", "UTF-8", "a number of", "field paths", "only one of the oneof", "is a map", "messages deep", "more than 1000"}

// What both take and read in different ways: in a field mask lowerCamelCase, the form of the protobuf JSON mapping, names
// the field here, and grpc-gateway hands it on as it is; an empty mask is one empty path there.
func asWeReadMasks(m proto.Message) {
	_ = protorange.Range(m.ProtoReflect(), func(p protopath.Values) error {
		message, ok := p.Index(-1).Value.Interface().(protoreflect.Message)
		if !ok || message.Descriptor().FullName() != "google.protobuf.FieldMask" {
			return nil
		}
		fd := message.Descriptor().Fields().ByName("paths")
		list := message.Mutable(fd).List()
		for i := range list.Len() {
			list.Set(i, protoreflect.ValueOfString(snake(list.Get(i).String())))
		}
		if list.Len() == 1 && list.Get(0).String() == "" {
			message.Clear(fd)
		}
		return nil
	})
}

func snake(s string) string {
	return strings.ToLower(regexp.MustCompile("[A-Z]").ReplaceAllString(s, "_$0"))
}

// everything has a field of each kind that a parameter may be for, and of each that none may be.
const everything = `
syntax = "proto3";
package everything;
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/type.proto";
import "google/protobuf/wrappers.proto";
message Everything {
  double d = 1; float f = 2; int32 i = 3; int64 l = 4; uint32 u = 5; uint64 ul = 6; sint32 s = 7; sint64 sl = 8;
  fixed32 x = 9; fixed64 xl = 10; sfixed32 sx = 11; sfixed64 sxl = 12; bool b = 13; string t = 14; bytes r = 15;
  google.protobuf.Syntax e = 16; optional int32 oi = 17; optional string ot = 18;
  repeated int32 li = 20; repeated string lt = 21; repeated bool lb = 22; repeated google.protobuf.Syntax le = 23; repeated bytes lr = 24;
  google.protobuf.Timestamp time = 30; google.protobuf.Duration wait = 31; google.protobuf.FieldMask mask = 32;
  google.protobuf.DoubleValue wd = 40; google.protobuf.FloatValue wf = 41; google.protobuf.Int64Value wl = 42; google.protobuf.UInt64Value wul = 43;
  google.protobuf.Int32Value wi = 44; google.protobuf.UInt32Value wu = 45; google.protobuf.BoolValue wb = 46; google.protobuf.StringValue wt = 47;
  google.protobuf.BytesValue wr = 48; repeated google.protobuf.Int64Value lw = 49; repeated google.protobuf.Timestamp ltime = 50;
  google.protobuf.Struct object = 60; google.protobuf.Value any_value = 61; google.protobuf.Empty empty = 62;
  map<string, string> labels = 70; repeated Everything list = 71; Everything deep_field = 72;
  oneof choice { string left = 80; int32 right = 81; Everything third = 82; }
}
`

func everythingMessage(f testing.TB) proto.Message {
	f.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"everything.proto": everything})})}
	files, err := c.Compile(context.Background(), "everything.proto")
	if err != nil {
		f.Fatal(err)
	}
	// With the well-known types that grpc-gateway makes.
	file, err := protodesc.NewFile(protodesc.ToFileDescriptorProto(files[0]), protoregistry.GlobalFiles)
	if err != nil {
		f.Fatal(err)
	}
	return dynamicpb.NewMessage(file.Messages().Get(0))
}

func oneOf(text string, list []string) bool {
	for _, s := range list {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

func FuzzQueryAgainstGrpcGateway(f *testing.F) {
	messages := []proto.Message{&typepb.Field{}, &typepb.Type{}, &distribution.Distribution{}, &errdetails.RetryInfo{}, &httpbody.HttpBody{}, everythingMessage(f)}
	for which, seeds := range [][]string{
		{"kind=TYPE_STRING&number=7&packed=true&name=a+b", "jsonName=x&json_name=y", "cardinality=2&oneofIndex=-1&kind=99", "options=1"},
		{"oneofs=a&oneofs=b&sourceContext.fileName=f&syntax=SYNTAX_PROTO3", "source_context=1&fields.name=x", "nope=1&name.x=2"},
		{"count=7&mean=0.5&bucketCounts=1&bucket_counts=2&range.min=-1e3", "bucket_counts=1&bucket_counts=2&bucket_options.linear_buckets.width=2&bucketOptions.explicitBuckets.bounds=1", "mean=0x1p2"},
		{"retryDelay=1.5s", "retry_delay=1m&", "retryDelay.seconds=4", "retryDelay=315576000000s"},
		{"data=aGk%3D&contentType=%ff", "data=aGk", "data=-_8=", "extensions=1"},
		{
			"d=1e3&f=-0.5&i=-1&l=9223372036854775807&u=4294967295&ul=18446744073709551615&s=1&sl=2&x=3&xl=4&sx=5&sxl=6", "b=T&t=%C3%A9&r=aGk%3D&e=SYNTAX_PROTO3&oi=0&ot=",
			"b=True&b=0", "b=yes", "i=2147483648", "u=-1", "e=1&le=0&le=SYNTAX_EDITIONS", "li=1&li=2&lt=a&lt=&lb=f&lr=_-8%3D", "f=NaN&d=-Infinity", "i=01&l=%2B1",
			"time=2026-01-02T03:04:05.678%2B01:00&wait=1m30s", "time=0000-01-01T00:00:00Z", "mask=a,bC.d&ltime=2026-01-02T03:04:05Z", "mask=", "mask=a,,b", "mask.paths=aB",
			"wd=1&wf=2&wl=3&wul=4&wi=5&wu=6&wb=false&wt=x&wr=aGk%3D", "wi.value=7", "lw=1&lw=2", "wl=x",
			"object={%22a%22:[1,null]}&anyValue=3&empty=", "any_value=x", "empty=1", "labels=1", "labels=a&labels=b", "list=1", "list.i=1", "labels.a=1",
			"deepField.deep_field.i=1&deep_field.deepField.t=x", "left=a&right=1", "third.i=1&left=a", "left=a&third.i=1", "right=1&right=2", "deep_field.left=a&deepField.right=2",
		},
	} {
		for _, s := range seeds {
			f.Add(byte(which), s)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, raw string) {
		if strings.ContainsAny(raw, "[;") || strings.Contains(strings.ToLower(raw), "%5b") {
			return
		}
		m := messages[int(which)%len(messages)]
		md := m.ProtoReflect().Descriptor()
		request, err := codec.Reference.CompileRequest(md, "", codec.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ours := proto.Clone(m)
		params, ourErr := compileQuery(md, false, &Options{IgnoreUnknownQuery: true}).parse(nil, raw)
		for _, a := range params {
			for _, b := range params {
				if len(a.Path) < len(b.Path) && a.Path[len(a.Path)-1] == b.Path[len(a.Path)-1] {
					return // a message and a field of it: grpc-gateway takes them in random order
				}
			}
		}
		var wire []byte
		if ourErr == nil {
			wire, ourErr = request.AppendWire(nil, nil, params)
		}
		if ourErr == nil {
			ourErr = proto.Unmarshal(wire, ours)
		}
		theirs := proto.Clone(m)
		values, theirErr := url.ParseQuery(raw)
		names := map[string]int{}
		for key := range values {
			path, err := ResolvePath(md, key)
			if err != nil && strings.Contains(key, ".") {
				return // an unknown field of a message: grpc-gateway makes the message for it
			}
			if err == nil && path[len(path)-1].IsList() {
				if names[fmt.Sprint(path)]++; names[fmt.Sprint(path)] > 1 {
					return // a list by both its names: grpc-gateway takes them in random order
				}
			}
		}
		if theirErr == nil {
			theirErr = runtime.PopulateQueryParameters(theirs, values, utilities.NewDoubleArray(nil))
		}
		switch {
		case ourErr == nil && theirErr == nil:
			asWeReadMasks(ours)
			if asWeReadMasks(theirs); !proto.Equal(ours, theirs) {
				t.Errorf("%q: ours %v, theirs %v", raw, ours, theirs)
			}
		case ourErr == nil && !oneOf(theirErr.Error(), onlyOurs):
			t.Errorf("%q: only grpc-gateway refuses: %v", raw, theirErr)
		case theirErr == nil && !oneOf(ourErr.Error(), onlyTheirs):
			t.Errorf("%q: only we refuse: %v", raw, ourErr)
		}
	})
}
