package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
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
