package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// twin is the codec beside the reference for one message type and one set of options.
type twin struct {
	md        protoreflect.MessageDescriptor
	number    uint8 // of the options
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

// twins are made as they are asked for.
type twins struct {
	mu  sync.Mutex
	all map[twinKey]*twin
}

type twinKey struct {
	name    protoreflect.FullName
	options uint8
}

func newTwins() *twins { return &twins{all: make(map[twinKey]*twin)} }

// pick returns the twin of a type by name, and of some type for a name that there is not.
func (w *twins) pick(t testing.TB, name string, options uint8) *twin {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	md := theCorpus().any(name)
	key := twinKey{md.FullName(), options % uint8(len(twinOptions))}
	if w.all[key] == nil {
		w.all[key] = newTwin(t, md, twinOptions[key.options])
		w.all[key].number = key.options
	}
	return w.all[key]
}

// compareJSON says how the JSON of wire by the codec differs from that by the reference.
func (w *twin) compareJSON(wire []byte) error {
	want, wantErr := w.print(wire)
	if wantErr == errPanic {
		return nil
	}
	got, gotErr := w.program.AppendJSON([]byte("before"), wire)
	if (wantErr == nil) != (gotErr == nil) {
		return fmt.Errorf("%s\nwire: %.600x\nerror: %v\nreference: %v\nJSON: %.600s\nreference: %.600s", w.md.FullName(), wire, gotErr, wantErr, got, want)
	}
	if gotErr != nil {
		if string(got) != "before" {
			return fmt.Errorf("%s: an error left %q in dst", w.md.FullName(), got)
		}
		return nil
	}
	if err := sameJSON(got[len("before"):], want); err != nil {
		return fmt.Errorf("%s\nwire: %.600x\n%w\nJSON: %.600s\nreference: %.600s", w.md.FullName(), wire, err, got, want)
	}
	return nil
}

// withoutPanic turns a panic of proto.Unmarshal into errPanic, as Reference does.
func withoutPanic(run func() ([]byte, error)) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	return run()
}

// print is the JSON of wire by the reference.
func (w *twin) print(wire []byte) ([]byte, error) {
	return withoutPanic(func() ([]byte, error) {
		m := dynamicpb.NewMessage(w.md)
		if err := w.wire.Unmarshal(wire, m); err != nil {
			return nil, err
		}
		text, err := w.marshal.Marshal(m)
		if err != nil || !w.bare {
			return text, err
		}
		return bareInt64(nil, text, w.md, w.marshal.Resolver)
	})
}

// compareWire says how the message that text is by the codec differs from the one that it is by the reference.
func (w *twin) compareWire(text []byte) error {
	want := dynamicpb.NewMessage(w.md)
	wantErr := w.unmarshal.Unmarshal(text, want)
	wire, gotErr := w.program.AppendWire([]byte("before"), text)
	if (wantErr == nil) != (gotErr == nil) {
		return fmt.Errorf("%s\nJSON: %.600q\nerror: %v\nreference: %v", w.md.FullName(), text, gotErr, wantErr)
	}
	if gotErr != nil {
		if string(wire) != "before" {
			return fmt.Errorf("%s: an error left %q in dst", w.md.FullName(), wire)
		}
		return nil
	}
	wire = wire[len("before"):]
	got := dynamicpb.NewMessage(w.md)
	deep := w.wire
	deep.RecursionLimit = 1 << 20 // a google.protobuf.Value nests deeper on the wire than in JSON
	if err := deep.Unmarshal(wire, got); err != nil {
		return fmt.Errorf("%s\nJSON: %.600q\nwire: %.600x\n%w", w.md.FullName(), text, wire, err)
	}
	if !proto.Equal(got, want) && !w.sameText(got, want) {
		return fmt.Errorf("%s\nJSON: %.600q\nwire: %.600x\nmessage: %v\nreference: %v", w.md.FullName(), text, wire, got, want)
	}
	return nil
}

func (w *twin) checkJSON(t testing.TB, wire []byte) {
	t.Helper()
	if err := w.compareJSON(wire); err != nil {
		t.Fatal(err)
	}
}

func (w *twin) checkWire(t testing.TB, text []byte) {
	t.Helper()
	if err := w.compareWire(text); err != nil {
		t.Fatal(err)
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
	if json.Valid(x) && bytes.Equal(sortedJSON(x), sortedJSON(y)) {
		return nil
	}
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

// sortedJSON is a text without spaces and with the members of objects in the order of their spelling, so that most texts that are equal need
// not be parsed.
func sortedJSON(text []byte) []byte {
	out, _ := appendSorted(nil, text, 0)
	return out
}

func appendSorted(out, text []byte, i int) ([]byte, int) {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	start := i
	switch {
	case i == len(text):
	case text[i] == '"':
		i = stringEnd(text, i)
	case text[i] == '{' || text[i] == '[':
		var members [][]byte
		for i++; i < len(text) && text[i] != text[start]+2; { // "}" is two behind "{", and "]" behind "["
			var m []byte
			m, i = appendSorted(nil, text, i)
			if i < len(text) && text[i] == ':' {
				m, i = appendSorted(append(m, ':'), text, i+1)
			}
			members = append(members, m)
			for i < len(text) && (isSpace(text[i]) || text[i] == ',') {
				i++
			}
		}
		if text[start] == '{' {
			slices.SortFunc(members, bytes.Compare)
		}
		out = append(append(out, text[start]), bytes.Join(members, []byte{','})...)
		return append(out, text[start]+2), i + 1
	default:
		for i < len(text) && !bytes.ContainsRune([]byte(",:]} \n\t\r"), rune(text[i])) {
			i++
		}
	}
	return append(out, text[start:i]...), i
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
