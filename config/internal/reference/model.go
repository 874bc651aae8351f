package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/crossgate/crossgate/config"
)

// section is one struct of the configuration: a mapping with keys.
type section struct {
	name string // the Go type's
	path string // where it stands, as routes.match; empty for the root
	list bool   // it is an element of the list there
	also []string
	doc  string
	keys []key
}

// key is one field of a section.
type key struct {
	name       string
	doc        string
	kind       kind
	list       bool
	of         *section // of a mapping
	required   bool
	initial    string
	hasDefault bool
	enum       []string
	min, max   string
	empty      bool
	single     bool
}

type kind string

const (
	text     kind = "string"
	boolean  kind = "true or false"
	integer  kind = "whole number"
	duration kind = "duration"
	size     kind = "size"
	rate     kind = "rate"
	percent  kind = "percentage"
	path     kind = "path"
	secret   kind = "secret"
	prefix   kind = "address range"
	texts    kind = "mapping of strings"
	mapping  kind = "mapping"
)

var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string]():            text,
	reflect.TypeFor[bool]():              boolean,
	reflect.TypeFor[int]():               integer,
	reflect.TypeFor[config.Duration]():   duration,
	reflect.TypeFor[config.Size]():       size,
	reflect.TypeFor[config.Rate]():       rate,
	reflect.TypeFor[config.Percent]():    percent,
	reflect.TypeFor[config.Path]():       path,
	reflect.TypeFor[config.Secret]():     secret,
	reflect.TypeFor[config.Prefix]():     prefix,
	reflect.TypeFor[map[string]string](): texts,
}

// model reads the sections of config.Config, in the order of their keys, with the comments in the sources in folder.
func model(folder string) ([]*section, error) {
	comments, err := readComments(folder)
	if err != nil {
		return nil, err
	}
	m := modeller{comments: comments, seen: make(map[reflect.Type]*section)}
	_, err = m.section(reflect.TypeFor[config.Config](), "", false)
	return m.sections, err
}

type modeller struct {
	comments map[string]string
	seen     map[reflect.Type]*section
	sections []*section
}

func (m *modeller) section(t reflect.Type, path string, list bool) (*section, error) {
	if s := m.seen[t]; s != nil {
		switch {
		case strings.HasPrefix(path, s.path+"."): // it contains itself
		case strings.Count(path, ".") < strings.Count(s.path, "."):
			s.path, s.also = path, append(s.also, s.path)
		default:
			s.also = append(s.also, path)
		}
		return s, nil
	}
	s := &section{name: t.Name(), path: path, list: list, doc: m.comments[t.Name()]}
	m.seen[t] = s
	m.sections = append(m.sections, s)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("yaml") == "-" {
			continue
		}
		k, err := m.key(s, f)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func (m *modeller) key(s *section, f reflect.StructField) (key, error) {
	k := key{
		name:     f.Tag.Get("yaml"),
		doc:      m.comments[s.name+"."+f.Name],
		required: f.Tag.Get("required") != "",
		min:      f.Tag.Get("min"),
		max:      f.Tag.Get("max"),
		empty:    f.Tag.Get("empty") != "",
		single:   f.Tag.Get("single") != "",
	}
	k.initial, k.hasDefault = f.Tag.Lookup("default")
	if enum := f.Tag.Get("enum"); enum != "" {
		k.enum = strings.Split(enum, ",")
	}
	if k.doc == "" {
		return k, fmt.Errorf("%s.%s has no comment", s.name, f.Name)
	}
	t := f.Type
	if t.Kind() == reflect.Slice {
		k.list, t = true, t.Elem()
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if known, ok := kinds[t]; ok {
		k.kind = known
		return k, nil
	}
	k.kind = mapping
	var err error
	k.of, err = m.section(t, strings.TrimPrefix(s.path+"."+k.name, "."), k.list)
	return k, err
}

// readComments returns the comments of types, by name, and of fields, by Type.Field. In a type's comment the names of
// its fields become those of their keys.
func readComments(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	comments := make(map[string]string)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if types, ok := decl.(*ast.GenDecl); ok && types.Tok == token.TYPE {
				readTypes(types, comments)
			}
		}
	}
	return comments, nil
}

func readTypes(types *ast.GenDecl, comments map[string]string) {
	for _, spec := range types.Specs {
		t := spec.(*ast.TypeSpec)
		fields, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		doc := strings.TrimPrefix(oneLine(types.Doc.Text()), t.Name.Name+" ")
		doc = upperFirst(strings.TrimPrefix(doc, "is "))
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				comments[t.Name.Name+"."+name.Name] = oneLine(f.Doc.Text())
				if f.Tag == nil {
					continue
				}
				yaml := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml")
				doc = regexp.MustCompile(`\b`+name.Name+`\b`).ReplaceAllString(doc, "`"+yaml+"`")
			}
		}
		comments[t.Name.Name] = doc
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
