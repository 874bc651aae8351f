// Command testee is the program that the protobuf conformance runner tests: the wire-to-wire codec, with messages known only by descriptor.
// CONFORMANCE_PROTOS is the directory of the suite's .proto files. It reads requests from standard input and writes responses to standard
// output, each after its length, as conformance.proto says.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/transcoder/codec"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "testee:", err)
		os.Exit(1)
	}
}

func run() error {
	protos := os.Getenv("CONFORMANCE_PROTOS")
	files, err := compile(protos)
	if err != nil {
		return err
	}
	t := newTestee(files)
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		request := make([]byte, binary.LittleEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, request); err != nil {
			return err
		}
		response := t.serve(request)
		binary.LittleEndian.PutUint32(size[:], uint32(len(response)))
		if _, err := out.Write(append(size[:], response...)); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// compile returns the messages of the suite.
func compile(dir string) (*protoregistry.Files, error) {
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}})}
	compiled, err := c.Compile(context.Background(),
		"google/protobuf/test_messages_proto2.proto", "google/protobuf/test_messages_proto3.proto",
		"google/protobuf/test_messages_proto2_editions.proto", "google/protobuf/test_messages_proto3_editions.proto",
		"google/protobuf/test_messages_edition2023.proto")
	if err != nil {
		return nil, err
	}
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i))
		}
		p := protodesc.ToFileDescriptorProto(fd)
		plainSets(p.MessageType)
		set.File = append(set.File, p)
	}
	for _, fd := range compiled {
		add(fd)
	}
	b, err := proto.Marshal(set) // so that options are those of this program and not the compiler's
	if err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(b, set); err != nil {
		return nil, err
	}
	return protodesc.NewFiles(set)
}

// plainSets makes ordinary messages of those in the format of proto1, which no registry takes. No test with JSON has one.
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

type testee struct {
	files   *protoregistry.Files
	strict  *codec.Compiler
	lenient *codec.Compiler // ignores unknown fields of JSON
}

func newTestee(files *protoregistry.Files) *testee {
	types := dynamicpb.NewTypes(files)
	return &testee{
		files:   files,
		strict:  codec.NewCompiler(codec.Options{Resolver: types}, codec.Limits{}),
		lenient: codec.NewCompiler(codec.Options{Resolver: types, DiscardUnknown: true}, codec.Limits{}),
	}
}

// Numbers of conformance.proto.
const (
	requestProtobuf = 1
	requestJSON     = 2
	requestFormat   = 3
	requestMessage  = 4
	requestCategory = 5

	formatProtobuf = 1
	formatJSON     = 2

	ignoreUnknown = 3

	responseParseError     = 1
	responseRuntimeError   = 2
	responseProtobuf       = 3
	responseJSON           = 4
	responseSkipped        = 5
	responseSerializeError = 6
)

type request struct {
	format   protowire.Number // of the payload, as its field number
	payload  []byte
	output   uint64
	category uint64
	message  string
}

func parse(b []byte) (r request, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return r, protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return r, protowire.ParseError(n)
		}
		value := b[:n]
		b = b[n:]
		switch num {
		case requestFormat:
			r.output, _ = protowire.ConsumeVarint(value)
		case requestCategory:
			r.category, _ = protowire.ConsumeVarint(value)
		case requestMessage:
			v, _ := protowire.ConsumeBytes(value)
			r.message = string(v)
		case requestProtobuf, requestJSON, 7, 8:
			r.format = num
			r.payload, _ = protowire.ConsumeBytes(value)
		}
	}
	return r, nil
}

func respond(num protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), value)
}

func (t *testee) serve(b []byte) []byte {
	r, err := parse(b)
	if err != nil {
		return respond(responseRuntimeError, []byte(err.Error()))
	}
	if r.message == "conformance.FailureSet" { // the runner asks for what is expected to fail
		return respond(responseProtobuf, nil)
	}
	if r.format != requestProtobuf && r.format != requestJSON || r.output != formatProtobuf && r.output != formatJSON ||
		r.format == requestProtobuf && r.output == formatProtobuf {
		return respond(responseSkipped, []byte("the codec is for JSON from and to protobuf"))
	}
	p, err := t.program(r)
	if err != nil {
		return respond(responseRuntimeError, []byte(err.Error()))
	}
	if r.format == requestJSON {
		wire, err := p.AppendWire(nil, r.payload)
		if err != nil {
			return respond(responseParseError, []byte(err.Error()))
		}
		if r.output == formatProtobuf {
			return respond(responseProtobuf, wire)
		}
		r.payload = wire // JSON to JSON is both ways, one after the other
	}
	text, err := p.AppendJSON(nil, r.payload)
	switch {
	case errors.Is(err, codec.ErrMalformed):
		return respond(responseParseError, []byte(err.Error()))
	case err != nil:
		return respond(responseSerializeError, []byte(err.Error()))
	}
	return respond(responseJSON, text)
}

func (t *testee) program(r request) (*codec.Program, error) {
	d, err := t.files.FindDescriptorByName(protoreflect.FullName(r.message))
	if err != nil {
		return nil, err
	}
	md, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no message", r.message)
	}
	if r.category == ignoreUnknown {
		return t.lenient.Compile(md)
	}
	return t.strict.Compile(md)
}
