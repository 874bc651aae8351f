package routing

import (
	"fmt"
	"net/url"
	"strings"
)

// Template is a parsed path template (google/api/http.proto, "Path template syntax"). It is immutable.
type Template struct {
	text     string
	segments []segment
	verb     string
	vars     []variable
}

type segment struct {
	kind    segmentKind
	literal string // percent-decoded, of a literal
}

type segmentKind uint8

const (
	literal segmentKind = iota
	single              // "*": one segment, not empty
	multi               // "**": the rest, zero or more segments
	rest                // what follows a path prefix: the rest, one or more segments, which may be empty
)

// variable is the part of a path that a field takes: segments from up to, but not including, to. With open the last
// of them is ** and the variable ends where the path does.
type variable struct {
	field    string
	from, to int
	open     bool
}

// manySegments reports whether the variable spans more than one segment, which decides how it is decoded.
func (v *variable) manySegments() bool { return v.open || v.to-v.from > 1 }

// TemplateError says where a template is wrong. Column counts bytes from 1.
type TemplateError struct {
	Template string
	Column   int
	Reason   string
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("path template %q, column %d: %s", e.Template, e.Column, e.Reason)
}

// String returns the template as it was written.
func (t *Template) String() string { return t.text }

// Pattern returns what the template matches, without the names of its variables: two templates with the same pattern
// match the same paths.
func (t *Template) Pattern() string {
	var b strings.Builder
	for _, s := range t.segments {
		b.WriteByte('/')
		switch s.kind {
		case literal:
			b.WriteString(url.PathEscape(s.literal))
		case single:
			b.WriteByte('*')
		default:
			b.WriteString("**")
		}
	}
	if t.verb != "" {
		b.WriteString(":" + url.PathEscape(t.verb))
	}
	return b.String()
}

// Fields returns the field paths of the template's variables, from left to right.
func (t *Template) Fields() []string {
	fields := make([]string, len(t.vars))
	for i, v := range t.vars {
		fields[i] = v.field
	}
	return fields
}

// Part is one segment of a template, for those who write it in another notation.
type Part struct {
	// Literal is the segment's text, percent-decoded; empty for a wildcard.
	Literal string
	// Single is "*" and Multi "**"; neither for a literal.
	Single, Multi bool
	// Field is the variable that the segment is in, as a field path; empty for none.
	Field string
}

// Parts returns the segments from left to right.
func (t *Template) Parts() []Part {
	parts := make([]Part, len(t.segments))
	for i, s := range t.segments {
		parts[i] = Part{Literal: s.literal, Single: s.kind == single, Multi: s.kind == multi || s.kind == rest}
	}
	for _, v := range t.vars {
		for i := v.from; i < v.to; i++ {
			parts[i].Field = v.field
		}
	}
	return parts
}

// Verb returns what stands after the last segment's colon, percent-decoded; empty for none.
func (t *Template) Verb() string { return t.verb }

// ExactPath returns the template that matches just path, which begins with a slash and has no variables.
func ExactPath(path string) (*Template, error) {
	stem, verb := cutVerb(path)
	t, err := literalPath(stem)
	if err != nil {
		return nil, err
	}
	t.text = path
	if t.verb, err = url.PathUnescape(verb); err != nil {
		return nil, &TemplateError{path, len(stem) + 2, err.Error()}
	}
	return t, nil
}

// cutVerb cuts an escaped path, or its last segment, before the verb. Only a colon that came as such begins a verb,
// and only after at least one character of the segment.
func cutVerb(path string) (stem, verb string) {
	i := strings.LastIndexByte(path, ':')
	if i <= 0 || i == len(path)-1 || path[i-1] == '/' || strings.IndexByte(path[i:], '/') >= 0 {
		return path, ""
	}
	return path[:i], path[i+1:]
}

// PathPrefix returns the template that matches every path which begins with prefix, which begins and ends with a
// slash.
func PathPrefix(prefix string) (*Template, error) {
	t, err := literalPath(prefix)
	if err != nil {
		return nil, err
	}
	last := &t.segments[len(t.segments)-1]
	if last.literal != "" {
		return nil, &TemplateError{prefix, len(prefix), "a path prefix ends with a slash"}
	}
	last.kind = rest
	return t, nil
}

func literalPath(path string) (*Template, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, &TemplateError{path, 1, "a path begins with a slash"}
	}
	t := &Template{text: path}
	column := 2
	for part := range strings.SplitSeq(path[1:], "/") {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, &TemplateError{path, column, err.Error()}
		}
		if isDots(decoded) {
			return nil, &TemplateError{path, column, "a path has no . or .. segments"}
		}
		t.segments = append(t.segments, segment{literal: decoded})
		column += len(part) + 1
	}
	return t, nil
}

// ParseTemplate parses the whole grammar:
//
//	Template  = "/" Segments [ ":" LITERAL ]
//	Segments  = Segment { "/" Segment }
//	Segment   = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//	FieldPath = IDENT { "." IDENT }
//
// ** may only be the last segment. The error is a *TemplateError.
func ParseTemplate(text string) (*Template, error) {
	p := &templateParser{text: text, t: &Template{text: text}}
	if err := p.template(); err != nil {
		return nil, err
	}
	return p.t, nil
}

type templateParser struct {
	text string
	pos  int
	t    *Template
}

func (p *templateParser) fail(format string, args ...any) error {
	return &TemplateError{p.text, p.pos + 1, fmt.Sprintf(format, args...)}
}

func (p *templateParser) next(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *templateParser) template() error {
	if !p.next('/') {
		return p.fail("a template begins with a slash")
	}
	if err := p.segments(false); err != nil {
		return err
	}
	if p.next(':') {
		verb, err := p.literal("a verb")
		if err != nil {
			return err
		}
		p.t.verb = verb
	}
	if p.pos < len(p.text) {
		return p.fail("unexpected %q", p.text[p.pos])
	}
	return nil
}

func (p *templateParser) segments(inVariable bool) error {
	for {
		if n := len(p.t.segments); n > 0 && p.t.segments[n-1].kind == multi {
			return p.fail("** may only be the last segment")
		}
		if err := p.segment(inVariable); err != nil {
			return err
		}
		if !p.next('/') {
			return nil
		}
	}
}

func (p *templateParser) segment(inVariable bool) error {
	switch {
	case p.next('*'):
		kind := single
		if p.next('*') {
			kind = multi
		}
		p.t.segments = append(p.t.segments, segment{kind: kind})
		return nil
	case p.next('{'):
		if inVariable {
			p.pos--
			return p.fail("a variable cannot be inside another")
		}
		return p.variable()
	}
	text, err := p.literal("a segment: a literal, *, ** or {field}")
	if err != nil {
		return err
	}
	p.t.segments = append(p.t.segments, segment{literal: text})
	return nil
}

func (p *templateParser) variable() error {
	start := p.pos
	field, err := p.fieldPath()
	if err != nil {
		return err
	}
	for _, v := range p.t.vars {
		if v.field == field {
			p.pos = start
			return p.fail("the variable %s is there twice", field)
		}
	}
	v := variable{field: field, from: len(p.t.segments)}
	if p.next('=') {
		if err := p.segments(true); err != nil {
			return err
		}
	} else {
		if n := len(p.t.segments); n > 0 && p.t.segments[n-1].kind == multi {
			return p.fail("** may only be the last segment")
		}
		p.t.segments = append(p.t.segments, segment{kind: single})
	}
	if !p.next('}') {
		return p.fail("expected } after the variable %s", field)
	}
	v.to = len(p.t.segments)
	v.open = p.t.segments[v.to-1].kind == multi
	p.t.vars = append(p.t.vars, v)
	return nil
}

func (p *templateParser) fieldPath() (string, error) {
	start := p.pos
	for {
		first := p.pos
		for p.pos < len(p.text) && isIdent(p.text[p.pos], p.pos > first) {
			p.pos++
		}
		if p.pos == first {
			return "", p.fail("expected a field name")
		}
		if !p.next('.') {
			return p.text[start:p.pos], nil
		}
	}
}

func isIdent(c byte, digits bool) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || digits && '0' <= c && c <= '9'
}

// literal reads up to what ends a literal, and decodes it.
func (p *templateParser) literal(what string) (string, error) {
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("/:*{}=?#", p.text[p.pos]) < 0 {
		if c := p.text[p.pos]; c <= ' ' || c == 0x7f {
			return "", p.fail("unexpected %q", c)
		}
		p.pos++
	}
	if p.pos == start {
		return "", p.fail("expected %s", what)
	}
	text, err := url.PathUnescape(p.text[start:p.pos])
	if err != nil {
		p.pos = start
		return "", p.fail("%v", err)
	}
	if isDots(text) {
		p.pos = start
		return "", p.fail("a path has no . or .. segments")
	}
	return text, nil
}

func isDots(s string) bool { return s == "." || s == ".." }
