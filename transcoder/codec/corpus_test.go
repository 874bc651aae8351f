package codec

import (
	"context"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// corpus is every message type the codec is tested with, known only by descriptor.
type corpus struct {
	files    *protoregistry.Files
	types    *dynamicpb.Types
	messages []protoreflect.MessageDescriptor // without map entries, by name
	rich     []protoreflect.MessageDescriptor // those with many fields
	extends  map[protoreflect.FullName][]protoreflect.ExtensionType
}

// theCorpus holds etcd's API, the messages of the protobuf conformance suite, and those of the benchmarks.
var theCorpus = sync.OnceValue(func() *corpus {
	set := new(descriptorpb.FileDescriptorSet)
	etcd, err := os.ReadFile("../../integration/testdata/etcd.binpb")
	if err != nil {
		panic(err)
	}
	if err := proto.Unmarshal(etcd, set); err != nil {
		panic(err)
	}
	compiled := new(descriptorpb.FileDescriptorSet)
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		ImportPaths: []string{"testdata/protobuf", "internal/benchpb"},
	})}
	files, err := compiler.Compile(context.Background(),
		"google/protobuf/test_messages_proto2.proto", "google/protobuf/test_messages_proto3.proto",
		"google/protobuf/test_messages_proto2_editions.proto", "google/protobuf/test_messages_proto3_editions.proto",
		"google/protobuf/test_messages_edition2023.proto", "conformance/conformance.proto", "bench.proto")
	if err != nil {
		panic(err)
	}
	seen := make(map[string]bool)
	var add func(fd protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i))
		}
		compiled.File = append(compiled.File, protodesc.ToFileDescriptorProto(fd))
	}
	for _, f := range files {
		add(f)
	}
	for _, f := range set.File {
		if !seen[f.GetName()] {
			compiled.File = append(compiled.File, f)
		}
	}
	for _, f := range compiled.File {
		plainSets(f.MessageType)
	}
	// Through bytes, so that options are those of the registry and not the compiler's.
	b, err := proto.Marshal(compiled)
	if err != nil {
		panic(err)
	}
	set = new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(b, set); err != nil {
		panic(err)
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		panic(err)
	}
	c := &corpus{files: registry, types: dynamicpb.NewTypes(registry), extends: make(map[protoreflect.FullName][]protoreflect.ExtensionType)}
	registry.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		c.add(fd.Messages(), fd.Extensions())
		return true
	})
	slices.SortFunc(c.messages, func(x, y protoreflect.MessageDescriptor) int {
		return strings.Compare(string(x.FullName()), string(y.FullName()))
	})
	for _, md := range c.messages {
		if md.Fields().Len() >= 8 {
			c.rich = append(c.rich, md)
		}
	}
	return c
})

// plainSets makes ordinary messages of those in the format of proto1, which no registry takes.
func plainSets(messages []*descriptorpb.DescriptorProto) {
	for _, m := range messages {
		plainSets(m.NestedType)
		if m.GetOptions().GetMessageSetWireFormat() {
			m.Options.MessageSetWireFormat = nil
			for _, r := range m.ExtensionRange {
				r.End = proto.Int32(min(r.GetEnd(), 1<<29))
			}
		}
	}
}

func (c *corpus) add(messages protoreflect.MessageDescriptors, extensions protoreflect.ExtensionDescriptors) {
	for i := range extensions.Len() {
		xt := dynamicpb.NewExtensionType(extensions.Get(i))
		name := extensions.Get(i).ContainingMessage().FullName()
		if x, err := c.types.FindExtensionByName(extensions.Get(i).FullName()); err == nil {
			xt = x
		}
		c.extends[name] = append(c.extends[name], xt)
	}
	for i := range messages.Len() {
		md := messages.Get(i)
		if md.IsMapEntry() {
			continue
		}
		c.messages = append(c.messages, md)
		c.add(md.Messages(), md.Extensions())
	}
}

func (c *corpus) message(t testing.TB, name protoreflect.FullName) protoreflect.MessageDescriptor {
	t.Helper()
	d, err := c.files.FindDescriptorByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// any returns the message of a name, or some message where there is none of that name.
func (c *corpus) any(name string) protoreflect.MessageDescriptor {
	if d, err := c.files.FindDescriptorByName(protoreflect.FullName(name)); err == nil {
		if md, ok := d.(protoreflect.MessageDescriptor); ok && !md.IsMapEntry() {
			return md
		}
	}
	return c.messages[crc32.ChecksumIEEE([]byte(name))%uint32(len(c.messages))]
}

// filler makes random messages that have a JSON form, mostly.
type filler struct {
	*rand.Rand
	c *corpus
}

func (r *filler) message(md protoreflect.MessageDescriptor, depth int) *dynamicpb.Message {
	m := dynamicpb.NewMessage(md)
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		r.seconds(m, minTimestamp, maxTimestamp, false)
		return m
	case "google.protobuf.Duration":
		r.seconds(m, -maxDuration, maxDuration, true)
		return m
	case "google.protobuf.FieldMask":
		list := m.Mutable(md.Fields().ByNumber(1)).List()
		for range r.IntN(3) {
			list.Append(protoreflect.ValueOfString([]string{"a", "foo_bar", "a.b_c.d", "x1"}[r.IntN(4)]))
		}
		return m
	case "google.protobuf.Any":
		r.any(m, depth)
		return m
	case "google.protobuf.Value":
		if depth <= 0 {
			m.Set(md.Fields().ByNumber(4), protoreflect.ValueOfBool(r.IntN(2) == 0))
			return m
		}
		fd := md.Fields().Get(r.IntN(md.Fields().Len()))
		switch {
		case fd.Kind() == protoreflect.DoubleKind:
			m.Set(fd, protoreflect.ValueOfFloat64(r.NormFloat64()*math.Pow(10, float64(r.IntN(40)-20))))
		case fd.Message() != nil:
			m.Set(fd, protoreflect.ValueOfMessage(r.message(fd.Message(), depth-1)))
		default:
			m.Set(fd, r.scalar(fd))
		}
		return m
	}
	few := 0.5
	if md.Fields().Len() > 20 {
		few = []float64{0.02, 0.05, 0.1}[r.IntN(3)]
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.Cardinality() == protoreflect.Required || r.Float64() < few {
			r.field(m, fd, depth)
		}
	}
	for _, xt := range r.c.extends[md.FullName()] {
		if r.Float64() < few {
			r.field(m, xt.TypeDescriptor(), depth)
		}
	}
	return m
}

func (r *filler) field(m *dynamicpb.Message, fd protoreflect.FieldDescriptor, depth int) {
	message := fd.Message() != nil
	if fd.IsMap() {
		message = fd.MapValue().Message() != nil
	}
	if message && (depth <= 0 && fd.Cardinality() != protoreflect.Required || depth < -3) {
		return
	}
	switch {
	case fd.IsList():
		v := m.NewField(fd)
		for range r.IntN(4) {
			if message {
				v.List().Append(protoreflect.ValueOfMessage(r.message(fd.Message(), depth-1)))
			} else {
				v.List().Append(r.scalar(fd))
			}
		}
		m.Set(fd, v)
	case fd.IsMap():
		v := m.Mutable(fd).Map()
		for range r.IntN(4) {
			if message {
				v.Set(r.scalar(fd.MapKey()).MapKey(), protoreflect.ValueOfMessage(r.message(fd.MapValue().Message(), depth-1)))
			} else {
				v.Set(r.scalar(fd.MapKey()).MapKey(), r.scalar(fd.MapValue()))
			}
		}
	case message:
		m.Set(fd, protoreflect.ValueOfMessage(r.message(fd.Message(), depth-1)))
	default:
		m.Set(fd, r.scalar(fd))
	}
}

func (r *filler) seconds(m *dynamicpb.Message, lo, hi int64, signed bool) {
	s := lo + r.Int64N(hi-lo+1)
	n := []int32{0, 0, 1, 500000000, 999999999, 120000, 7000}[r.IntN(7)]
	if r.IntN(3) == 0 {
		s = r.Int64N(3) - 1
	}
	if signed && s < 0 {
		n = -n
	}
	m.Set(m.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfInt64(s))
	m.Set(m.Descriptor().Fields().ByNumber(2), protoreflect.ValueOfInt32(n))
}

func (r *filler) any(m *dynamicpb.Message, depth int) {
	if depth <= 0 {
		return
	}
	names := []protoreflect.FullName{"google.protobuf.Timestamp", "google.protobuf.Empty", "google.protobuf.Value", "google.protobuf.Int64Value", "google.protobuf.Any"}
	md := r.c.messages[r.IntN(len(r.c.messages))]
	if r.IntN(2) == 0 {
		if d, err := r.c.files.FindDescriptorByName(names[r.IntN(len(names))]); err == nil {
			md = d.(protoreflect.MessageDescriptor)
		}
	}
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(r.message(md, depth-1))
	if err != nil {
		return
	}
	m.Set(m.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfString("type.googleapis.com/"+string(md.FullName())))
	m.Set(m.Descriptor().Fields().ByNumber(2), protoreflect.ValueOfBytes(b))
}

func (r *filler) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	bits := r.Uint64() >> r.IntN(64)
	if r.IntN(8) == 0 {
		bits = []uint64{0, 1, math.MaxUint64, 1 << 63, 1<<63 - 1, 1 << 31, 1<<31 - 1, 1<<32 - 1}[r.IntN(8)]
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(bits&1 == 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		if r.IntN(8) == 0 {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(bits))
		}
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(bits))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(bits))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(bits))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(bits)
	case protoreflect.FloatKind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfFloat32(float32(int32(bits)) / 64)
		}
		return protoreflect.ValueOfFloat32(math.Float32frombits(uint32(bits)))
	case protoreflect.DoubleKind:
		if r.IntN(2) == 0 {
			return protoreflect.ValueOfFloat64(float64(int64(bits)) / 1000)
		}
		return protoreflect.ValueOfFloat64(math.Float64frombits(r.Uint64()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(r.string()))
	default:
		return protoreflect.ValueOfString(r.string())
	}
}

func (r *filler) string() string {
	parts := []string{"", "a", "hello, world", "ünïcödé", "\u2028\u2029", "日本語", "\x00\x1f\b\f\n\r\t", `"\/`, "😀", "<&>", "\x7f", "0123456789abcdef0123456789abcdef", "\ufffd", "123"}
	var b strings.Builder
	for range r.IntN(4) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	if r.IntN(200) == 0 {
		b.WriteString(strings.Repeat("long ", 10+r.IntN(500)))
	}
	return b.String()
}
