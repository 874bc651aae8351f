package routing

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Table answers which rule a request is for. It is immutable and safe for concurrent use.
type Table[T any] struct {
	exact    map[string]*node[T]
	suffixes map[string]*node[T] // ".example.com" for *.example.com
	any      *node[T]
}

// node is a place in the trie: the segments that lead to it are behind it.
type node[T any] struct {
	literals map[string]*node[T]
	single   *node[T]
	leaf     leaf[T] // templates that end here
	multi    leaf[T] // templates whose ** begins here
	rest     leaf[T] // path prefixes whose rest begins here
}

// leaf is where templates end: the entries of each verb, the most specific first.
type leaf[T any] map[string][]*entry[T]

type entry[T any] struct {
	rule Rule[T]
	key  string // the header conditions, canonical
}

// Compile builds a table. Its error joins one error for each pair of rules that no request could tell apart, naming
// the origins of both.
func Compile[T any](rules []Rule[T]) (*Table[T], error) {
	t := &Table[T]{exact: map[string]*node[T]{}, suffixes: map[string]*node[T]{}, any: new(node[T])}
	var errs []error
	for _, r := range rules {
		e := &entry[T]{rule: r, key: headerKey(r.Headers)}
		roots := []*node[T]{t.any}
		if len(r.Hosts) > 0 {
			roots = roots[:0]
			for _, h := range r.Hosts {
				roots = append(roots, t.root(h))
			}
		}
		for _, root := range roots {
			if err := root.insert(e); err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

func (t *Table[T]) root(host string) *node[T] {
	roots := t.exact
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		roots, host = t.suffixes, suffix
	}
	if roots[host] == nil {
		roots[host] = new(node[T])
	}
	return roots[host]
}

func (n *node[T]) insert(e *entry[T]) error {
	t := e.rule.Template
	for _, s := range t.segments {
		switch s.kind {
		case literal:
			child := n.literals[s.literal]
			if child == nil {
				if n.literals == nil {
					n.literals = map[string]*node[T]{}
				}
				child = new(node[T])
				n.literals[s.literal] = child
			}
			n = child
		case single:
			if n.single == nil {
				n.single = new(node[T])
			}
			n = n.single
		case multi:
			return n.multi.add(t.verb, e)
		case rest:
			return n.rest.add(t.verb, e)
		}
	}
	return n.leaf.add(t.verb, e)
}

func (l *leaf[T]) add(verb string, e *entry[T]) error {
	if *l == nil {
		*l = leaf[T]{}
	}
	var errs []error
	for _, other := range (*l)[verb] {
		if other.key == e.key && sameMethods(other.rule.Methods, e.rule.Methods) {
			errs = append(errs, fmt.Errorf("%s: matches the same requests as %s", e.rule.Origin, other.rule.Origin))
		}
	}
	list := append((*l)[verb], e)
	slices.SortStableFunc(list, (*entry[T]).compare)
	(*l)[verb] = list
	return errors.Join(errs...)
}

// compare orders the entries of one leaf and verb: by header conditions, then by method.
func (e *entry[T]) compare(o *entry[T]) int {
	return cmp.Or(
		cmp.Compare(len(o.rule.Headers), len(e.rule.Headers)),
		cmp.Compare(o.exactHeaders(), e.exactHeaders()),
		cmp.Compare(e.key, o.key),
		cmp.Compare(e.methodRank(), o.methodRank()),
	)
}

func (e *entry[T]) exactHeaders() int {
	n := 0
	for _, h := range e.rule.Headers {
		if h.Value != "*" {
			n++
		}
	}
	return n
}

// methodRank puts a rule for HEAD before the rule for GET that would take HEAD as well, and any method last.
func (e *entry[T]) methodRank() int {
	switch {
	case len(e.rule.Methods) == 0:
		return 2
	case slices.Contains(e.rule.Methods, http.MethodHead):
		return 0
	}
	return 1
}

// serves reports whether a rule for methods takes method. GET takes HEAD (RFC 9110 section 9.3.2).
func serves(methods []string, method string) bool {
	return len(methods) == 0 || slices.Contains(methods, method) ||
		method == http.MethodHead && slices.Contains(methods, http.MethodGet)
}

// sameMethods reports whether a request could not tell the two apart: both take any method, or they share one.
func sameMethods(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(m string) bool { return slices.Contains(b, m) })
}

func headerKey(headers []Header) string {
	parts := make([]string, len(headers))
	for i, h := range headers {
		parts[i] = h.Name + "\x00" + h.Value
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x01")
}
