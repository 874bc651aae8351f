package openapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/routing"
)

// path is a path template in OpenAPI's notation, where each parameter is one segment or, what OpenAPI has no word for,
// the rest of the path.
type path struct {
	segments []pathSegment
	verb     string // with its colon, escaped
}

// pathSegment is a literal, or a parameter where it has a name.
type pathSegment struct {
	literal string // escaped
	name    string
	field   string // the variable that it is, or is a part of; empty for none
	whole   bool   // it is all of the variable
	multi   bool   // it is the rest of the path
}

// newPath translates a template. {name=shelves/*/books/*} becomes shelves/{shelf}/books/{book}: a wildcard is named
// after the literal before it, where the variable has one, and after the variable where not.
func newPath(t *routing.Template) *path {
	p := &path{}
	parts := t.Parts()
	span := map[string]int{}
	for _, part := range parts {
		span[part.Field]++
	}
	for i, part := range parts {
		s := pathSegment{literal: url.PathEscape(part.Literal), field: part.Field, multi: part.Multi}
		if part.Single || part.Multi {
			s.whole = part.Field != "" && span[part.Field] == 1
			s.name = p.unique(paramName(parts, i, s.whole))
		}
		p.segments = append(p.segments, s)
	}
	if verb := t.Verb(); verb != "" {
		p.verb = ":" + url.PathEscape(verb)
	}
	return p
}

func paramName(parts []routing.Part, i int, whole bool) string {
	part := parts[i]
	if whole {
		return part.Field
	}
	if i > 0 && parts[i-1].Literal != "" && parts[i-1].Field == part.Field {
		if name := singular(parts[i-1].Literal); name != "" {
			return name
		}
	}
	switch {
	case part.Field != "":
		return part.Field
	case part.Multi:
		return "rest"
	}
	return "segment"
}

// singular makes the name of one thing of the name of its collection, as resource names have it (AIP-122): shelves to
// shelf. It is a label and no grammar; what is no word gives nothing.
func singular(s string) string {
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return ""
		}
	}
	for _, ending := range [...]struct{ many, one string }{
		{"lves", "lf"}, {"ies", "y"}, {"sses", "ss"}, {"shes", "sh"}, {"ches", "ch"}, {"xes", "x"}, {"ss", "ss"}, {"us", "us"}, {"s", ""},
	} {
		if stem, ok := strings.CutSuffix(s, ending.many); ok && stem != "" {
			return stem + ending.one
		}
	}
	return s
}

// unique returns the name, with a number when another parameter of the path has it.
func (p *path) unique(name string) string {
	candidate := name
	for n := 2; slices.ContainsFunc(p.segments, func(s pathSegment) bool { return s.name == candidate }); n++ {
		candidate = name + strconv.Itoa(n)
	}
	return candidate
}

// String is the key in the document's paths: /v1/shelves/{shelf}/items/{item}:reserve.
func (p *path) String() string { return "/" + join(p.segments, (*pathSegment).String) + p.verb }

// shape is the path without the names of parameters, which a document may have once (OpenAPI 3.1, section 4.8.8.2).
func (p *path) shape() string {
	return "/" + join(p.segments, func(s *pathSegment) string {
		if s.name != "" {
			return "{}"
		}
		return s.literal
	}) + p.verb
}

// variable is the part of the path that is a variable: shelves/{shelf}/items/{item}.
func (p *path) variable(field string) string {
	var own []pathSegment
	for _, s := range p.segments {
		if s.field == field {
			own = append(own, s)
		}
	}
	return join(own, (*pathSegment).String)
}

func (s *pathSegment) String() string {
	if s.name != "" {
		return "{" + s.name + "}"
	}
	return s.literal
}

func join(segments []pathSegment, text func(*pathSegment) string) string {
	var b strings.Builder
	for i := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(text(&segments[i]))
	}
	return b.String()
}

// rename gives the parameters the names they have in a path of the same shape.
func (p *path) rename(as *path) {
	for i := range p.segments {
		p.segments[i].name = as.segments[i].name
	}
}
