package codec

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// enum is a compiled enum.
type enum struct {
	byName  table
	numbers []int32  // of the names in byName
	dense   [][]byte // what is printed, by number; nil where the number has no name
	sparse  map[int32][]byte
	null    bool
}

func (b *build) enum(ed protoreflect.EnumDescriptor) *enum {
	if e := b.c.enums[ed]; e != nil {
		return e
	}
	if ed.IsPlaceholder() {
		b.fail("enum %s is not known", ed.FullName())
	}
	e := &enum{null: ed.FullName() == "google.protobuf.NullValue"}
	b.c.enums[ed] = e
	values := ed.Values()
	for i := range values.Len() {
		v := values.Get(i)
		e.byName.add(string(v.Name()), len(e.numbers))
		e.numbers = append(e.numbers, int32(v.Number()))
		text := []byte(strconv.Quote(string(v.Name())))
		if b.c.options.EnumNumbers {
			text = strconv.AppendInt(nil, int64(v.Number()), 10)
		}
		e.print(int32(v.Number()), text, values.Len())
	}
	e.byName.build()
	return e
}

// print says what a number is printed as. The first name of a number is the one printed.
func (e *enum) print(n int32, text []byte, names int) {
	if n >= 0 && int64(n) < min(int64(4*names+64), math.MaxInt32) {
		if int(n) >= len(e.dense) {
			e.dense = append(e.dense, make([][]byte, int(n)+1-len(e.dense))...)
		}
		if e.dense[n] == nil {
			e.dense[n] = text
		}
		return
	}
	if e.sparse == nil {
		e.sparse = make(map[int32][]byte)
	}
	if e.sparse[n] == nil {
		e.sparse[n] = text
	}
}

// append appends the JSON of a number of the enum.
func (e *enum) append(out []byte, n int32) []byte {
	if e.null {
		return append(out, "null"...)
	}
	var text []byte
	if uint(n) < uint(len(e.dense)) {
		text = e.dense[n]
	} else {
		text = e.sparse[n]
	}
	if text == nil {
		return strconv.AppendInt(out, int64(n), 10)
	}
	return append(out, text...)
}
