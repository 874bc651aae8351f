package config

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzParse holds three things to be true of any input: nothing panics, every error has its place, and what was read
// can be written as YAML and says the same when that is read.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(shop))
	for _, seed := range []string{
		"", "---\n---\n", "\xff", "a: &a [*a]", "http: {rules: [&r {additional_bindings: [*r]}]}", "? {a: b}\n: c", "!!map {}",
		"<<: {log: {}}", "log: {level: ${X:-info}}", "admin: {token: $$x}", "listeners: [{address: \":1\", trusted_proxies: [::1, 10.0.0.0/8]}]",
		"routes:\n- name: a\n  match: {path: /%41}\n  respond: {body: |\n   x\n  }\n", "drain: {timeout: 1h30m}", "http: {rules: [{selector: a.B, custom: {kind: '*', path: /}}]}",
		"redis: {url: 'redis://[::1]:1/0'}", "auth: [{name: a, api_keys: {keys: [{id: k, key: x}]}}]", "\ufefflog: {}", "# \u0085\u2028\n\tlog: {}",
		"routes: [{name: a, match: {path: /}, respond: {}, cors: {origins: ['http://[::1]:1', '*']}, rate_limits: [{per: 'header:X', rate: 1/10s}]}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("c.yaml", data)
		if err != nil {
			checkErrors(t, err)
			return
		}
		text, err := yaml.Marshal(asYAML(reflect.ValueOf(c).Elem()))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("c.yaml", text)
		if err != nil {
			t.Fatalf("%v, reading what was written:\n%s", err, text)
		}
		if !Same(c, again) {
			t.Fatalf("read again it says something else:\n%s", text)
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	for _, e := range all {
		if e.Pos.File != "c.yaml" || e.Pos.Line < 1 || e.Pos.Column < 0 || strings.Contains(e.Error(), "\n") && !strings.Contains(e.Error(), "${") {
			t.Errorf("an error without a place, or on several lines: %#v", e.Error())
		}
	}
}

// asYAML returns the tree that a value is written as. Secrets are revealed and dollars doubled.
func asYAML(v reflect.Value) *yaml.Node {
	switch value := v.Interface().(type) {
	case Secret:
		return textNode(value.Reveal())
	case Path:
		return textNode(string(value))
	case interface{ String() string }:
		return textNode(value.String())
	case map[string]string:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key, Style: yaml.DoubleQuotedStyle}, textNode(value[key]))
		}
		return n
	}
	switch v.Kind() {
	case reflect.Pointer:
		return asYAML(v.Elem())
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, asYAML(v.Index(i)))
		}
		return n
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fieldsOf(v.Type()) {
			if field := v.Field(f.index); !field.IsZero() || field.Kind() == reflect.Int64 {
				n.Content = append(n.Content, textNode(f.key), asYAML(field))
			}
		}
		return n
	}
	n := new(yaml.Node)
	if v.Kind() == reflect.String {
		return textNode(v.String())
	}
	if err := n.Encode(v.Interface()); err != nil {
		panic(err)
	}
	return n
}

func textNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strings.ReplaceAll(s, "$", "$$"), Style: yaml.DoubleQuotedStyle}
}
