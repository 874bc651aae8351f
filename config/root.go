package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// config decodes docs as one configuration: the elements of lists in the order of docs, other sections from the one
// document that has them.
func (d *decoder) config(docs []*document) *Config {
	c := new(Config)
	v := reflect.ValueOf(c).Elem()
	fields := d.fieldsOf(v.Type())
	sections := make([][]section, len(fields))
	for _, doc := range docs {
		d.sections(doc, fields, sections)
	}
	given := make([]int, len(fields))
	for i, f := range fields {
		given[i] = len(sections[i])
		if target := v.Field(f.index); target.Kind() == reflect.Slice {
			d.join(f, sections[i], target)
		} else if given[i] > 0 {
			d.single(f, sections[i], target)
		}
	}
	d.doc = &document{folder: "/"}
	var pos Position
	if len(docs) > 0 {
		d.doc, pos = docs[0], docs[0].at(1, 1)
	}
	d.fillIn(v, given, pos)
	return c
}

// section is a key of a document's root and its value.
type section struct {
	doc        *document
	key, value *yaml.Node
}

// sections adds doc's keys to the lists of their fields.
func (d *decoder) sections(doc *document, fields []field, to [][]section) {
	d.doc = doc
	if doc.root == nil {
		return
	}
	before := len(d.errs)
	if n := doc.root; d.hasValue("configuration", n) && d.is(yaml.MappingNode, "configuration", n) {
		seen := keys{fields: fields, given: make([]int, len(fields))}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if f := d.key("configuration", n.Content[i], &seen); f >= 0 {
				to[f] = append(to[f], section{doc, n.Content[i], n.Content[i+1]})
			}
		}
	}
	if len(d.errs) > before {
		d.missing = true
	}
}

// single decodes a section that only one document may have.
func (d *decoder) single(f field, sections []section, v reflect.Value) {
	for _, again := range sections[1:] {
		first := sections[0]
		d.doc = again.doc
		d.errorf(again.key, "%s was given before, at %s", f.key, first.doc.at(first.key.Line, first.key.Column))
	}
	d.doc = sections[0].doc
	before := len(d.errs)
	d.value(f.key, sections[0].value, v, f.rules)
	if len(d.errs) > before {
		d.broken[v.Addr().Interface()] = true
	}
}

// join decodes a list whose elements stand in several documents.
func (d *decoder) join(f field, sections []section, v reflect.Value) {
	var elements []section
	for _, s := range sections {
		d.doc = s.doc
		list := s.value
		if !d.hasValue(f.key, list) || !d.is(yaml.SequenceNode, f.key, list) {
			d.missing = true
			continue
		}
		for _, element := range list.Content {
			elements = append(elements, section{s.doc, s.key, element})
		}
	}
	if len(elements) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, element := range elements {
		d.doc = element.doc
		before := len(d.errs)
		d.value(f.key, element.value, v.Index(i), f.rules)
		if len(d.errs) == before {
			continue
		}
		d.broken[v.Index(i).Addr().Interface()] = true
		if name := v.Index(i).FieldByName("Name"); name.IsValid() && name.String() == "" {
			d.missing = true
		}
	}
}
