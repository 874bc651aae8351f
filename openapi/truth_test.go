package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// schemasOf compiles schemas of a document by where they stand in it.
func schemasOf(t *testing.T, doc map[string]any) func(pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("https://gateway.test/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(pointer string) *jsonschema.Schema {
		t.Helper()
		s, err := c.Compile("https://gateway.test/openapi.json#" + pointer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func pointer(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(k))
	}
	return b.String()
}

// TestAnswersFitTheirSchemas prints random messages of every type of the test API as the gateway does, and holds them
// against the document.
func TestAnswersFitTheirSchemas(t *testing.T) {
	for _, o := range []codec.Options{
		{}, {EmitUnpopulated: true}, {ProtoNames: true, EnumNumbers: true}, {ProtoNames: true, EnumNumbers: true, EmitUnpopulated: true}, {Int64Numbers: true},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			set := load(t, testAPI)
			_, doc := build(t, api(route(set, o)))
			schema := schemasOf(t, doc)
			random := messages{rand.New(rand.NewPCG(1, 2))}
			for _, s := range set.Services() {
				for _, m := range s.Methods {
					md := m.Descriptor.Output()
					if md.ParentFile().Package() == "google.protobuf" || md.FullName() == "google.api.HttpBody" {
						continue
					}
					response, err := codec.Reference.CompileResponse(md, "", o)
					if err != nil {
						t.Fatal(err)
					}
					fits := schema(pointer("components", "schemas", string(md.FullName())))
					for depth := range 20 {
						wire, err := proto.Marshal(random.message(md, depth%5))
						if err != nil {
							t.Fatal(err)
						}
						text, err := response.AppendJSON(nil, wire)
						if err != nil {
							t.Fatal(err)
						}
						value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
						if err != nil {
							t.Fatal(err)
						}
						if err := fits.Validate(value); err != nil {
							t.Fatalf("%s: %v\n%s", md.FullName(), err, text)
						}
					}
				}
			}
		})
	}
}

// TestSchemasRefuse checks that the schemas are not so wide that everything fits.
func TestSchemasRefuse(t *testing.T) {
	_, doc := build(t, api(route(load(t, testAPI), codec.Options{EmitUnpopulated: true})))
	schema := schemasOf(t, doc)
	for _, c := range []struct{ name, message, json string }{
		{"a number for a 64-bit integer", "Scalars", `{"int64Value":1}`},
		{"a fraction for an integer", "Scalars", `{"int32Value":1.5}`},
		{"a negative number for an unsigned one", "Scalars", `{"uint32Value":-1}`},
		{"a word that is no value of the enum", "Enums", `{"kind":"KIND_THREE"}`},
		{"two fields of a oneof", "Oneofs", `{"text":"a","flag":true}`},
		{"null for a repeated field", "Repeateds", `{"stringValues":null}`},
		{"a key that is no number", "Maps", `{"int32Keys":{"a":"b"}}`},
		{"a duration without its unit", "Times", `{"duration":"3"}`},
		{"an Any without a type", "Dynamics", `{"any":{}}`},
		{"a text deep inside", "Nested", `{"deep":{"deeper":{"numbers":[3]}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(c.json))
			if err != nil {
				t.Fatal(err)
			}
			if schema(pointer("components", "schemas", "crossgate.test.v1."+c.message)).Validate(value) == nil {
				t.Errorf("%s fits the schema of %s", c.json, c.message)
			}
		})
	}
}

// TestExamplesAreGoodRequests takes the example of each request body for what it is: JSON that the codec reads and that
// its own schema takes.
func TestExamplesAreGoodRequests(t *testing.T) {
	for name, source := range map[string]string{"the demo shop": shop, "the test API": testAPI, "etcd": etcd, "one of everything": features, "a wide one": "{protos: {root: testdata/wide}}"} {
		t.Run(name, func(t *testing.T) {
			tested := 0
			for _, o := range []codec.Options{{EmitUnpopulated: true}, {ProtoNames: true, EnumNumbers: true}} {
				r := route(load(t, source), o)
				bindings := map[string]openapi.Binding{} // by operation id
				for _, b := range r.Bindings {
					id := string(b.Method.Descriptor.FullName())
					for n := 2; bindings[id].Method != nil; n++ {
						id = fmt.Sprintf("%s.%d", b.Method.Descriptor.FullName(), n)
					}
					bindings[id] = b
				}
				_, doc := build(t, api(r))
				schema := schemasOf(t, doc)
				for path, item := range object(doc["paths"]) {
					for method, operation := range object(item) {
						media := object(at(t, operation, "requestBody > content > application/json"))
						if media["example"] == nil {
							continue
						}
						tested++
						text, err := json.Marshal(media["example"])
						if err != nil {
							t.Fatal(err)
						}
						if err := schema(pointer("paths", path, method, "requestBody", "content", "application/json", "schema")).Validate(media["example"]); err != nil {
							t.Errorf("%s %s: %v\n%s", method, path, err, text)
						}
						b := bindings[object(operation)["operationId"].(string)]
						request, err := codec.Reference.CompileRequest(b.Method.Descriptor.Input(), b.Rule.Body, codec.Options{})
						if err != nil {
							t.Fatal(err)
						}
						if _, err := request.AppendWire(nil, text, nil); err != nil {
							t.Errorf("%s %s: %v\n%s", method, path, err, text)
						}
						if len(text) > 20_000 {
							t.Errorf("%s %s: an example of %d bytes", method, path, len(text))
						}
					}
				}
			}
			if tested == 0 {
				t.Error("no request body has an example")
			}
		})
	}
}

// messages makes random messages.
type messages struct{ *rand.Rand }

func (r messages) message(md protoreflect.MessageDescriptor, depth int) proto.Message {
	m := dynamicpb.NewMessage(md)
	switch md.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration":
		m.Set(md.Fields().ByName("seconds"), protoreflect.ValueOfInt64(r.Int64N(4e9)))
		m.Set(md.Fields().ByName("nanos"), protoreflect.ValueOfInt32(r.Int32N(1e9)))
		return m
	case "google.protobuf.FieldMask":
		m.Mutable(md.Fields().ByName("paths")).List().Append(protoreflect.ValueOfString("a.b_c"))
		return m
	case "google.protobuf.Any":
		m.Set(md.Fields().ByName("type_url"), protoreflect.ValueOfString("type.googleapis.com/google.protobuf.Empty"))
		return m
	case "google.protobuf.Value":
		m.Set(md.Fields().ByName("string_value"), protoreflect.ValueOfString("x"))
		return m
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		nested := fd.Message()
		if fd.IsMap() {
			nested = fd.MapValue().Message()
		}
		if r.IntN(3) == 0 || nested != nil && depth == 0 {
			continue
		}
		switch {
		case fd.IsMap():
			key := r.value(fd.MapKey()).MapKey()
			value := m.Mutable(fd).Map().NewValue()
			if fd.MapValue().Message() != nil {
				proto.Merge(value.Message().Interface(), r.message(fd.MapValue().Message(), depth-1))
			} else {
				value = r.value(fd.MapValue())
			}
			m.Mutable(fd).Map().Set(key, value)
		case fd.IsList() && fd.Message() != nil:
			proto.Merge(m.Mutable(fd).List().AppendMutable().Message().Interface(), r.message(fd.Message(), depth-1))
		case fd.IsList():
			m.Mutable(fd).List().Append(r.value(fd))
		case fd.Message() != nil:
			proto.Merge(m.Mutable(fd).Message().Interface(), r.message(fd.Message(), depth-1))
		default:
			m.Set(fd, r.value(fd))
		}
	}
	return m
}

func (r messages) value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(r.Uint32())
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64()))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(r.Uint64())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(r.Float32())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.NormFloat64() * 1e6)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(r.IntN(256)), 1, 2})
	}
	return protoreflect.ValueOfString(string(rune('a' + r.IntN(26))))
}
