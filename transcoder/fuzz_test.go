package transcoder

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/api/distribution"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

// What we take and grpc-gateway does not, by its error: base64 without padding, durations in the JSON form beyond 292
// years, and (where unknown parameters are ignored) fields of what is no message.
var onlyOurs = []string{"illegal base64", "invalid duration", "invalid path"}

// What we refuse and grpc-gateway does not, by our error: one field by both its names, text that is no UTF-8, numbers in
// hexadecimal or with underscores, and what our limits forbid. It also has its own syntax for maps, name[key]=value, which
// is no parameter here.
var onlyTheirs = []string{"takes one value", "UTF-8", "a number of", "messages deep", "more than 1000"}

func oneOf(text string, list []string) bool {
	for _, s := range list {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

func FuzzQueryAgainstGrpcGateway(f *testing.F) {
	messages := []proto.Message{&typepb.Field{}, &typepb.Type{}, &distribution.Distribution{}, &errdetails.RetryInfo{}, &httpbody.HttpBody{}}
	for which, seeds := range [][]string{
		{"kind=TYPE_STRING&number=7&packed=true&name=a+b", "jsonName=x&json_name=y", "cardinality=2&oneofIndex=-1&kind=99", "options=1"},
		{"oneofs=a&oneofs=b&sourceContext.fileName=f&syntax=SYNTAX_PROTO3", "source_context=1&fields.name=x", "nope=1&name.x=2"},
		{"count=7&mean=0.5&bucketCounts=1&bucket_counts=2&range.min=-1e3", "bucket_counts=1&bucket_counts=2&bucket_options.linear_buckets.width=2&bucketOptions.explicitBuckets.bounds=1", "mean=0x1p2"},
		{"retryDelay=1.5s", "retry_delay=1m&", "retryDelay.seconds=4", "retryDelay=315576000000s"},
		{"data=aGk%3D&contentType=%ff", "data=aGk", "data=-_8=", "extensions=1"},
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
			if !proto.Equal(ours, theirs) {
				t.Errorf("%q: ours %v, theirs %v", raw, ours, theirs)
			}
		case ourErr == nil && !oneOf(theirErr.Error(), onlyOurs):
			t.Errorf("%q: only grpc-gateway refuses: %v", raw, theirErr)
		case theirErr == nil && !oneOf(ourErr.Error(), onlyTheirs):
			t.Errorf("%q: only we refuse: %v", raw, ourErr)
		}
	})
}
