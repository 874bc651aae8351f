package codec

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/bytedance/sonic"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// subject is one way to turn the row's bytes around; run is called again and again.
type subject struct {
	name string
	run  func() error
}

// compactJSON is the text of a message without the spaces that protojson may put in.
func compactJSON(t testing.TB, m proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = appendCompact(nil, text); err != nil {
		t.Fatal(err)
	}
	return text
}

func (r row) subjects(t testing.TB) (toJSON, toWire []subject, text, wire []byte) {
	t.Helper()
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.message)
	if err != nil {
		t.Fatal(err)
	}
	text = compactJSON(t, r.message)
	if err := json.Unmarshal(text, r.plain); err != nil {
		t.Fatal(err)
	}
	md := r.message.ProtoReflect().Descriptor()
	p, err := Compile(md, Options{})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 2*len(text)+1024)
	generated := func() proto.Message { return r.message.ProtoReflect().New().Interface() }
	dynamic := func() proto.Message { return dynamicpb.NewMessage(md) }
	print := func(empty func() proto.Message) func() error {
		return func() error {
			m := empty()
			if err := proto.Unmarshal(wire, m); err != nil {
				return err
			}
			_, err := protojson.Marshal(m)
			return err
		}
	}
	read := func(empty func() proto.Message) func() error {
		return func() error {
			m := empty()
			if err := protojson.Unmarshal(text, m); err != nil {
				return err
			}
			_, err := proto.Marshal(m)
			return err
		}
	}
	toJSON = []subject{
		{"codec", func() error { _, err := p.AppendJSON(dst, wire); return err }},
		{"protojson, generated", print(generated)},
		{"protojson, dynamicpb", print(dynamic)},
		{"encoding/json", func() error { _, err := json.Marshal(r.plain); return err }},
		{"sonic", func() error { _, err := sonic.Marshal(r.plain); return err }},
	}
	toWire = []subject{
		{"codec", func() error { _, err := p.AppendWire(dst, text); return err }},
		{"protojson, generated", read(generated)},
		{"protojson, dynamicpb", read(dynamic)},
		{"encoding/json", func() error { return json.Unmarshal(text, r.empty()) }},
		{"sonic", func() error { return sonic.Unmarshal(text, r.empty()) }},
	}
	return toJSON, toWire, text, wire
}

func BenchmarkWireToJSON(b *testing.B) {
	for _, r := range rows() {
		subjects, _, text, _ := r.subjects(b)
		for _, s := range subjects {
			b.Run(r.name+"/"+s.name, func(b *testing.B) { s.bench(b, len(text)) })
		}
	}
}

func BenchmarkJSONToWire(b *testing.B) {
	for _, r := range rows() {
		_, subjects, text, _ := r.subjects(b)
		for _, s := range subjects {
			b.Run(r.name+"/"+s.name, func(b *testing.B) { s.bench(b, len(text)) })
		}
	}
}

func (s subject) bench(b *testing.B, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.run(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheBenchmarksMeasureTheSameMessages(t *testing.T) {
	for _, r := range rows() {
		toJSON, toWire, text, wire := r.subjects(t)
		for _, s := range append(toJSON, toWire...) {
			if err := s.run(); err != nil {
				t.Errorf("%s, %s: %v", r.name, s.name, err)
			}
		}
		p, err := Compile(r.message.ProtoReflect().Descriptor(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.AppendJSON(nil, wire)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameJSON(got, text); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestNothingIsAllocatedWhenTheDestinationIsLargeEnough(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	for _, r := range rows() {
		toJSON, toWire, _, _ := r.subjects(t)
		for i, s := range []subject{toJSON[0], toWire[0]} {
			allocs := testing.AllocsPerRun(20, func() {
				if err := s.run(); err != nil {
					t.Fatal(err)
				}
			})
			if allocs > 0 {
				t.Errorf("%s, direction %d: %v allocations", r.name, i, allocs)
			}
		}
	}
}

func TestNothingIsAllocatedWhateverTheTypeAndTheOrder(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	p := compileAll(t, Options{}, Limits{})
	for name, text := range map[string]string{
		"many fields, spelled as other writers do": `{"optional_int32" : 1e2, "optionalFloat": 0.1, "optionalDouble": "1.5e-7", "repeatedFloat": [3.4028235e38, 1e-3],
			"optionalBytes": "_-8", "optionalUint64": 18446744073709551615, "optionalInt64": "-9223372036854775808", "optionalNestedEnum": "BAZ"}`,
		"strings with escapes":   `{"optionalString": "a\nb\u00e9\ud83d\ude00", "repeatedString": ["\u0022"], "mapStringString": {"a\tb": "c\\d"}}`,
		"google.protobuf.Any":    `{"optionalAny": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"}}`,
		"well-known types":       `{"optionalTimestamp": "2026-01-02T03:04:05.5+01:00", "optionalStruct": {"a": [1, null, {"b": "c"}]}, "optionalFieldMask": "aB,c.d"}`,
		"maps of every key":      `{"mapInt32Int32": {"1": 2, "-3": 4}, "mapBoolBool": {"true": false}, "mapStringNestedMessage": {"a": {"a": 1}}, "mapUint64Uint64": {"5": "6"}}`,
		"messages within others": `{"recursiveMessage": {"recursiveMessage": {"optionalNestedMessage": {"corecursive": {"optionalInt32": 1}}}}}`,
	} {
		dst, text := make([]byte, 0, 4096), []byte(text)
		wire, err := p.AppendWire(nil, text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		disordered := append(bytes.Clone(wire), wire...)
		for way, run := range map[string]func() error{
			"to wire bytes":         func() error { _, err := p.AppendWire(dst, text); return err },
			"to JSON":               func() error { _, err := p.AppendJSON(dst, wire); return err },
			"to JSON, out of order": func() error { _, err := p.AppendJSON(dst, disordered); return err },
		} {
			if allocs := testing.AllocsPerRun(20, func() {
				if err := run(); err != nil {
					t.Error(err)
				}
			}); allocs > 0 {
				t.Errorf("%s, %s: %v allocations", name, way, allocs)
			}
		}
	}
}
