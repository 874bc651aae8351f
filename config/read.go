package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/crossgate/crossgate/pace"
)

// maxFileSize bounds one file. Ten thousand routes take about 2 MiB.
const maxFileSize = 16 << 20

// document is one file: its tree, or nil where it has none.
type document struct {
	name   string // as errors show it
	folder string // absolute; what relative paths in it are relative to
	root   *yaml.Node
}

// readDocument parses data as YAML with at most one document, whose root is a mapping.
func readDocument(name string, data []byte, p *pace.Pace) (*document, *Error) {
	folder, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, Errorf(Position{File: name}, "%w", err)
	}
	doc := &document{name: name, folder: folder}
	if len(data) > maxFileSize {
		return nil, Errorf(doc.at(1, 1), "the file has %d bytes; the most is %d", len(data), maxFileSize)
	}
	if err := doc.checkText(data, p); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(p.Reader(bytes.NewReader(data)))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return doc, nil
	} else if err != nil {
		return nil, doc.syntaxError(err, data)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, Errorf(doc.at(second.Line, second.Column), "a second YAML document begins here; a file has one")
	} else if !errors.Is(err, io.EOF) {
		return nil, doc.syntaxError(err, data)
	}
	doc.root = first.Content[0]
	if doc.root.Kind == yaml.ScalarNode && doc.root.ShortTag() == "!!null" && doc.root.Value == "" {
		doc.root = nil
	}
	return doc, nil
}

func (d *document) at(line, column int) Position {
	return Position{File: d.name, Line: line, Column: column}
}

// checkText refuses what the YAML library refuses too, but without saying where.
func (d *document) checkText(data []byte, p *pace.Pace) *Error {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return Errorf(d.at(line, column), "the file is not UTF-8 text")
		case unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' && r != '\u0085':
			return Errorf(d.at(line, column), "control character %U is not allowed", r)
		case r == '\n':
			line, column = line+1, 0
			p.Step()
		}
		i, column = i+size, column+1
	}
	return nil
}

var (
	syntaxErrorLine = regexp.MustCompile(`^line ([0-9]+): `)
	unknownAnchor   = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError returns the library's error with its place, as far as the library tells it: a line, except on the first.
func (d *document) syntaxError(err error, data []byte) *Error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	pos := d.at(1, 0)
	if m := syntaxErrorLine.FindStringSubmatch(message); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	} else if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if before, _, found := bytes.Cut(data, []byte("*"+m[1])); found {
			pos.Line += bytes.Count(before, []byte("\n"))
			pos.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
		}
		message = fmt.Sprintf("there is no anchor &%s before this alias", m[1])
	}
	return Errorf(pos, "%s", message)
}
