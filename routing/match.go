package routing

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// stackSegments is how many segments of a path are held without allocating.
const stackSegments = 32

// maxHost is the longest a host name may be (RFC 1035 section 2.3.4). A longer one is under no rule that names hosts:
// each of its suffixes would be looked up, in time that grows with the square of its length.
const maxHost = 255

// Match returns the value of the rule that r is for, and the template's variables in vars[:0]. It allocates nothing
// when vars has room and the path has no percent-escape and at most stackSegments segments; the values are then
// substrings of r.Path.
//
// For each host that r may be under, and for the path with its verb and without, a walk visits a node of the trie at
// most once, and at depth d at most 2^d of them: a literal and *, where rules have both. A path adds no nodes, so what
// a hostile one costs beyond its own length is set by the rules.
func (t *Table[T]) Match(r *Request, vars Vars) (T, Vars, Outcome) {
	var room [stackSegments]string
	s := search[T]{request: r, parts: split(r.Path, room[:0]), method: methodBit(r.Method)}
	if !s.check() {
		var none T
		return none, vars[:0], BadPath
	}
	found := t.search(&s)
	if found == nil {
		var none T
		if s.otherMethod {
			return none, vars[:0], MethodNotAllowed
		}
		return none, vars[:0], NotFound
	}
	return found.value, s.bind(found.vars, vars[:0]), Matched
}

// Allow returns the methods that r's path takes, sorted; nil when a rule for it takes any method or none matches.
func (t *Table[T]) Allow(r *Request) []string {
	var room [stackSegments]string
	s := search[T]{request: r, parts: split(r.Path, room[:0]), collect: map[string]bool{}}
	if !s.check() {
		return nil
	}
	t.search(&s)
	if s.takesAny {
		return nil
	}
	var methods []string
	for m := range s.collect {
		methods = append(methods, m)
		if m == http.MethodGet && !s.collect[http.MethodHead] {
			methods = append(methods, http.MethodHead)
		}
	}
	slices.Sort(methods)
	return methods
}

// search is one walk through the trie.
type search[T any] struct {
	request *Request
	method  methodSet
	// parts are the path's segments: as they came where escaped is false, else decoded, with raw as they came.
	parts   []string
	raw     []string
	escaped bool
	verb    string // the verb being looked for, decoded

	otherMethod bool            // the path was found, but not for the method
	collect     map[string]bool // for Allow: gathers methods in place of picking
	takesAny    bool            // for Allow: some rule takes any method
}

// split cuts the path into segments, appended to parts. It returns none for what is no path.
func split(path string, parts []string) []string {
	if path == "" || path[0] != '/' {
		return nil
	}
	for rest := path[1:]; ; {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return append(parts, rest)
		}
		parts = append(parts, rest[:i])
		rest = rest[i+1:]
	}
}

// check decodes the segments of an escaped path, and reports false for a path that nothing may match.
func (s *search[T]) check() bool {
	if len(s.parts) == 0 {
		return false
	}
	if strings.IndexByte(s.request.Path, '%') >= 0 {
		s.escaped = true
		s.raw = s.parts
		s.parts = make([]string, len(s.raw))
		for i, p := range s.raw {
			decoded, err := url.PathUnescape(p)
			if err != nil {
				return false
			}
			s.parts[i] = decoded
		}
	}
	for _, p := range s.parts {
		if isDots(p) {
			return false
		}
	}
	stem, _ := cutVerb(s.rawPart(len(s.parts) - 1))
	return !isDots(s.decode(stem))
}

// search tries the hosts from the most specific to any, and for each the path with its verb before the path without.
func (t *Table[T]) search(s *search[T]) *entry[T] {
	if len(s.request.Host) <= maxHost && (len(t.exact) > 0 || len(t.suffixes) > 0) {
		host := strings.ToLower(s.request.Host)
		if found := s.under(t.exact[host]); found != nil {
			return found
		}
		for i := strings.IndexByte(host, '.'); i >= 0 && len(t.suffixes) > 0; {
			if found := s.under(t.suffixes[host[i:]]); found != nil {
				return found
			}
			next := strings.IndexByte(host[i+1:], '.')
			if next < 0 {
				break
			}
			i += 1 + next
		}
	}
	return s.under(t.any)
}

func (s *search[T]) under(root *node[T]) *entry[T] {
	if root == nil {
		return nil
	}
	last := len(s.parts) - 1
	whole, raw := s.parts[last], s.rawPart(last)
	if stem, verb := cutVerb(raw); verb != "" {
		s.parts[last], s.verb = s.decode(stem), s.decode(verb)
		if s.escaped {
			s.raw[last] = stem
		}
		if found := s.walk(root, 0); found != nil {
			return found
		}
		s.parts[last], s.verb = whole, ""
		if s.escaped {
			s.raw[last] = raw
		}
	}
	return s.walk(root, 0)
}

func (s *search[T]) rawPart(i int) string {
	if s.escaped {
		return s.raw[i]
	}
	return s.parts[i]
}

func (s *search[T]) decode(part string) string {
	if !s.escaped {
		return part
	}
	decoded, _ := url.PathUnescape(part) // check has tried every escape
	return decoded
}

func (s *search[T]) walk(n *node[T], depth int) *entry[T] {
	if depth == len(s.parts) {
		if n.ends == nil {
			return nil
		}
		if found := s.pick(n.ends.leaf); found != nil {
			return found
		}
		return s.pick(n.ends.multi)
	}
	part := s.parts[depth]
	if child := n.child(part); child != nil {
		if found := s.walk(child, depth+1); found != nil {
			return found
		}
	}
	if n.single != nil && part != "" {
		if found := s.walk(n.single, depth+1); found != nil {
			return found
		}
	}
	if n.ends == nil {
		return nil
	}
	if found := s.pick(n.ends.multi); found != nil {
		return found
	}
	return s.pick(n.ends.rest)
}

// pick returns the first entry of the leaf that takes the request.
func (s *search[T]) pick(l leaf[T]) *entry[T] {
	for i := range l {
		if l[i].verb != s.verb {
			continue
		}
		for j := range l[i].list {
			e := &l[i].list[j]
			if !s.headersHold(e.headers) {
				continue
			}
			if s.collect != nil {
				s.gather(e.rule.Methods)
			} else if e.serves(s.method, s.request.Method) {
				return e
			}
			s.otherMethod = true
		}
	}
	return nil
}

func (s *search[T]) gather(methods []string) {
	s.takesAny = s.takesAny || len(methods) == 0
	for _, m := range methods {
		s.collect[m] = true
	}
}

func (s *search[T]) headersHold(conditions []Header) bool {
	for _, c := range conditions {
		values := s.request.Header[c.Name]
		if (len(values) == 0 || c.Value != "*" && !slices.Contains(values, c.Value)) && !slices.Contains(s.request.Announced, c.Name) {
			return false
		}
	}
	return true
}

// bind reads the template's variables off the path.
func (s *search[T]) bind(of []variable, vars Vars) Vars {
	for i := range of {
		v := &of[i]
		to := v.to
		if v.open {
			to = len(s.parts)
		}
		vars = append(vars, Var{v.field, s.value(v, to)})
	}
	return vars
}

func (s *search[T]) value(v *variable, to int) string {
	if !v.manySegments() {
		return s.parts[v.from]
	}
	if v.from >= to {
		return ""
	}
	if s.escaped {
		return joinReserved(s.raw[v.from:to])
	}
	// Segments of an unescaped path lie one after the other in it.
	start := 1
	for _, p := range s.parts[:v.from] {
		start += len(p) + 1
	}
	end := start - 1
	for _, p := range s.parts[v.from:to] {
		end += len(p) + 1
	}
	return s.request.Path[start:end]
}

// joinReserved decodes all but an escaped slash, which would be taken for one that separates segments.
func joinReserved(raw []string) string {
	var b strings.Builder
	for i, p := range raw {
		if i > 0 {
			b.WriteByte('/')
		}
		for p != "" {
			at := strings.IndexByte(p, '%')
			for at >= 0 && !strings.EqualFold(p[at:at+3], "%2f") {
				next := strings.IndexByte(p[at+3:], '%')
				if next < 0 {
					at = -1
					break
				}
				at += 3 + next
			}
			if at < 0 {
				at = len(p)
			}
			decoded, _ := url.PathUnescape(p[:at]) // check has tried every escape
			b.WriteString(decoded)
			if p = p[at:]; p != "" {
				b.WriteString(p[:3])
				p = p[3:]
			}
		}
	}
	return b.String()
}
