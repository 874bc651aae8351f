package codec

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// twice returns the path of a singular message that stands more than once in wire, empty when none does.
func twice(md protoreflect.MessageDescriptor, wire []byte) string {
	seen := make(map[protoreflect.FieldNumber]bool)
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		value := wire[n:]
		n += protowire.ConsumeFieldValue(num, typ, value)
		wire = wire[n:]
		fd := md.Fields().ByNumber(num)
		if fd == nil || fd.Message() == nil || fd.IsMap() {
			continue
		}
		if !fd.IsList() && seen[num] {
			return string(fd.Name())
		}
		seen[num] = true
		b, _ := protowire.ConsumeBytes(value)
		if in := twice(fd.Message(), b); in != "" {
			return string(fd.Name()) + "." + in
		}
	}
	return ""
}

func TestRequestsAreTheReferences(t *testing.T) {
	md := message(t, "Item")
	bodies := map[string][]string{
		"":       {"", "{}"},
		"*":      {"", " ", "{}", `{"title":"a","count":5,"owner":{"id":"o","boss":{"id":"b"}},"tags":["x"],"at":"2026-01-02T03:04:05Z"}`, `{"owner":null}`, `{"owner":{}}`, `{"name":"n","sizes":[1,2]}`, `{"wrapped":"5","mask":"a,b","object":{"a":1}}`, `{"title":1}`, `{`},
		"owner":  {"", "{}", "null", `{"id":"o"}`, `{"displayName":"d","boss":{"id":"b","boss":{"id":"c"}}}`, `{"x":1}`, `{} {}`, `"x"`},
		"title":  {"", `"t"`, `""`, "5", "null"},
		"tags":   {"", `["a","b"]`, "[]", `[1]`},
		"labels": {`{"a":"b"}`, "{}"},
		"at":     {`"2026-01-02T03:04:05Z"`, `null`, `"x"`},
		"owners": {`[{"id":"1"},{"id":"2","boss":{}}]`},
		"value":  {"1", "null", `{"a":[1,"x"]}`},
		"number": {"7"},
	}
	values := []string{
		"title=x", "title=", "count=7", "count=0", "count=x", "big=-9", "small=4294967295", "huge=1", "huge=-1", "ok=true", "ok=1", "ratio=1.5",
		"exact=NaN", "raw=aGk=", "raw=_-8", "raw=*", "kind=BOOK", "kind=2", "kind=77", "owner.id=x", "owner.id=y", "owner.display_name=d", "owner.boss.id=bb",
		"owner.boss.boss.id=bbb", "tags=1", "tags=2", "sizes=3", "sizes=-4", "kinds=BOOK", "kinds=TOOL", "maybe=0", "at=2030-01-02T03:04:05Z", "at.seconds=5", "at.nanos=6",
		"wait=1.5s", "wait=1m", "mask=a,fooBar", "wrapped=0", "wrapped=12", "text=t", "flag=false", "wrapped_raw=aGk", "times=2030-01-02T03:04:05Z",
		"object={\"x\":1}", "value=3", "list=[1]", "empty=", "number=4", "owner=x", "owners=1", "labels=x", "any=1", "mask.paths=zz",
	}
	wire := new(Wire)
	rounds := 100
	if testing.Short() {
		rounds = 30
	}
	r := rand.New(rand.NewPCG(17, 18))
	for body, texts := range bodies {
		want, err := Reference.CompileRequest(md, body, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.CompileRequest(md, body, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			for round := range rounds {
				var pairs []string
				for range min(round, r.IntN(5)) {
					pairs = append(pairs, values[r.IntN(len(values))])
				}
				name := fmt.Sprintf("body %q, %s, %s", body, text, strings.Join(pairs, "&"))
				list := params(t, md, pairs)
				x, xErr := got.AppendWire([]byte("before"), []byte(text), list)
				y, yErr := want.AppendWire(nil, []byte(text), list)
				if (xErr == nil) != (yErr == nil) {
					t.Fatalf("%s: %v, reference: %v", name, xErr, yErr)
				}
				if xErr != nil {
					if _, ok := xErr.(*Error); !ok {
						t.Fatalf("%s: %T %v", name, xErr, xErr)
					}
					continue
				}
				x = x[len("before"):]
				mx, my := dynamicpb.NewMessage(md), dynamicpb.NewMessage(md)
				if err := proto.Unmarshal(x, mx); err != nil {
					t.Fatalf("%s: %v in %x", name, err, x)
				}
				if err := proto.Unmarshal(y, my); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(mx, my) {
					t.Fatalf("%s: %v, reference: %v", name, mx, my)
				}
				if field := twice(md, x); field != "" {
					t.Fatalf("%s: %s stands twice in %x", name, field, x)
				}
			}
		}
	}
}

func TestResponsesAreTheReferences(t *testing.T) {
	c := theCorpus()
	wire := new(Wire)
	r := &filler{rand.New(rand.NewPCG(19, 20)), c}
	for _, md := range c.messages {
		if md.ParentFile().Package() == "google.protobuf" {
			continue
		}
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			o := twinOptions[i%len(twinOptions)]
			o.Resolver = c.types
			want, err := Reference.CompileResponse(md, string(fd.Name()), o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.CompileResponse(md, string(fd.Name()), o)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				m := r.message(md, 2)
				if n > 0 {
					r.field(m, fd, 2)
				}
				b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
				if err != nil {
					continue
				}
				if n == 2 {
					b = r.disorder(b, md)
				}
				x, xErr := got.AppendJSON(nil, b)
				y, yErr := want.AppendJSON(nil, b)
				if (xErr == nil) != (yErr == nil) {
					t.Fatalf("%s: %v, reference: %v\nwire %x", fd.FullName(), xErr, yErr, b)
				}
				if xErr == nil && sameJSON(x, y) != nil {
					t.Fatalf("%s: %s, reference: %s\nwire %x", fd.FullName(), x, y, b)
				}
			}
		}
	}
}
