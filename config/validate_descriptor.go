package config

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

func (v *validator) descriptors() {
	unique(v, "descriptors", v.config.Descriptors, func(s *DescriptorSource) *string { return &s.Name })
	for i := range v.config.Descriptors {
		s := &v.config.Descriptors[i]
		if v.broken[s] {
			continue
		}
		v.exactlyOne(s.Pos, "descriptors",
			choice{"file", s.File != ""}, choice{"protos", s.Protos != nil}, choice{"reflection", s.Reflection != nil})
		if s.Protos != nil {
			v.words(s.Protos.Files, s.Protos.Pos, "files", checkGlob)
		}
	}
}

// checkGlob accepts globs that stay below the folder they are relative to.
func checkGlob(s string) error {
	switch {
	case !doublestar.ValidatePattern(s):
		return fmt.Errorf("%s is not a glob; expected one as **/*.proto", quote(s))
	case path.IsAbs(s) || strings.Contains("/"+s+"/", "/../"):
		return fmt.Errorf("%s leads out of the root", quote(s))
	}
	return nil
}

func (v *validator) httpRules() {
	h := &v.config.HTTP
	if v.broken[h] {
		return
	}
	for i := range h.Rules {
		r := &h.Rules[i]
		if err := CheckSelector(r.Selector); err != nil {
			v.errorf(v.at(&r.Selector, r.Pos), "%w", err)
		}
		v.httpRule(r)
		for j := range r.AdditionalBindings {
			v.additionalBinding(&r.AdditionalBindings[j])
		}
	}
}

func (v *validator) additionalBinding(r *HTTPRule) {
	if r.Selector != "" {
		v.errorf(v.at(&r.Selector, r.Pos), "selector: an additional binding is of its rule's method and has none of its own")
	}
	if len(r.AdditionalBindings) > 0 {
		v.errorf(v.at(&r.AdditionalBindings, r.Pos), "additional_bindings: an additional binding has none of its own")
	}
	v.httpRule(r)
}

// httpRule checks what rules and additional bindings have in common. Templates are parsed where they are compiled.
func (v *validator) httpRule(r *HTTPRule) {
	v.exactlyOne(r.Pos, "rules", choice{"get", r.Get != ""}, choice{"put", r.Put != ""}, choice{"post", r.Post != ""},
		choice{"delete", r.Delete != ""}, choice{"patch", r.Patch != ""}, choice{"custom", r.Custom != nil})
	for _, t := range [...]struct {
		key      string
		template *string
	}{{"get", &r.Get}, {"put", &r.Put}, {"post", &r.Post}, {"delete", &r.Delete}, {"patch", &r.Patch}} {
		v.template(t.key, t.template, r.Pos)
	}
	if c := r.Custom; c != nil {
		v.template("path", &c.Path, c.Pos)
		if c.Kind != "*" {
			v.check(&c.Kind, c.Pos, "kind", checkMethod(c.Kind))
		}
	}
	if r.Body != "" && r.Body != "*" && !isFullName(r.Body) {
		v.errorf(v.at(&r.Body, r.Pos), "body: %s is neither a field nor *", quote(r.Body))
	}
	if r.ResponseBody != "" && !isFullName(r.ResponseBody) {
		v.errorf(v.at(&r.ResponseBody, r.Pos), "response_body: %s is not a field", quote(r.ResponseBody))
	}
}

func (v *validator) template(key string, template *string, parent Position) {
	if *template != "" && !strings.HasPrefix(*template, "/") {
		v.errorf(v.at(template, parent), "%s: the path template %s does not begin with /", key, quote(*template))
	}
}
