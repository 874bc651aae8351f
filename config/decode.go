package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/crossgate/crossgate/pace"
)

// Bounds on what a small file can be made to stand for.
const (
	maxDepth   = 32     // deeper than any key is; only additional_bindings and aliases of themselves get there
	maxAliased = 10_000 // values read through aliases
)

// decoder fills structs from YAML nodes, strictly, and goes on after an error to find the others.
type decoder struct {
	pace   *pace.Pace
	env    func(string) (string, bool)
	errs   Errors
	places map[any]Position // where a value was given, by the address of what holds it, or by a mapKey
	broken map[any]bool     // addresses of the elements and sections of the root that have an error
	// missing says that names may be absent for another reason than that nobody wrote them.
	missing bool

	doc       *document
	depth     int
	following int // aliases the current node was reached through
	aliased   int
	exhausted bool // aliased went above its bound; nothing more is decoded
	fields    map[reflect.Type][]field
}

// mapKey is the place of a key in a map, which has no address.
type mapKey struct {
	of  *map[string]string
	key string
}

// values counts the values below a node, those of aliases not.
func values(n *yaml.Node, p *pace.Pace) int {
	if n == nil || len(n.Content) == 0 {
		return 0
	}
	p.Step()
	count := 0
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue // a key
		}
		count += 1 + values(c, p)
	}
	return count
}

func (d *decoder) position(n *yaml.Node) Position { return d.doc.at(n.Line, n.Column) }

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, Errorf(d.position(n), format, args...))
}

func (d *decoder) fieldsOf(t reflect.Type) []field {
	fields, ok := d.fields[t]
	if !ok {
		fields = fieldsOf(t)
		d.fields[t] = fields
	}
	return fields
}

// value decodes n, which was given for key, into v, and remembers where.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value, r rules) {
	if n.Kind == yaml.AliasNode {
		d.following++
		defer func() { d.following-- }()
		n = n.Alias
	}
	if d.following > 0 {
		d.aliased += 1 + len(n.Content)
	}
	if d.aliased > maxAliased && !d.exhausted {
		d.errorf(n, "%s: aliases stand for more than %d values", key, maxAliased)
		d.exhausted = true
	}
	if d.exhausted {
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.errorf(n, "%s: nested more than %d deep", key, maxDepth)
		d.depth--
		return
	}
	defer func() { d.depth-- }()
	d.places[v.Addr().Interface()] = d.position(n)
	if !d.hasValue(key, n) {
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *map[string]string:
		d.mapping(key, n, target)
		return
	case *Rate, *Prefix:
		d.scalar(key, n, v, r)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.structure(key, n, v.Elem())
	case reflect.Struct:
		d.structure(key, n, v)
	case reflect.Slice:
		d.list(key, n, v, r)
	default:
		d.scalar(key, n, v, r)
	}
}

// hasValue reports whether n is something to decode at all. Null is not: a key left hanging, as in "tls:" with nothing
// after it, must not quietly mean the default.
func (d *decoder) hasValue(key string, n *yaml.Node) bool {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		d.errorf(n, "%s: the tag %s is not supported", key, n.Tag)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.errorf(n, "%s: there is no value; give one or leave the key out", key)
	default:
		return true
	}
	return false
}

// is reports whether n is of the kind that key wants.
func (d *decoder) is(kind yaml.Kind, key string, n *yaml.Node) bool {
	if n.Kind != kind {
		d.errorf(n, "%s: expected %s, found %s", key, describe(kind), describe(n.Kind))
	}
	return n.Kind == kind
}

func describe(kind yaml.Kind) string {
	switch kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}

func (d *decoder) structure(name string, n *yaml.Node, v reflect.Value) {
	d.pace.Step()
	if pos, ok := v.FieldByName("Pos").Addr().Interface().(*Position); ok {
		*pos = d.position(n)
	}
	fields := d.fieldsOf(v.Type())
	given := make([]int, len(fields))
	if d.is(yaml.MappingNode, name, n) {
		seen := keys{fields: fields, given: given}
		for i := 0; i+1 < len(n.Content); i += 2 {
			f := d.key(name, n.Content[i], &seen)
			if f < 0 {
				continue
			}
			d.value(fields[f].key, n.Content[i+1], v.Field(fields[f].index), fields[f].rules)
		}
		for i, f := range fields {
			if f.required && given[i] == 0 {
				d.errorf(n, "%s: %s is missing", name, f.key)
			}
		}
	}
	d.fillIn(v, given, d.position(n))
}

// keys are those of one mapping that were seen before.
type keys struct {
	fields  []field
	given   []int          // the lines of the fields that were given, else 0
	unknown map[string]int // the lines of other keys
}

// key returns the field that k names, or -1 after an error.
func (d *decoder) key(name string, k *yaml.Node, seen *keys) int {
	switch {
	case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0:
		d.errorf(k, "%s: a key must be a plain word", name)
		return -1
	case k.ShortTag() == "!!merge":
		d.errorf(k, "%s: merge keys are not supported; repeat the keys, or use an alias for the whole value", name)
		return -1
	}
	at := slices.IndexFunc(seen.fields, func(f field) bool { return f.key == k.Value })
	before := seen.unknown[k.Value]
	if at >= 0 {
		before = seen.given[at]
	}
	switch {
	case before > 0:
		d.errorf(k, "%s: %s was given before, in line %d", name, quote(k.Value), before)
		return -1
	case at >= 0:
		seen.given[at] = k.Line
		return at
	}
	if seen.unknown == nil {
		seen.unknown = make(map[string]int)
	}
	seen.unknown[k.Value] = k.Line
	hint := didYouMean(k.Value, keysOf(seen.fields))
	if hint == "" {
		hint = "; expected " + orList(keysOf(seen.fields))
	}
	d.errorf(k, "%s: unknown key %s%s", name, quote(k.Value), hint)
	return -1
}

// fillIn sets what was not given to its default, inside structs too. Those count as standing where their parent does.
func (d *decoder) fillIn(v reflect.Value, given []int, pos Position) {
	for i, f := range d.fieldsOf(v.Type()) {
		if given != nil && given[i] > 0 {
			continue
		}
		target := v.Field(f.index)
		if f.hasDefault {
			d.initial(f, target)
		}
		if at := nested(target); at != nil {
			*at = pos
			d.fillIn(target, nil, pos)
		}
	}
}

// nested returns the Pos of a struct that has one, or nil.
func nested(v reflect.Value) *Position {
	if v.Kind() != reflect.Struct {
		return nil
	}
	at := v.FieldByName("Pos")
	if !at.IsValid() {
		return nil
	}
	return at.Addr().Interface().(*Position)
}

func (d *decoder) initial(f field, v reflect.Value) {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		v = v.Index(0)
	}
	if err := setScalar(v, f.rules.initial, d.doc.folder); err != nil {
		panic(fmt.Sprintf("config: default of %s: %v", f.key, err))
	}
}

func (d *decoder) list(key string, n *yaml.Node, v reflect.Value, r rules) {
	if r.single && n.Kind == yaml.ScalarNode {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.value(key, n, v.Index(0), r)
		return
	}
	if !d.is(yaml.SequenceNode, key, n) {
		return
	}
	if len(n.Content) == 0 {
		d.errorf(n, "%s: the list is empty; give it an element or leave the key out", key)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, element := range n.Content {
		d.value(key, element, v.Index(i), r)
	}
}

func (d *decoder) mapping(key string, n *yaml.Node, target *map[string]string) {
	if !d.is(yaml.MappingNode, key, n) {
		return
	}
	*target = make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 || k.ShortTag() == "!!merge" {
			d.errorf(k, "%s: a key must be a plain word", key)
			continue
		}
		if _, ok := (*target)[k.Value]; ok {
			d.errorf(k, "%s: %s was given before, in line %d", key, quote(k.Value), d.places[mapKey{target, k.Value}].Line)
			continue
		}
		var value string
		d.value(key, n.Content[i+1], reflect.ValueOf(&value).Elem(), rules{empty: true})
		delete(d.places, &value)
		(*target)[k.Value] = value
		d.places[mapKey{target, k.Value}] = d.position(k)
	}
}

// orList returns "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
