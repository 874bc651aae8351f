package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crossgate/crossgate/routing"
)

// text is a value with variables, compiled.
type text struct {
	parts []part
}

// part is fixed, or a variable.
type part struct {
	fixed    string
	variable func(*Call) string
}

// variables are those that every route has.
var variables = map[string]func(*Call) string{
	"user":       func(c *Call) string { return c.User },
	"client_ip":  func(c *Call) string { return c.clientIP() },
	"host":       func(c *Call) string { return c.request.Host },
	"scheme":     func(c *Call) string { return c.scheme() },
	"method":     func(c *Call) string { return c.request.Method },
	"path":       func(c *Call) string { return c.Path },
	"request_id": func(c *Call) string { return c.RequestID },
	"route":      func(c *Call) string { return c.Route },
}

// compileText parses a value for a route with these path variables. {{ is a brace.
func compileText(s string, fields []string, more map[string]func(*Call) string) (text, error) {
	var t text
	fixed := ""
	for s != "" {
		before, after, found := strings.Cut(s, "{")
		fixed += before
		if !found {
			break
		}
		if rest, ok := strings.CutPrefix(after, "{"); ok {
			fixed, s = fixed+"{", rest
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return t, fmt.Errorf("%q has a { without }; write {{ for a brace", s)
		}
		variable, err := lookup(name, fields, more)
		if err != nil {
			return t, err
		}
		if fixed != "" {
			t.parts = append(t.parts, part{fixed: fixed})
		}
		t.parts = append(t.parts, part{variable: variable})
		fixed, s = "", rest
	}
	if fixed != "" {
		t.parts = append(t.parts, part{fixed: fixed})
	}
	return t, nil
}

func lookup(name string, fields []string, more map[string]func(*Call) string) (func(*Call) string, error) {
	if v := variables[name]; v != nil {
		return v, nil
	}
	if v := more[name]; v != nil {
		return v, nil
	}
	field, ok := strings.CutPrefix(name, "path.")
	if ok && slices.Contains(fields, field) {
		return func(c *Call) string { return c.Vars.Get(field) }, nil
	}
	if ok {
		return nil, fmt.Errorf("{%s}: match.template has no variable %q", name, field)
	}
	return nil, fmt.Errorf("there is no variable {%s}; expected user, client_ip, host, scheme, method, path, request_id, route or path.NAME", name)
}

// constant returns the value where it has no variables.
func (t *text) constant() (string, bool) {
	switch len(t.parts) {
	case 0:
		return "", true
	case 1:
		return t.parts[0].fixed, t.parts[0].variable == nil
	}
	return "", false
}

// value returns the text for a call, with escape applied to what its variables are.
func (t *text) value(c *Call, escape func(string) string) string {
	if len(t.parts) == 1 && t.parts[0].variable != nil {
		return escape(t.parts[0].variable(c))
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.variable == nil {
			b.WriteString(p.fixed)
		} else {
			b.WriteString(escape(p.variable(c)))
		}
	}
	return b.String()
}

// escapeField percent-encodes what would end a header field, or could: callers have a say in variables.
func escapeField(s string) string {
	return escapeBytes(s, func(b byte) bool { return b < ' ' && b != '\t' || b == 0x7f })
}

// escapeBytes percent-encodes the bytes that odd picks.
func escapeBytes(s string, odd func(byte) bool) string {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if !odd(s[i]) {
			continue
		}
		b := append(make([]byte, 0, len(s)+8), s[:i]...)
		for ; i < len(s); i++ {
			if c := s[i]; odd(c) {
				b = append(b, '%', hex[c>>4], hex[c&15])
			} else {
				b = append(b, c)
			}
		}
		return string(b)
	}
	return s
}

// fieldsOf returns the path variables of a template, which may be nil.
func fieldsOf(t *routing.Template) []string {
	if t == nil {
		return nil
	}
	return t.Fields()
}
