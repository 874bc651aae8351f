package openapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/transcoder/codec"
)

var update = flag.Bool("update", false, "write golden files again")

// sets are what load has compiled.
var sets = map[string]*descriptors.Set{}

// load compiles a descriptor source, given as a configuration gives it, once for all tests.
func load(t testing.TB, source string) *descriptors.Set {
	t.Helper()
	if sets[source] == nil {
		sets[source] = compile(t, source)
	}
	return sets[source]
}

func compile(t testing.TB, source string) *descriptors.Set {
	t.Helper()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(filepath.Join(here, "test.yaml"), []byte("descriptors: ["+source+"]"))
	if err != nil {
		t.Fatal(err)
	}
	loader, err := descriptors.NewLoader(cfg, nil, nil, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	set, err := loader.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const (
	features  = "{protos: {root: testdata/protos}}"
	shop      = "{protos: {root: ../proto, files: [crossgate/demo/v1/shop.proto]}}"
	testAPI   = "{protos: {root: ../integration/testproto}}"
	etcd      = "{file: ../integration/testdata/etcd.binpb}"
	benchmark = "{file: ../descriptors/testdata/bench.binpb}"
)

// route has every binding of a set, and the own paths of methods that have none.
func route(set *descriptors.Set, o codec.Options) openapi.Route {
	r := openapi.Route{JSON: o}
	for _, s := range set.Services() {
		for _, m := range s.Methods {
			bindings := m.Bindings
			if len(bindings) == 0 {
				bindings = []descriptors.Binding{{HTTPMethod: "POST", Template: m.FullMethod, Body: "*"}}
			}
			for _, b := range bindings {
				r.Bindings = append(r.Bindings, openapi.Binding{Method: m, Rule: b})
			}
		}
	}
	return r
}

func api(routes ...openapi.Route) *openapi.API {
	return &openapi.API{Title: "Test", Version: "1", Routes: routes}
}

// build returns a document and its JSON, decoded.
func build(t testing.TB, a *openapi.API) (*openapi.Document, map[string]any) {
	t.Helper()
	doc := openapi.Build(a)
	text, err := doc.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc, decode(t, text)
}

func decode(t testing.TB, text []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

// specification is the JSON Schema of OpenAPI 3.1 that its authors publish.
func specification(t testing.TB) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	schema, err := c.Compile("testdata/openapi-3.1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestDocumentsAreValid holds documents against the specification's own schema, and against the rules of it that the
// schema does not have.
func TestDocumentsAreValid(t *testing.T) {
	spec := specification(t)
	draft, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"the demo shop": shop, "the test API": testAPI, "etcd": etcd, "the benchmark's": benchmark, "one of everything": features,
	} {
		for _, o := range []codec.Options{{EmitUnpopulated: true}, {ProtoNames: true, EnumNumbers: true}} {
			t.Run(fmt.Sprintf("%s, proto names %v", name, o.ProtoNames), func(t *testing.T) {
				_, doc := build(t, api(route(load(t, source), o)))
				if err := spec.Validate(doc); err != nil {
					t.Errorf("not valid: %v", err)
				}
				schemas, _ := object(doc["components"])["schemas"].(map[string]any)
				for name, s := range schemas {
					if err := draft.Validate(s); err != nil {
						t.Errorf("schema %s is no JSON Schema: %v", name, err)
					}
				}
				check := checker{T: t, doc: doc, seen: map[string]bool{}}
				check.document()
			})
		}
	}
}

func TestADocumentIsTheSameEachTime(t *testing.T) {
	for name, source := range map[string]string{"the test API": testAPI, "one of everything": features} {
		t.Run(name, func(t *testing.T) {
			var first []byte
			for range 3 {
				text, err := openapi.Build(api(route(compile(t, source), codec.Options{}))).AppendJSON(nil)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = text
				}
				if !bytes.Equal(first, text) {
					t.Fatal("two builds of the same differ")
				}
			}
		})
	}
}

// TestGolden keeps the document of one of everything as it was looked at last.
func TestGolden(t *testing.T) {
	text, err := openapi.Build(api(route(load(t, features), codec.Options{EmitUnpopulated: true}))).AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	const file = "testdata/features.openapi.json"
	if *update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, pretty.Bytes()) {
		t.Errorf("%s is not what is built now; look at the difference after go test ./openapi -update", file)
	}
}

// checker checks what the specification says in words.
type checker struct {
	*testing.T
	doc  map[string]any
	seen map[string]bool // operation ids
}

func (c *checker) document() {
	c.references(c.doc)
	shapes := map[string]string{}
	for path, item := range object(c.doc["paths"]) {
		params := map[string]bool{}
		shape := ""
		for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '{' || r == '}' }) {
			if strings.Contains(path, "{"+part+"}") {
				params[part] = true
				shape += "{}"
				continue
			}
			shape += part
		}
		if other := shapes[shape]; other != "" {
			c.Errorf("%s and %s differ by nothing but the names of parameters", path, other)
		}
		shapes[shape] = path
		for method, o := range object(item) {
			if method == "x-additionalOperations" {
				for m, o := range object(o) {
					c.operation(m+" "+path, object(o), params)
				}
				continue
			}
			c.operation(method+" "+path, object(o), params)
		}
	}
}

// operation checks the parameters of an operation, and what it refers to by name.
func (c *checker) operation(where string, o map[string]any, params map[string]bool) {
	id := o["operationId"].(string)
	if c.seen[id] {
		c.Errorf("%s: the operationId %s is there twice", where, id)
	}
	c.seen[id] = true
	found := map[string]bool{}
	list, _ := o["parameters"].([]any)
	for _, p := range list {
		p := object(p)
		key := fmt.Sprint(p["in"], " ", p["name"])
		if found[key] {
			c.Errorf("%s: the parameter %s is there twice", where, key)
		}
		found[key] = true
		if p["in"] == "path" && !params[p["name"].(string)] {
			c.Errorf("%s: the path has no parameter %s", where, p["name"])
		}
	}
	for name := range params {
		if !found["path "+name] {
			c.Errorf("%s: the parameter %s of the path is not described", where, name)
		}
	}
	schemes := object(object(c.doc["components"])["securitySchemes"])
	security, _ := o["security"].([]any)
	for _, one := range security {
		for name := range object(one) {
			if schemes[name] == nil {
				c.Errorf("%s: there is no security scheme %s", where, name)
			}
		}
	}
	tags := map[string]bool{}
	all, _ := c.doc["tags"].([]any)
	for _, tag := range all {
		tags[object(tag)["name"].(string)] = true
	}
	for _, tag := range o["tags"].([]any) {
		if !tags[tag.(string)] {
			c.Errorf("%s: the tag %s is not in the document's list", where, tag)
		}
	}
}

// references checks that what every $ref leads to is there.
func (c *checker) references(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			c.references(one)
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			at := any(c.doc)
			for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				at = object(at)[part]
			}
			if at == nil {
				c.Errorf("%s leads nowhere", ref)
			}
		}
		for name, one := range v {
			// In properties a name is a field's, which may be $ref too.
			if name == "properties" {
				for _, p := range object(one) {
					c.references(p)
				}
				continue
			}
			c.references(one)
		}
	}
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}
