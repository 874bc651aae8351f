package descriptors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"

	"github.com/crossgate/crossgate/config"
)

// maxServiceConfig bounds a service configuration file.
const maxServiceConfig = 16 << 20

// serviceConfig reads the http section of one google.api.Service in YAML. Other sections are for other tools. Keys may be
// written as the proto has them or in lowerCamelCase, as in any JSON form of a message.
type serviceConfig struct {
	file  string
	errs  config.Errors
	rules []placedRule
	// fullyDecode is where fully_decode_reserved_expansion is set to true.
	fullyDecode config.Position
}

func readServiceConfig(path string) (*serviceConfig, error) {
	c := &serviceConfig{file: path}
	raw, err := readBounded(path, maxServiceConfig)
	if err != nil {
		return nil, config.Errorf(config.Position{File: path}, "%w", err)
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, c.syntaxError(err)
	}
	c.root(&doc)
	return c, c.errs.Err()
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return raw, nil
}

// yamlLine finds the line in an error of the YAML library, which has it in the text only.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func (c *serviceConfig) syntaxError(err error) error {
	pos := config.Position{File: c.file}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
		return config.Errorf(pos, "%s", m[2])
	}
	return config.Errorf(pos, "%w", err)
}

func (c *serviceConfig) at(n *yaml.Node) config.Position {
	return config.Position{File: c.file, Line: n.Line, Column: n.Column}
}

func (c *serviceConfig) errorf(n *yaml.Node, format string, args ...any) {
	c.errs.Add(config.Position{}, config.Errorf(c.at(n), format, args...))
}

func (c *serviceConfig) root(doc *yaml.Node) {
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		c.errs.Add(config.Position{File: c.file}, errors.New("empty; expected type: google.api.Service"))
		return
	}
	root := doc.Content[0]
	kind := "none"
	c.mapping(root, "the service configuration", func(key string, value *yaml.Node) bool {
		switch key {
		case "type":
			kind = c.text(key, value)
		case "http":
			c.http(value)
		}
		return true
	})
	if root.Kind == yaml.MappingNode && kind != "google.api.Service" {
		c.errorf(root, "type is %s, expected google.api.Service", kind)
	}
}

func (c *serviceConfig) http(n *yaml.Node) {
	c.mapping(n, "http", func(key string, value *yaml.Node) bool {
		switch key {
		case "rules":
			c.sequence(value, key, func(rule *yaml.Node) {
				c.rules = append(c.rules, placedRule{c.rule(rule, true), c.at(rule)})
			})
		case "fully_decode_reserved_expansion", "fullyDecodeReservedExpansion":
			var on bool
			if value.Decode(&on) != nil {
				c.errorf(value, "%s: expected true or false", key)
			}
			if on {
				c.fullyDecode = c.at(value)
			}
		default:
			return false
		}
		return true
	})
}

func (c *serviceConfig) rule(n *yaml.Node, additional bool) *annotations.HttpRule {
	r := &annotations.HttpRule{}
	c.mapping(n, "an http rule", func(key string, value *yaml.Node) bool {
		before := r.Pattern
		switch key {
		case "selector":
			r.Selector = c.text(key, value)
		case "body":
			r.Body = c.text(key, value)
		case "response_body", "responseBody":
			r.ResponseBody = c.text(key, value)
		case "get":
			r.Pattern = &annotations.HttpRule_Get{Get: c.text(key, value)}
		case "put":
			r.Pattern = &annotations.HttpRule_Put{Put: c.text(key, value)}
		case "post":
			r.Pattern = &annotations.HttpRule_Post{Post: c.text(key, value)}
		case "delete":
			r.Pattern = &annotations.HttpRule_Delete{Delete: c.text(key, value)}
		case "patch":
			r.Pattern = &annotations.HttpRule_Patch{Patch: c.text(key, value)}
		case "custom":
			r.Pattern = &annotations.HttpRule_Custom{Custom: c.custom(value)}
		case "additional_bindings", "additionalBindings":
			if !additional {
				c.errorf(value, "%s: an additional binding has none of its own", key)
				return true
			}
			c.sequence(value, key, func(more *yaml.Node) { r.AdditionalBindings = append(r.AdditionalBindings, c.rule(more, false)) })
		default:
			return false
		}
		if before != nil && before != r.Pattern {
			c.errorf(value, "%s: the rule has a verb already; more bindings are its additional_bindings", key)
		}
		return true
	})
	return r
}

func (c *serviceConfig) custom(n *yaml.Node) *annotations.CustomHttpPattern {
	p := &annotations.CustomHttpPattern{}
	c.mapping(n, "custom", func(key string, value *yaml.Node) bool {
		switch key {
		case "kind":
			p.Kind = c.text(key, value)
		case "path":
			p.Path = c.text(key, value)
		default:
			return false
		}
		return true
	})
	return p
}

// mapping calls each with the keys of a mapping; each reports whether it knows the key.
func (c *serviceConfig) mapping(n *yaml.Node, what string, each func(key string, value *yaml.Node) bool) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		c.errorf(n, "%s is not a mapping of keys to values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case seen[key.Value]:
			c.errorf(key, "%s: given twice", key.Value)
		case !each(key.Value, n.Content[i+1]):
			c.errorf(key, "%s has no key %q", what, key.Value)
		}
		seen[key.Value] = true
	}
}

func (c *serviceConfig) sequence(n *yaml.Node, what string, each func(*yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		c.errorf(n, "%s is not a list", what)
		return
	}
	for _, item := range n.Content {
		each(item)
	}
}

func (c *serviceConfig) text(key string, n *yaml.Node) string {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode {
		c.errorf(n, "%s: expected text", key)
	}
	return n.Value
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
