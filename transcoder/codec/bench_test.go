package codec

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bytedance/sonic"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/crossgate/crossgate/transcoder/codec/internal/benchpb"
)

// row is one kind of message: a generated message, and a plain struct that has the same JSON.
type row struct {
	name    string
	message proto.Message
	plain   any        // a pointer to a struct
	empty   func() any // another one, to read into
}

type plainOwner struct {
	ID          string `json:"id,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
}

type plainItem struct {
	Name        string            `json:"name,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Kind        string            `json:"kind,omitempty"`
	PriceMicros int64             `json:"priceMicros,omitempty,string"`
	Weight      float64           `json:"weight,omitempty"`
	InStock     bool              `json:"inStock,omitempty"`
	CreateTime  string            `json:"createTime,omitempty"`
	UpdateTime  string            `json:"updateTime,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Owner       *plainOwner       `json:"owner,omitempty"`
	Sizes       []int32           `json:"sizes,omitempty"`
}

type plainShelf struct {
	Name   string       `json:"name,omitempty"`
	Keeper *plainOwner  `json:"keeper,omitempty"`
	Items  []*plainItem `json:"items,omitempty"`
	Above  *plainShelf  `json:"above,omitempty"`
}

type plainItems struct {
	Items         []*plainItem `json:"items,omitempty"`
	NextPageToken string       `json:"nextPageToken,omitempty"`
}

type plainTexts struct {
	Texts []string `json:"texts,omitempty"`
}

type plainNumbers struct {
	Whole []json.Number `json:"whole,omitempty"`
	Real  []float64     `json:"real,omitempty"`
}

type plainLabels struct {
	Labels map[string]string `json:"labels,omitempty"`
}

type plainKnown struct {
	At     string         `json:"at,omitempty"`
	Wait   string         `json:"wait,omitempty"`
	Mask   string         `json:"mask,omitempty"`
	Object map[string]any `json:"object,omitempty"`
	Text   string         `json:"text,omitempty"`
	Number string         `json:"number,omitempty"`
	Times  []string       `json:"times,omitempty"`
}

type plainBlob struct {
	Data []byte `json:"data,omitempty"`
}

func at(i int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 1, 2, 3, 4, i%60, 123000000, time.UTC))
}

func item(i int) *benchpb.Item {
	return &benchpb.Item{
		Name: fmt.Sprintf("shelves/%d/items/%d", i%7, i), Title: "A title of some words", Kind: benchpb.Kind_BOOK,
		Description: "A description is longer than a title: it says what the item is, what it is for, and \"quotes\" something.",
		PriceMicros: 12345678900 + int64(i), Weight: 1.25 + float64(i)/10, InStock: i%2 == 0, CreateTime: at(i), UpdateTime: at(i + 1),
		Tags: []string{"new", "recommended", "paper"}, Labels: map[string]string{"colour": "blue", "region": "north"},
		Owner: &benchpb.Owner{Id: "owner-17", DisplayName: "Someone Somewhere"}, Sizes: []int32{1, 20, 300, 4000},
	}
}

func rows() []row {
	items := func(n int) (list []*benchpb.Item) {
		for i := range n {
			list = append(list, item(i))
		}
		return list
	}
	r := rand.New(rand.NewPCG(7, 8))
	texts := &benchpb.Texts{}
	for range 1 << 10 {
		texts.Texts = append(texts.Texts, strings.Repeat("A line of text, as wide as one in a mail or a source file is, and then the end.\n", 13))
	}
	numbers := &benchpb.Numbers{}
	for range 10000 {
		numbers.Whole = append(numbers.Whole, r.Int64()>>r.IntN(60))
		numbers.Real = append(numbers.Real, math.Round(r.Float64()*1e6)/1e3*float64(1+r.IntN(3))+r.NormFloat64())
	}
	labels := &benchpb.Labels{Labels: make(map[string]string)}
	for i := range 1000 {
		labels.Labels[fmt.Sprintf("label-%d", i)] = fmt.Sprintf("value of label %d", i)
	}
	object, _ := structpb.NewStruct(map[string]any{"a": 1.5, "b": "text", "c": []any{true, nil, 3.0}, "d": map[string]any{"e": "f"}})
	known := &benchpb.Known{At: at(1), Wait: durationpb.New(1500 * time.Millisecond), Mask: &fieldmaskpb.FieldMask{Paths: []string{"name", "owner.display_name"}},
		Object: object, Text: wrapperspb.String("text"), Number: wrapperspb.Int64(1 << 60)}
	for i := range 10 {
		known.Times = append(known.Times, at(i))
	}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	small := &benchpb.Item{Name: "shelves/1/items/2", Title: "A title of some words", Kind: benchpb.Kind_TOOL, PriceMicros: 123456789,
		InStock: true, Owner: &benchpb.Owner{Id: "o1"}, Tags: []string{"new"}}
	shelf := &benchpb.Shelf{Name: "shelves/1", Keeper: &benchpb.Owner{Id: "k", DisplayName: "The Keeper"}, Items: items(2),
		Above: &benchpb.Shelf{Name: "shelves/2", Items: items(1), Above: &benchpb.Shelf{Name: "shelves/3", Items: items(1)}}}
	return []row{
		{"150 bytes", small, new(plainItem), func() any { return new(plainItem) }},
		{"2 KB nested", shelf, new(plainShelf), func() any { return new(plainShelf) }},
		{"list of 100", &benchpb.Items{Items: items(100), NextPageToken: "next"}, new(plainItems), func() any { return new(plainItems) }},
		{"1 MB of strings", texts, new(plainTexts), func() any { return new(plainTexts) }},
		{"10,000 int64 and double", numbers, new(plainNumbers), func() any { return new(plainNumbers) }},
		{"map of 1,000", labels, new(plainLabels), func() any { return new(plainLabels) }},
		{"well-known types", known, new(plainKnown), func() any { return new(plainKnown) }},
		{"1 MB of bytes", &benchpb.Blob{Data: data}, new(plainBlob), func() any { return new(plainBlob) }},
	}
}

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

var printTable = flag.Bool("table", false, "print the table of BENCHMARKS.md")

// TestBenchmarkTable prints what the benchmarks measure as one table: go test -run BenchmarkTable -table -v. It counts the time
// of the processor and not that of the wall, all threads together: what the garbage collector does for a
// subject is the subject's, and what other processes do is not.
func TestBenchmarkTable(t *testing.T) {
	if !*printTable {
		t.Skip("measures only with -table")
	}
	for direction, title := range []string{"wire → JSON", "JSON → wire"} {
		product, least := 1.0, math.Inf(1)
		all := rows()
		fmt.Printf("\n| %s | MB/s | ns/op | allocs/op | generated | dynamicpb | encoding/json | sonic |\n|---|--:|--:|--:|--:|--:|--:|--:|\n", title)
		for _, r := range all {
			toJSON, toWire, text, _ := r.subjects(t)
			subjects := [][]subject{toJSON, toWire}[direction]
			times := make([]float64, len(subjects))
			for range 5 {
				for i, s := range subjects {
					if d := cpuPerOp(t, s.run); times[i] == 0 || d < times[i] {
						times[i] = d
					}
				}
			}
			allocs := testing.AllocsPerRun(10, func() { _ = subjects[0].run() })
			fmt.Printf("| %s (%d B) | %.0f | %.0f | %.0f |", r.name, len(text), float64(len(text))/times[0]*1e3, times[0], allocs)
			for _, x := range times[1:] {
				fmt.Printf(" %.1f× |", x/times[0])
			}
			fmt.Println()
			product *= times[1] / times[0]
			least = min(least, times[1]/times[0])
		}
		fmt.Printf("\n%s: %.1f× protojson with generated types as the geometric mean, %.1f× at least\n",
			title, math.Pow(product, 1/float64(len(all))), least)
	}
}

// cpuPerOp is the time of the processor that a call of run takes, in nanoseconds, over about 50 ms of calls.
func cpuPerOp(t *testing.T, run func() error) float64 {
	for n := 1; ; n *= 2 {
		runtime.GC()
		before := cpuTime(t)
		for range n {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		}
		if d := cpuTime(t) - before; d > 50*time.Millisecond {
			return float64(d) / float64(n)
		}
	}
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
