package codec

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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

// requestBodies are the bodies that a binding may name in the message Item, with texts for each.
var requestBodies = []struct {
	field string
	texts []string
}{
	{"", []string{"", "{}"}},
	{"*", []string{"", " ", "{}", `{"title":"a","count":5,"owner":{"id":"o","boss":{"id":"b"}},"tags":["x"],"at":"2026-01-02T03:04:05Z"}`, `{"owner":null}`,
		`{"owner":{}}`, `{"name":"n","sizes":[1,2]}`, `{"wrapped":"5","mask":"a,b","object":{"a":1}}`, `{"title":1}`, `{`}},
	{"owner", []string{"", "{}", "null", `{"id":"o"}`, `{"displayName":"d","boss":{"id":"b","boss":{"id":"c"}}}`, `{"x":1}`, `{} {}`, `"x"`}},
	{"title", []string{"", `"t"`, `""`, "5", "null"}},
	{"tags", []string{"", `["a","b"]`, "[]", `[1]`}},
	{"labels", []string{`{"a":"b"}`, "{}"}},
	{"at", []string{`"2026-01-02T03:04:05Z"`, `null`, `"x"`}},
	{"owners", []string{`[{"id":"1"},{"id":"2","boss":{}}]`}},
	{"value", []string{"1", "null", `{"a":[1,"x"]}`}},
	{"number", []string{"7"}},
}

// requestParams are parameters for the message Item.
var requestParams = []string{
	"title=x", "title=", "count=7", "count=0", "count=x", "big=-9", "small=4294967295", "huge=1", "huge=-1", "ok=true", "ok=1", "ratio=1.5",
	"exact=NaN", "raw=aGk=", "raw=_-8", "raw=*", "kind=BOOK", "kind=2", "kind=77", "owner.id=x", "owner.id=y", "owner.display_name=d", "owner.boss.id=bb",
	"owner.boss.boss.id=bbb", "tags=1", "tags=2", "sizes=3", "sizes=-4", "kinds=BOOK", "kinds=TOOL", "maybe=0", "at=2030-01-02T03:04:05Z", "at.seconds=5", "at.nanos=6",
	"wait=1.5s", "wait=1m", "mask=a,fooBar", "wrapped=0", "wrapped=12", "text=t", "flag=false", "wrapped_raw=aGk", "times=2030-01-02T03:04:05Z",
	"object={\"x\":1}", "value=3", "list=[1]", "empty=", "number=4", "owner=x", "owners=1", "labels=x", "any=1", "mask.paths=zz",
}

// requestTwins are the requests of the codec and of the reference, by body.
type requestTwins struct {
	md        protoreflect.MessageDescriptor
	got, want []Request
}

func newRequestTwins(t testing.TB) *requestTwins {
	t.Helper()
	w := &requestTwins{md: message(t, "Item")}
	wire := new(Wire)
	for _, b := range requestBodies {
		for _, c := range []struct {
			codec Codec
			list  *[]Request
		}{{wire, &w.got}, {Reference, &w.want}} {
			r, err := c.codec.CompileRequest(w.md, b.field, Options{})
			if err != nil {
				t.Fatal(err)
			}
			*c.list = append(*c.list, r)
		}
	}
	return w
}

// query reads a=b&c.d=e; what names no field is left out.
func (w *requestTwins) query(text string) (list []Param) {
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if path := fieldPath(w.md, name); path != nil {
			list = append(list, Param{Path: path, Value: value})
		}
	}
	return list
}

// compare says how a request differs from the reference's, or that a message stands twice in it.
func (w *requestTwins) compare(body uint8, text []byte, query string) error {
	n := int(body) % len(requestBodies)
	name := fmt.Sprintf("body %q, %q, %q", requestBodies[n].field, text, query)
	params := w.query(query)
	x, xErr := w.got[n].AppendWire([]byte("before"), text, params)
	y, yErr := w.want[n].AppendWire(nil, text, params)
	if (xErr == nil) != (yErr == nil) {
		return fmt.Errorf("%s: %v, reference: %v", name, xErr, yErr)
	}
	if xErr != nil {
		if _, ok := xErr.(*Error); !ok {
			return fmt.Errorf("%s: %T %w", name, xErr, xErr)
		}
		return nil
	}
	x = x[len("before"):]
	mx, my := dynamicpb.NewMessage(w.md), dynamicpb.NewMessage(w.md)
	if err := proto.Unmarshal(x, mx); err != nil {
		return fmt.Errorf("%s: %w in %x", name, err, x)
	}
	if err := proto.Unmarshal(y, my); err != nil {
		return err
	}
	if !proto.Equal(mx, my) {
		return fmt.Errorf("%s: %v, reference: %v", name, mx, my)
	}
	if field := twice(w.md, x); field != "" {
		return fmt.Errorf("%s: %s stands twice in %x", name, field, x)
	}
	return nil
}

func TestRequestsAreTheReferences(t *testing.T) {
	all := newRequestTwins(t)
	r := rand.New(rand.NewPCG(17, 18))
	for body, b := range requestBodies {
		for _, text := range b.texts {
			for round := range rounds(100) {
				var pairs []string
				for range min(round, r.IntN(5)) {
					pairs = append(pairs, requestParams[r.IntN(len(requestParams))])
				}
				if err := all.compare(uint8(body), []byte(text), strings.Join(pairs, "&")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestParametersOfScalarsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	md := message(t, "Item")
	r, err := new(Wire).CompileRequest(md, "owner", Options{})
	if err != nil {
		t.Fatal(err)
	}
	list := params(t, md, []string{"owner.id=7", "title=x", "count=5", "owner.boss.id=b", "tags=a", "tags=b", "kind=BOOK", "ok=true", "exact=1.5"})
	dst, body := make([]byte, 0, 1000), []byte(`{"displayName":"Ada","boss":{"displayName":"Bo"}}`)
	if allocs := testing.AllocsPerRun(100, func() {
		if _, err := r.AppendWire(dst, body, list); err != nil {
			t.Error(err)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// responseTwins are the responses of the codec and of the reference, made as they are asked for.
type responseTwins struct {
	mu   sync.Mutex
	wire Wire
	all  map[responseKey][2]Response
}

type responseKey struct {
	field   protoreflect.FullName
	options uint8
}

func newResponseTwins() *responseTwins { return &responseTwins{all: make(map[responseKey][2]Response)} }

func (w *responseTwins) pick(fd protoreflect.FieldDescriptor, options uint8) ([2]Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := responseKey{fd.FullName(), options % uint8(len(twinOptions))}
	if r, ok := w.all[key]; ok {
		return r, nil
	}
	o := twinOptions[key.options]
	o.Resolver = theCorpus().types
	var r [2]Response
	for i, c := range []Codec{&w.wire, Reference} {
		var err error
		if r[i], err = c.CompileResponse(fd.ContainingMessage(), string(fd.Name()), o); err != nil {
			return r, err
		}
	}
	w.all[key] = r
	return r, nil
}

// compare says how the JSON of one field of a message differs from the reference's, which finds no fields in the JSON of the
// well-known types.
func (w *responseTwins) compare(name string, field, options uint8, wire []byte) error {
	md := theCorpus().any(name)
	if md.Fields().Len() == 0 || formOf(md) != formObject {
		return nil
	}
	fd := md.Fields().Get(int(field) % md.Fields().Len())
	r, err := w.pick(fd, options)
	if err != nil {
		return err
	}
	x, xErr := r[0].AppendJSON(nil, wire)
	y, yErr := r[1].AppendJSON(nil, wire)
	if yErr == errPanic {
		return nil
	}
	if (xErr == nil) != (yErr == nil) {
		return fmt.Errorf("%s: %v, reference: %v\nwire %x", fd.FullName(), xErr, yErr, wire)
	}
	if xErr == nil && sameJSON(x, y) != nil {
		return fmt.Errorf("%s: %s, reference: %s\nwire %x", fd.FullName(), x, y, wire)
	}
	return nil
}

func TestResponsesAreTheReferences(t *testing.T) {
	c := theCorpus()
	all := newResponseTwins()
	r := &filler{rand.New(rand.NewPCG(19, 20)), c}
	for _, md := range c.messages {
		fields := md.Fields().Len()
		if fields == 0 {
			continue
		}
		step := fields / rounds(fields)
		for i := r.IntN(step); i < fields; i += step {
			fd := md.Fields().Get(i)
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
				if err := all.compare(string(md.FullName()), uint8(i), uint8(i), b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
