package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/crossgate/crossgate/pace"
)

// Load reads a file, or a folder: every *.yaml and *.yml directly in it, in the order of their names, as one
// configuration. There lists are put together; a section that is no list may be in one file only.
// What is wrong comes as [Errors], all of it. ctx says whether the work is paced, and no more.
func Load(ctx context.Context, path string) (*Config, error) {
	names, err := configFiles(path)
	if err != nil {
		return nil, Errors{Errorf(Position{File: path}, "%w", err)}
	}
	var docs []*document
	var files []string
	var errs Errors
	for _, name := range names {
		absolute, err := filepath.Abs(name)
		if err != nil {
			return nil, Errors{Errorf(Position{File: name}, "%w", err)}
		}
		data, err := readFile(name)
		if err != nil {
			errs.Add(Position{File: name}, err)
			continue
		}
		files = append(files, absolute)
		doc, bad := readDocument(name, data, pace.Of(ctx))
		if bad != nil {
			errs.Add(Position{}, bad)
			continue
		}
		docs = append(docs, doc)
	}
	c, err := compile(docs, names, errs, pace.Of(ctx))
	if err != nil {
		return nil, err
	}
	c.Files = files
	return c, nil
}

// Parse reads one file's content. Errors say name; relative paths are relative to its folder.
func Parse(name string, data []byte) (*Config, error) {
	doc, err := readDocument(name, data, nil)
	if err != nil {
		return nil, Errors{err}
	}
	return compile([]*document{doc}, []string{name}, nil, nil)
}

// compile decodes docs into one configuration and holds it against the rules between keys. order has the names of
// all files, those that could not be read too: errs says why.
func compile(docs []*document, order []string, errs Errors, p *pace.Pace) (*Config, error) {
	count := 0
	for _, doc := range docs {
		count += values(doc.root, p)
	}
	d := decoder{
		pace:    p,
		env:     os.LookupEnv,
		places:  make(map[any]Position, count),
		broken:  make(map[any]bool),
		fields:  make(map[reflect.Type][]field),
		missing: len(errs) > 0,
		errs:    errs,
	}
	c := d.config(docs)
	v := validator{pace: p, config: c, places: d.places, broken: d.broken, missing: d.missing, errs: d.errs}
	v.validate()
	if len(v.errs) > 0 {
		return nil, v.errs.sorted(order)
	}
	return c, nil
}

func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, reason(err)
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.IsDir() || e.Name()[0] == '.' || ext != ".yaml" && ext != ".yml" {
			continue
		}
		names = append(names, filepath.Join(path, e.Name()))
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the folder has no *.yaml or *.yml file")
	}
	return names, nil
}

// readFile reads at most one byte more than a document may have.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	return data, reason(err)
}

// reason drops the file name from err, which the position says already.
func reason(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
