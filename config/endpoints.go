package config

import (
	"os"
	"path/filepath"
	"reflect"
)

// LoadEndpoints reads a file of endpoints, a list of what discovery.static has, as strictly as Load reads a
// configuration. The error is Errors.
func LoadEndpoints(path string) ([]Endpoint, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{Errorf(Position{File: path}, "%w", err)}
	}
	doc, bad := readDocument(path, data, nil)
	if bad != nil {
		return nil, Errors{bad}
	}
	if doc.root == nil {
		return nil, Errors{Errorf(doc.at(1, 1), "the file has no endpoints")}
	}
	d := decoder{
		env: os.LookupEnv, places: make(map[any]Position), broken: make(map[any]bool), fields: make(map[reflect.Type][]field), doc: doc,
	}
	var found Discovery
	d.value("endpoints", doc.root, reflect.ValueOf(&found.Static).Elem(), rules{})
	v := validator{config: new(Config), places: d.places, broken: d.broken, errs: d.errs}
	if len(d.errs) == 0 {
		v.static(found.Static)
	}
	if len(v.errs) > 0 {
		return nil, v.errs.sorted([]string{filepath.Clean(path), path})
	}
	return found.Static, nil
}
