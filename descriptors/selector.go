package descriptors

import "strings"

// Selects reports whether a selector has the element called name: the selector is a list of names separated by commas,
// of which each may end in a component *, which stands for one component or more (google/api/documentation.proto,
// DocumentationRule.selector).
func Selects(selector, name string) bool {
	for more := true; more; {
		var one string
		one, selector, more = strings.Cut(selector, ",")
		one = strings.TrimSpace(one)
		if prefix, wildcard := strings.CutSuffix(one, "*"); one == name || wildcard && strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return true
		}
	}
	return false
}
