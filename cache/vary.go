package cache

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// selector is a request header that an answer was chosen by, with what the request had of it.
type selector struct {
	name  string
	value string // its elements, with a comma between
	there bool
}

// maxSelectors is how many headers an answer may be chosen by; one by more is not kept.
const maxSelectors = 16

// selectors returns what Vary makes of a request. ok is false where no later request is known to get the same: Vary has *, or
// names what the gateway puts in by itself, after this.
func (p *Policy) selectors(vary []string, h http.Header) (list []selector, ok bool) {
	for _, line := range vary {
		for name := range strings.SplitSeq(line, ",") {
			if name = trim(name); name == "" {
				continue
			}
			name = textproto.CanonicalMIMEHeaderKey(name)
			if name == "*" || len(list) == maxSelectors || slices.Contains(p.unseen, name) {
				return nil, false
			}
			if slices.ContainsFunc(list, func(s selector) bool { return s.name == name }) {
				continue
			}
			values, there := h[name]
			list = append(list, selector{name, joined(values), there})
		}
	}
	return list, true
}

// joined is a field's value as selectors have it.
func joined(lines []string) string {
	if len(lines) == 1 && !strings.Contains(lines[0], ",") {
		return trim(lines[0])
	}
	var all []string
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			all = append(all, trim(one))
		}
	}
	return strings.Join(all, ",")
}

// matches reports whether a request would have been given the answer (RFC 9111 section 4.1).
func (s *selector) matches(h http.Header) bool {
	lines, there := h[s.name]
	if there != s.there {
		return false
	}
	if len(lines) == 1 && lines[0] == s.value {
		return true
	}
	return joined(lines) == s.value
}

// selects reports whether a request would have been given e.
func (e *entry) selects(h http.Header) bool {
	for i := range e.vary {
		if !e.vary[i].matches(h) {
			return false
		}
	}
	return true
}

// sameVariant reports whether one of the two takes the place of the other.
func sameVariant(a, b *entry) bool { return slices.Equal(a.vary, b.vary) }
