package config

import (
	"os"
	"reflect"
)

// keyFile is what a file of API keys has.
type keyFile struct {
	Pos Position `yaml:"-"`

	Keys []APIKey `yaml:"keys" required:"true"`
}

// LoadAPIKeys reads a file of API keys, in the form they have in a configuration. What is wrong comes as [Errors], all of it.
func LoadAPIKeys(path string) ([]APIKey, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{Errorf(Position{File: path}, "%w", err)}
	}
	doc, bad := readDocument(path, data, nil)
	if bad != nil {
		return nil, Errors{bad}
	}
	if doc.root == nil {
		return nil, Errors{Errorf(doc.at(1, 1), "keys is missing")}
	}
	d := decoder{env: os.LookupEnv, places: map[any]Position{}, broken: map[any]bool{}, fields: map[reflect.Type][]field{}, doc: doc}
	var file keyFile
	d.structure("keys file", doc.root, reflect.ValueOf(&file).Elem())
	v := validator{config: new(Config), places: d.places, broken: d.broken, errs: d.errs}
	v.keyList(file.Keys)
	if len(v.errs) > 0 {
		return nil, v.errs.sorted([]string{path})
	}
	return file.Keys, nil
}
