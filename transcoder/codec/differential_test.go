package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// twin is the codec beside the reference for one message type and one set of options.
type twin struct {
	md        protoreflect.MessageDescriptor
	program   *Program
	marshal   protojson.MarshalOptions
	unmarshal protojson.UnmarshalOptions
	wire      proto.UnmarshalOptions
	bare      bool // integers of 64 bits are numbers
}

var twinOptions = []Options{
	{}, {EmitUnpopulated: true}, {ProtoNames: true, EnumNumbers: true, DiscardUnknown: true},
	{EmitUnpopulated: true, ProtoNames: true}, {DiscardUnknown: true}, {Int64Numbers: true, EmitUnpopulated: true},
}

func newTwin(t testing.TB, md protoreflect.MessageDescriptor, o Options) *twin {
	t.Helper()
	types := theCorpus().types
	o.Resolver = types
	p, err := Compile(md, o)
	if err != nil {
		t.Fatal(err)
	}
	return &twin{
		md: md, program: p,
		marshal: protojson.MarshalOptions{UseProtoNames: o.ProtoNames, UseEnumNumbers: o.EnumNumbers,
			EmitUnpopulated: o.EmitUnpopulated, Resolver: types},
		unmarshal: protojson.UnmarshalOptions{DiscardUnknown: o.DiscardUnknown, Resolver: types},
		wire:      proto.UnmarshalOptions{Resolver: types, AllowPartial: true},
		bare:      o.Int64Numbers,
	}
}

// checkJSON asserts that wire has the same JSON, or none, by the codec and by the reference.
func (w *twin) checkJSON(t testing.TB, wire []byte) {
	t.Helper()
	want, wantErr := w.print(wire)
	if wantErr == errPanic {
		return
	}
	got, gotErr := w.program.AppendJSON([]byte("before"), wire)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%s\nwire: %.600x\nerror: %v\nreference: %v\nJSON: %.600s\nreference: %.600s", w.md.FullName(), wire, gotErr, wantErr, got, want)
	}
	if gotErr != nil {
		if string(got) != "before" {
			t.Fatalf("%s: an error left %q in dst", w.md.FullName(), got)
		}
		return
	}
	if err := sameJSON(got[len("before"):], want); err != nil {
		t.Fatalf("%s\nwire: %.600x\n%v\nJSON: %.600s\nreference: %.600s", w.md.FullName(), wire, err, got, want)
	}
}

// errPanic stands for a panic of the reference. There is one: a map entry with a key and then a key of another wire type.
var errPanic = errors.New("the reference panics")

// print is the JSON of wire by the reference.
func (w *twin) print(wire []byte) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	m := dynamicpb.NewMessage(w.md)
	if err := w.wire.Unmarshal(wire, m); err != nil {
		return nil, err
	}
	if text, err = w.marshal.Marshal(m); err != nil || !w.bare {
		return text, err
	}
	return bareInt64(nil, text, w.md, w.marshal.Resolver)
}

// checkWire asserts that text is the same message, or none, by the codec and by the reference.
func (w *twin) checkWire(t testing.TB, text []byte) {
	t.Helper()
	want := dynamicpb.NewMessage(w.md)
	wantErr := w.unmarshal.Unmarshal(text, want)
	wire, gotErr := w.program.AppendWire([]byte("before"), text)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%s\nJSON: %.600q\nerror: %v\nreference: %v", w.md.FullName(), text, gotErr, wantErr)
	}
	if gotErr != nil {
		if string(wire) != "before" {
			t.Fatalf("%s: an error left %q in dst", w.md.FullName(), wire)
		}
		return
	}
	wire = wire[len("before"):]
	got := dynamicpb.NewMessage(w.md)
	deep := w.wire
	deep.RecursionLimit = 1 << 20 // a google.protobuf.Value nests deeper on the wire than in JSON
	if err := deep.Unmarshal(wire, got); err != nil {
		t.Fatalf("%s\nJSON: %.600q\nwire: %.600x\n%v", w.md.FullName(), text, wire, err)
	}
	if !proto.Equal(got, want) && !w.sameText(got, want) {
		t.Fatalf("%s\nJSON: %.600q\nwire: %.600x\nmessage: %v\nreference: %v", w.md.FullName(), text, wire, got, want)
	}
}

// sameText compares messages by their JSON, because the message in a google.protobuf.Any may have its fields in another order.
func (w *twin) sameText(x, y proto.Message) bool {
	a, err := w.marshal.Marshal(x)
	if err != nil {
		return false
	}
	b, err := w.marshal.Marshal(y)
	return err == nil && sameJSON(a, b) == nil
}

// sameJSON reports how two texts differ in value. Numbers are equal when they are spelled alike.
func sameJSON(x, y []byte) error {
	a, err := parseJSON(x)
	if err != nil {
		return fmt.Errorf("%w in %s", err, x)
	}
	b, err := parseJSON(y)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(a, b) {
		return fmt.Errorf("values differ")
	}
	return nil
}

// parseJSON is like json.Unmarshal, but refuses a name that comes twice.
func parseJSON(text []byte) (any, error) {
	if !json.Valid(text) {
		return nil, fmt.Errorf("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err == nil && dec.More() {
		err = fmt.Errorf("more than one value")
	}
	return v, err
}

func parseValue(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := make(map[string]any)
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			if _, ok := m[k.(string)]; ok {
				return nil, fmt.Errorf("the name %q comes twice", k)
			}
			if m[k.(string)], err = parseValue(dec); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return m, err
	case json.Delim('['):
		s := []any{}
		for dec.More() {
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			s = append(s, v)
		}
		_, err = dec.Token()
		return s, err
	}
	return tok, nil
}

var (
	rounds = flag.Int("rounds", 5, "how many random messages of each type and set of options are tried")
	seed   = flag.Uint64("seed", 1, "where the random messages begin")
)

func TestRandomMessagesHaveTheReferencesJSONAndBack(t *testing.T) {
	c := theCorpus()
	r := &filler{rand.New(rand.NewPCG(*seed, 2)), c}
	executions := 0
	defer func() { t.Logf("%d executions", executions) }()
	for _, md := range c.messages {
		for _, o := range twinOptions {
			w := newTwin(t, md, o)
			for range *rounds {
				executions += 5
				m := r.message(md, 3)
				wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				w.checkJSON(t, wire)
				w.checkJSON(t, r.disorder(wire, md))
				w.checkJSON(t, r.damage(wire))
				text, err := w.marshal.Marshal(m)
				if err != nil {
					continue
				}
				w.checkWire(t, text)
				w.checkWire(t, r.damageText(text))
			}
		}
	}
}

// disorder returns the fields of a message in another order, some of them twice, and some messages in pieces.
func (r *filler) disorder(wire []byte, md protoreflect.MessageDescriptor) []byte {
	var fields [][]byte
	for b := wire; len(b) > 0; {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return wire
		}
		f := b[:n]
		b = b[n:]
		fd := md.Fields().ByNumber(num)
		if typ == protowire.BytesType && fd != nil && fd.Message() != nil {
			_, _, t := protowire.ConsumeTag(f)
			v, _ := protowire.ConsumeBytes(f[t:])
			f = protowire.AppendBytes(protowire.AppendTag(nil, num, typ), r.disorder(v, fd.Message()))
		}
		fields = append(fields, f)
		if r.IntN(4) == 0 {
			fields = append(fields, f)
		}
	}
	if r.IntN(2) == 0 {
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	return bytes.Join(fields, nil)
}

// damage changes some bytes.
func (r *filler) damage(b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return []byte{byte(r.IntN(256))}
		}
		switch i := r.IntN(len(b)); r.IntN(4) {
		case 0:
			b[i] = byte(r.IntN(256))
		case 1:
			b[i] ^= 1 << r.IntN(8)
		case 2:
			b = append(b[:i], b[i+1:]...)
		case 3:
			b = append(b, b[i:]...)
		}
	}
	return b
}

// damageText changes a text so that it often stays JSON.
func (r *filler) damageText(b []byte) []byte {
	pieces := []string{"null", "{}", "[]", "true", "1", "-0", "1e2", "1.5", `"1"`, `"x"`, `"\u0031"`, ",", ":", `"a":1,`, "\"", "\\", " ", "1e", "0.0", `"1e"`, "-", "}", "]", "NaN", `"NaN"`, `"@type":""`, "\xff"}
	b = bytes.Clone(b)
	for range 1 + r.IntN(2) {
		i := r.IntN(len(b) + 1)
		j := min(len(b), i+r.IntN(4))
		p := pieces[r.IntN(len(pieces))]
		// Half of the time a whole value is replaced.
		if k := bytes.IndexByte(b[i:], ':'); k >= 0 && r.IntN(2) == 0 {
			i += k + 1
			j = i + max(bytes.IndexAny(b[i:], ",}]"), 0)
		}
		b = append(append(append([]byte{}, b[:i]...), p...), b[j:]...)
	}
	return b
}
