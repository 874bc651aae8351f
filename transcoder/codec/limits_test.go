package codec

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const proto3All = protoreflect.FullName("protobuf_test_messages.proto3.TestAllTypesProto3")

func compileAll(t testing.TB, o Options, l Limits) *Program {
	t.Helper()
	o.Resolver = theCorpus().types
	p, err := NewCompiler(o, l).Compile(theCorpus().message(t, proto3All))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nest wraps wire bytes as recursive_message, field 27, so many times.
func nest(wire []byte, times int) []byte {
	var backwards []byte
	wire = bytes.Clone(wire)
	size := len(wire)
	for range times {
		head := protowire.AppendVarint(protowire.AppendTag(nil, 27, protowire.BytesType), uint64(size))
		size += len(head)
		for i := len(head) - 1; i >= 0; i-- {
			backwards = append(backwards, head[i])
		}
	}
	out := make([]byte, 0, size)
	for i := len(backwards) - 1; i >= 0; i-- {
		out = append(out, backwards[i])
	}
	return append(out, wire...)
}

func nestText(text string, times int) []byte {
	return []byte(strings.Repeat(`{"recursiveMessage":`, times) + text + strings.Repeat("}", times))
}

func TestMessagesNestAsDeepAsTheReferenceAllows(t *testing.T) {
	w := newTwin(t, theCorpus().message(t, proto3All), Options{})
	for _, depth := range []int{1, 40, 9_998, 9_999, 10_000, 10_001, 20_000} {
		w.checkWire(t, nestText("{}", depth))
		m := dynamicpb.NewMessage(w.md)
		_, err := w.program.AppendJSON(nil, nest(nil, depth))
		if want := w.wire.Unmarshal(nest(nil, depth), m); (err == nil) != (want == nil) {
			t.Errorf("%d deep: %v, reference: %v", depth, err, want)
		}
	}
	for _, depth := range []int{9_000, 10_000, 11_000} {
		w.checkWire(t, []byte(`{"optionalStruct":{"a":`+strings.Repeat(`[`, depth)+strings.Repeat(`]`, depth)+`}}`))
		lenient := newTwin(t, w.md, Options{DiscardUnknown: true})
		lenient.checkWire(t, []byte(`{"unknown":`+strings.Repeat(`[`, depth)+strings.Repeat(`]`, depth)+`}`))
	}
}

func TestDepthIsLimitedAsAsked(t *testing.T) {
	p := compileAll(t, Options{}, Limits{Depth: 10})
	if _, err := p.AppendWire(nil, nestText("{}", 9)); err != nil {
		t.Error(err)
	}
	if _, err := p.AppendWire(nil, nestText("{}", 10)); err == nil {
		t.Error("11 messages were read with a limit of 10")
	}
	if _, err := p.AppendJSON(nil, nest(nil, 9)); err != nil {
		t.Error(err)
	}
	if _, err := p.AppendJSON(nil, nest(nil, 10)); err == nil {
		t.Error("11 messages were printed with a limit of 10")
	}
}

func TestOutputIsLimited(t *testing.T) {
	p := compileAll(t, Options{EmitUnpopulated: true}, Limits{Output: 100_000})
	if _, err := p.AppendJSON(nil, bytes.Repeat([]byte{0x82, 3, 0}, 5)); err != nil {
		t.Error(err)
	}
	if out, err := p.AppendJSON(nil, bytes.Repeat([]byte{0x82, 3, 0}, 100_000)); err == nil {
		t.Errorf("%d bytes were printed with a limit of 100,000", len(out))
	}
	if out, err := p.AppendWire(nil, []byte(`{"repeatedNestedMessage":[{"a":1}`+strings.Repeat(`,{"a":1}`, 100_000)+`]}`)); err == nil {
		t.Errorf("%d bytes were written with a limit of 100,000", len(out))
	}
}

func TestALengthPrefixAllocatesNothingBeforeTheBytesAreThere(t *testing.T) {
	p := compileAll(t, Options{}, Limits{})
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x07} // 2^31-1
	for name, start := range map[string][]byte{
		"a string": {0x72}, "bytes": {0x7a}, "a message": {0x92, 1}, "a packed list": {0xfa, 1}, "a list of strings": {0xe2, 2},
		"a map": {0xc2, 3}, "a Struct": {0x82, 0x13}, "an Any": {0xfa, 0x12}, "an unknown field": {0xc2, 0x3e},
		"a string in a message": {0xda, 1, 10, 0x72},
	} {
		wire := append(bytes.Clone(start), huge...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := p.AppendJSON(nil, wire)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(wire))
		}
	}
}

func TestTheCostOfHostileInputIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	var group []byte
	for range 9000 {
		group = protowire.AppendTag(group, 999, protowire.StartGroupType)
	}
	group = protowire.AppendBytes(protowire.AppendTag(group, 14, protowire.BytesType), []byte(long))
	for range 9000 {
		group = protowire.AppendTag(group, 999, protowire.EndGroupType)
	}
	split := []byte{}
	for range 3000 { // each message in two pieces, the second of which holds the next
		split = protowire.AppendBytes(protowire.AppendTag([]byte{0xda, 1, 0}, 27, protowire.BytesType), split)
	}
	any := strings.Repeat(`{"value":`, 3000) + `{"@type":"x/google.protobuf.StringValue","value":"` + long + `"}` +
		strings.Repeat(`,"@type":"x/google.protobuf.Any"}`, 3000)
	entries := []byte{}
	for range 100_000 { // all with the same key
		entries = append(entries, 0xc2, 3, 4, 8, 1, 16, 2)
	}
	p := compileAll(t, Options{DiscardUnknown: true}, Limits{})
	for name, run := range map[string]func() error{
		"a long string in deep messages":       func() error { _, err := p.AppendWire(nil, nestText(`{"optionalString":"`+long+`"}`, 9000)); return err },
		"Any in Any with the type last":        func() error { _, err := p.AppendWire(nil, []byte(`{"optionalAny":`+any+`}`)); return err },
		"a long string in deep unknown groups": func() error { _, err := p.AppendJSON(nil, group); return err },
		"deep messages in pieces":              func() error { _, err := p.AppendJSON(nil, split); return err },
		"deep messages":                        func() error { _, err := p.AppendJSON(nil, nest([]byte(nil), 9000)); return err },
		"one map key again and again":          func() error { _, err := p.AppendJSON(nil, entries); return err },
		"a wrong value in deep messages":       func() error { _, err := p.AppendWire(nil, nestText(`{"optionalInt32":"x"}`, 9000)); return err },
	} {
		start := time.Now()
		err := run()
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: %v (%v)", name, d, err)
		}
	}
}

func TestMalformedWireIsSaidToBe(t *testing.T) {
	p := compileAll(t, Options{}, Limits{})
	for _, wire := range []string{"\x08", "\x0a\x05a", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x00\x01", "\x0c", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\xda\x01\x02\x0a\x05"} {
		if _, err := p.AppendJSON(nil, []byte(wire)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v, want ErrMalformed", wire, err)
		}
	}
}

func TestErrorsSayWhichFieldAndWhere(t *testing.T) {
	p := compileAll(t, Options{}, Limits{})
	for text, want := range map[string]string{
		`{"optionalInt32":"x"}`:                                   `optionalInt32: expected int32, got "x" (line 1, column 18)`,
		"{\n \"recursiveMessage\": {\"repeatedInt32\": [1, {}]}}": `recursiveMessage.repeatedInt32[1]: expected int32, got { (line 2, column 44)`,
		`{"what":1}`:                     `unknown field "what" (line 1, column 2)`,
		`{"optionalInt32":1,`:            `the JSON ends too early (line 1, column 20)`,
		`[]`:                             `expected an object, got [ (line 1, column 1)`,
		``:                               `the JSON ends too early (line 1, column 1)`,
		`{"optionalInt32":1}x`:           `expected nothing more, got x (line 1, column 20)`,
		`{"mapStringString":{"a":5}}`:    `mapStringString.a: expected string, got 5 (line 1, column 25)`,
		`{"optionalTimestamp":"monday"}`: `optionalTimestamp: expected a google.protobuf.Timestamp as in RFC 3339, got "monday" (line 1, column 22)`,
	} {
		_, err := p.AppendWire(nil, []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%s\n%v, want\n%s", text, err, want)
		}
	}
}

func TestProgramsAreCompiledOnceForEachType(t *testing.T) {
	c := NewCompiler(Options{}, Limits{})
	md := theCorpus().message(t, proto3All)
	p, err := c.Compile(md)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Compile(md); err != nil || again != p {
		t.Errorf("compiled again: %v", err)
	}
	if p.field(27).msg != p {
		t.Error("a recursive type does not lead to itself")
	}
}

func TestProgramsAreForManyGoroutines(t *testing.T) {
	c := NewCompiler(Options{Resolver: theCorpus().types}, Limits{})
	p, err := c.Compile(theCorpus().message(t, proto3All))
	if err != nil {
		t.Fatal(err)
	}
	// Types that Any names and extensions are compiled as they come.
	texts := []string{
		`{"optionalAny":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}`,
		`{"optionalAny":{"@type":"type.googleapis.com/protobuf_test_messages.proto3.ForeignMessage","c":5}}`,
		`{"optionalAny":{"@type":"type.googleapis.com/protobuf_test_messages.proto2.TestAllTypesProto2","[protobuf_test_messages.proto2.extension_int32]":1}}`,
		`{"mapStringString":{"a":"b"},"optionalStruct":{"c":[1,"d"]}}`,
	}
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 50 {
				for _, text := range texts {
					wire, err := p.AppendWire(nil, []byte(text))
					if err != nil {
						t.Error(err)
					}
					if again, err := p.AppendJSON(nil, wire); err != nil || string(again) != text {
						t.Errorf("%s became %s, %v", text, again, err)
					}
				}
			}
		})
	}
	running.Wait()
}
