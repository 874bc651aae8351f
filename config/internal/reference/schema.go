package main

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/crossgate/crossgate/config/internal/syntax"
)

// object is a JSON object that keeps the order of its members: a reader finds keys as the manual has them.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		value := new(bytes.Buffer)
		encoder := json.NewEncoder(value)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(m.value); err != nil {
			return nil, err
		}
		b.Write(value.Bytes())
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schema renders the JSON Schema. The first section is the root.
func schema(sections []*section) ([]byte, error) {
	root := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$comment", "Generated from the comments in config/*.go by: go generate ./config"},
		{"title", "Crossgate configuration"},
	}
	root = append(root, sections[0].schema()...)
	var defs object
	for _, s := range sections[1:] {
		defs = append(defs, member{s.name, s.schema()})
	}
	root = append(root, member{"$defs", defs})
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(root)
	return b.Bytes(), err
}

func (s *section) schema() object {
	var properties object
	var required []string
	for _, k := range s.keys {
		properties = append(properties, member{k.name, k.schema(s.path == "")})
		if k.required {
			required = append(required, k.name)
		}
	}
	o := object{{"description", s.doc}, {"type", "object"}, {"properties", properties}}
	if required != nil {
		o = append(o, member{"required", required})
	}
	return append(o, member{"additionalProperties", false})
}

func (k *key) schema(top bool) object {
	o := object{{"description", k.doc}}
	if k.hasDefault {
		o = append(o, member{"default", k.defaultValue()})
	}
	if !k.list {
		return append(o, k.element()...)
	}
	if k.single {
		return append(o, anyOf(k.element(), object{{"type", "array"}, {"items", k.element()}, {"minItems", 1}})...)
	}
	o = append(o, member{"type", "array"}, member{"items", k.element()})
	if !top {
		o = append(o, member{"minItems", 1})
	}
	return o
}

func (k *key) defaultValue() any {
	if k.list {
		return []string{k.initial}
	}
	if n, err := strconv.Atoi(k.initial); err == nil && k.kind == integer {
		return n
	}
	return k.initial
}

// variable is the pattern of a string that an environment variable fills in; what it comes to only the loader knows.
const variable = `\$\{`

// element is the schema of one value.
func (k *key) element() object {
	switch k.kind {
	case mapping:
		return object{{"$ref", "#/$defs/" + k.of.name}}
	case texts:
		return object{{"type", "object"}, {"additionalProperties", object{{"type", "string"}}}}
	case boolean:
		return orVariable(object{{"type", "boolean"}})
	case integer:
		return orVariable(k.bounded(object{{"type", "integer"}}))
	case duration:
		return anyOf(matching(syntax.Duration), object{{"const", 0}})
	case size:
		return anyOf(matching(syntax.Size), object{{"type", "integer"}, {"minimum", 0}})
	case percent:
		return anyOf(matching(syntax.Percent), object{{"type", "number"}, {"minimum", 0}})
	case rate:
		return matching(syntax.Rate)
	}
	if k.enum != nil {
		return orVariable(object{{"enum", enumValues(k.enum)}})
	}
	o := object{{"type", "string"}}
	if !k.empty {
		o = append(o, member{"minLength", 1})
	}
	return o
}

func (k *key) bounded(o object) object {
	if n, err := strconv.Atoi(k.min); err == nil {
		o = append(o, member{"minimum", n})
	}
	if n, err := strconv.Atoi(k.max); err == nil {
		o = append(o, member{"maximum", n})
	}
	return o
}

// enumValues adds to values such as 1.2 the number that YAML takes them for without quotes.
func enumValues(enum []string) []any {
	var values []any
	for _, e := range enum {
		values = append(values, e)
		if _, err := strconv.ParseFloat(e, 64); err == nil {
			values = append(values, json.Number(e))
		}
	}
	return values
}

func matching(pattern string) object {
	return object{{"type", "string"}, {"pattern", "^(" + pattern + ")$|" + variable}}
}

func orVariable(o object) object {
	return anyOf(o, object{{"type", "string"}, {"pattern", variable}})
}

func anyOf(alternatives ...object) object { return object{{"anyOf", alternatives}} }
