package config

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads YAML as an editor does that checks it with a JSON Schema.
func asJSON(t *testing.T, input []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(input, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaAcceptsTheExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(asJSON(t, example)); err != nil {
		t.Error(err)
	}
	if _, err := Load(t.Context(), "testdata/example.yaml"); err != nil {
		t.Error(err)
	}
}

func TestSchemaAndLoaderAgree(t *testing.T) {
	t.Setenv("CG_NUMBER", "7")
	t.Setenv("CG_TIME", "7s")
	s := compileSchema(t)
	for input, good := range map[string]bool{
		`{}`:                          true,
		`routes: []`:                  true,
		`log: {level: debug}`:         true,
		`log: {level: loud}`:          false,
		`log: {}`:                     true,
		`lisenters: []`:               false,
		`log: {levle: info}`:          false,
		`log: []`:                     false,
		`log:`:                        false,
		`admin: {address: ""}`:        false,
		`listeners: [{}]`:             false,
		`listeners: {address: ":80"}`: false,
		`drain: {timeout: 5s, delay: 0, reconnect_spread: 1h30m}`: true,
		`drain: {timeout: 5}`:                                                                               false,
		`drain: {timeout: soon}`:                                                                            false,
		`drain: {timeout: "${CG_TIME}"}`:                                                                    true,
		`listeners: [{address: ":1", max_header_size: 8KiB}]`:                                               true,
		`listeners: [{address: ":1", max_header_size: 8192}]`:                                               true,
		`listeners: [{address: ":1", max_header_size: 8kb}]`:                                                false,
		`listeners: [{address: ":1", trusted_proxies: []}]`:                                                 false,
		`listeners: [{address: ":1", tls: {certificate: c, key: k, min_version: 1.3}}]`:                     true,
		`listeners: [{address: ":1", tls: {certificate: c, key: k, min_version: "1.3"}}]`:                   true,
		`listeners: [{address: ":1", tls: {certificate: c, key: k, min_version: "1.1"}}]`:                   false,
		`upstreams: [{name: a, endpoints: ["a:1"], connections: 64}]`:                                       true,
		`upstreams: [{name: a, endpoints: ["a:1"], connections: 65}]`:                                       false,
		`upstreams: [{name: a, endpoints: ["a:1"], connections: "${CG_NUMBER}"}]`:                           true,
		`upstreams: [{name: a, endpoints: ["a:1"], connections: "7"}]`:                                      false,
		`http: {rules: [{selector: a.B.C, get: /a, body: "", additional_bindings: [{get: /b}]}]}`:           true,
		`routes: [{name: a, match: {path: /, headers: {X-A: b}}, respond: {}, rate_limits: [{rate: 1/s}]}]`: true,
		`routes: [{name: a, match: {path: /}, respond: {}, rate_limits: [{rate: fast}]}]`:                   false,
		`routes: [{name: a, match: {path: /}, respond: {}, cors: {origins: ["*"], credentials: maybe}}]`:    false,
		`redis: {url: "redis://localhost", prefix: "x:"}`:                                                   true,
	} {
		_, loaderErr := Parse("c.yaml", []byte(input))
		schemaErr := s.Validate(asJSON(t, []byte(input)))
		if (loaderErr == nil) != good || (schemaErr == nil) != good {
			t.Errorf("%s: want good: %t, loader: %v, schema: %v", input, good, loaderErr, schemaErr)
		}
	}
}

func TestSchemaSaysItsDraftAndBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	if !strings.Contains(string(Schema()), `"$schema": "https://json-schema.org/draft/2020-12/schema"`) {
		t.Error("the schema does not say its draft")
	}
	a := Schema()
	a[0] = 'x'
	if Schema()[0] == 'x' {
		t.Error("callers of Schema share its bytes")
	}
}
