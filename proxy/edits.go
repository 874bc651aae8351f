package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/crossgate/crossgate/config"
)

// edits are a route's changes of headers, in one direction.
type edits struct {
	remove   []string
	set, add []edit
}

type edit struct {
	name  string
	value text
	fixed []string // the value, where it has no variables
}

func compileEdits(cfg *config.HeaderEdits, fields []string) (edits, error) {
	var e edits
	for _, name := range cfg.Remove {
		e.remove = append(e.remove, http.CanonicalHeaderKey(name))
	}
	var err error
	if e.set, err = compileEdit(cfg.Set, fields); err == nil {
		e.add, err = compileEdit(cfg.Add, fields)
	}
	return e, err
}

func compileEdit(values map[string]string, fields []string) ([]edit, error) {
	var list []edit
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value, err := compileText(values[name], fields, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		one := edit{name: http.CanonicalHeaderKey(name), value: value}
		if s, ok := value.constant(); ok && s != "" {
			one.fixed = []string{s}
		}
		list = append(list, one)
	}
	return list, nil
}

// apply changes h. A value that comes out empty is none.
func (e *edits) apply(h http.Header, c *Call) {
	for _, name := range e.remove {
		delete(h, name)
	}
	for i := range e.set {
		if v := e.set[i].values(c); v != nil {
			h[e.set[i].name] = v
		} else {
			delete(h, e.set[i].name)
		}
	}
	for i := range e.add {
		if v := e.add[i].values(c); v != nil {
			h[e.add[i].name] = slices.Concat(h[e.add[i].name], v)
		}
	}
}

// owns reports whether a header's value is set here, and so nobody else's.
func (e *edits) owns(name string) bool {
	return slices.Contains(e.remove, name) || slices.ContainsFunc(e.set, func(one edit) bool { return one.name == name })
}

func (e *edit) values(c *Call) []string {
	if e.fixed != nil {
		return e.fixed
	}
	if v := e.value.value(c, escapeField); v != "" {
		return []string{v}
	}
	return nil
}
