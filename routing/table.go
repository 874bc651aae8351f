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

// node is a place in the trie: the segments that lead to it are behind it. It is small, because among many rules most of
// a match is waiting for memory.
type node[T any] struct {
	literal  string // the one literal that goes on from here, and where to
	next     *node[T]
	literals map[string]*node[T] // or several
	single   *node[T]
	ends     *ends[T]
}

// ends are the templates that lead no further than a node.
type ends[T any] struct {
	leaf  leaf[T] // they end there
	multi leaf[T] // their ** begins there
	rest  leaf[T] // path prefixes whose rest begins there
}

// leaf is where templates end: the entries of each verb, those without one first.
type leaf[T any] []verbEntries[T]

// verbEntries are the entries of one verb, the most specific first.
type verbEntries[T any] struct {
	verb string
	list []entry[T]
}

// entry is what a match needs of a rule.
type entry[T any] struct {
	methods methodSet
	vars    []variable
	value   T
	headers []Header
	key     string // the header conditions, canonical
	rule    *Rule[T]
}

// Compile builds a table. Its error joins one error for each pair of rules that no request could tell apart, naming
// the origins of both.
func Compile[T any](rules []Rule[T]) (*Table[T], error) {
	rules = slices.Clone(rules)
	t := &Table[T]{exact: map[string]*node[T]{}, suffixes: map[string]*node[T]{}, any: new(node[T])}
	var errs []error
	for i := range rules {
		r := &rules[i]
		e := entry[T]{methods: methodsOf(r.Methods), vars: r.Template.vars, value: r.Value, headers: r.Headers, key: headerKey(r.Headers), rule: r}
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

func (n *node[T]) insert(e entry[T]) error {
	t := e.rule.Template
	for _, s := range t.segments {
		switch s.kind {
		case literal:
			n = n.grow(s.literal)
		case single:
			if n.single == nil {
				n.single = new(node[T])
			}
			n = n.single
		case multi:
			return n.end().multi.add(t.verb, e)
		case rest:
			return n.end().rest.add(t.verb, e)
		}
	}
	return n.end().leaf.add(t.verb, e)
}

// child returns the node that a literal leads to, nil when there is none.
func (n *node[T]) child(part string) *node[T] {
	if n.literals != nil {
		return n.literals[part]
	}
	if n.next != nil && n.literal == part {
		return n.next
	}
	return nil
}

// grow is child for a table that is being built.
func (n *node[T]) grow(part string) *node[T] {
	child := n.child(part)
	switch {
	case child != nil:
		return child
	case n.next == nil && n.literals == nil:
		n.literal, n.next = part, new(node[T])
		return n.next
	case n.literals == nil:
		n.literals = map[string]*node[T]{n.literal: n.next}
		n.literal, n.next = "", nil
	}
	child = new(node[T])
	n.literals[part] = child
	return child
}

func (n *node[T]) end() *ends[T] {
	if n.ends == nil {
		n.ends = new(ends[T])
	}
	return n.ends
}

func (l *leaf[T]) add(verb string, e entry[T]) error {
	at, found := slices.BinarySearchFunc(*l, verb, func(v verbEntries[T], verb string) int { return cmp.Compare(v.verb, verb) })
	if !found {
		*l = slices.Insert(*l, at, verbEntries[T]{verb: verb})
	}
	var errs []error
	list := (*l)[at].list
	for _, other := range list {
		if other.key == e.key && sameMethods(other.rule.Methods, e.rule.Methods) {
			errs = append(errs, fmt.Errorf("%s: matches the same requests as %s", e.rule.Origin, other.rule.Origin))
		}
	}
	list = append(list, e)
	slices.SortStableFunc(list, func(a, b entry[T]) int { return a.compare(&b) })
	(*l)[at].list = list
	return errors.Join(errs...)
}

// compare orders the entries of one leaf and verb: by header conditions, then by method.
func (e *entry[T]) compare(o *entry[T]) int {
	return cmp.Or(
		cmp.Compare(len(o.headers), len(e.headers)),
		cmp.Compare(o.exactHeaders(), e.exactHeaders()),
		cmp.Compare(e.key, o.key),
		cmp.Compare(e.methodRank(), o.methodRank()),
	)
}

func (e *entry[T]) exactHeaders() int {
	n := 0
	for _, h := range e.headers {
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
