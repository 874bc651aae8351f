package main

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed introduction.md
var introduction string

// manual renders the reference page. example is the configuration it begins with.
func manual(sections []*section, example string) []byte {
	var b strings.Builder
	b.WriteString("<!-- Generated from the comments in config/*.go by: go generate ./config -->\n\n")
	b.WriteString(strings.Replace(introduction, "{{example}}", strings.TrimSpace(example), 1))
	b.WriteString("\n## Keys\n\n")
	b.WriteString("In the order of a file. `name[]` stands for each element of a list.\n")
	for _, s := range sections {
		s.manual(&b)
	}
	return []byte(b.String())
}

func (s *section) manual(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n", s.heading())
	fmt.Fprintf(b, "%s\n", prose(s.doc))
	if len(s.also) > 0 {
		fmt.Fprintf(b, "The same keys are in `%s`.\n", strings.Join(s.also, "`, `"))
	}
	b.WriteString("\n| Key | Value | Left out | Meaning |\n| --- | --- | --- | --- |\n")
	for _, k := range s.keys {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, cell(k.value()), cell(k.leftOut()), cell(prose(k.doc)))
	}
}

func (s *section) heading() string {
	if s.path == "" {
		return "The configuration"
	}
	if s.list {
		return s.path + "[]"
	}
	return s.path
}

// anchor is where the heading is found on the page, by the rules of GitHub.
func (s *section) anchor() string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			return r
		case r == ' ':
			return '-'
		}
		return -1
	}, strings.ToLower(s.heading()))
}

// value says what the key's value may be.
func (k *key) value() string {
	var what string
	switch {
	case k.of != nil:
		what = fmt.Sprintf("[%s](#%s)", k.of.path, k.of.anchor())
	case k.enum != nil:
		what = "`" + strings.Join(k.enum, "`, `") + "`"
	default:
		what = string(k.kind)
		if anchor, ok := explained[k.kind]; ok {
			what = fmt.Sprintf("[%s](#%s)", k.kind, anchor)
		}
	}
	switch {
	case k.min != "" && k.max != "":
		what += fmt.Sprintf(", `%s` to `%s`", k.min, k.max)
	case k.min != "":
		what += fmt.Sprintf(", at least `%s`", k.min)
	case k.max != "":
		what += fmt.Sprintf(", at most `%s`", k.max)
	}
	if k.list {
		return "list of " + what
	}
	return what
}

// explained has the anchors of the kinds that the introduction explains.
var explained = map[kind]string{
	duration: "values", size: "values", rate: "values", path: "values", secret: "values", prefix: "values",
}

func (k *key) leftOut() string {
	switch {
	case k.required:
		return "**required**"
	case k.hasDefault && k.list:
		return "`[\"" + k.initial + "\"]`"
	case k.hasDefault:
		return "`" + k.initial + "`"
	case k.kind == boolean:
		return "`false`"
	}
	return ""
}

// prose escapes what Markdown would take for emphasis or HTML in a comment, but for code between backquotes.
func prose(s string) string {
	parts := strings.Split(s, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("*", `\*`, "<", "&lt;").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// cell escapes what would end a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
