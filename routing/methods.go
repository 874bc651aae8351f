package routing

import (
	"net/http"
	"slices"
)

// methodSet is the methods that a rule takes, or the one of a request, a bit for each of the common ones. GET takes HEAD
// (RFC 9110 section 9.3.2).
type methodSet uint16

const (
	otherMethods methodSet = 1 << 15 // some have no bit: their names decide
	anyMethod    methodSet = 1<<16 - 1
)

func methodBit(method string) methodSet {
	switch method {
	case http.MethodGet:
		return 1 << 0
	case http.MethodHead:
		return 1 << 1
	case http.MethodPost:
		return 1 << 2
	case http.MethodPut:
		return 1 << 3
	case http.MethodPatch:
		return 1 << 4
	case http.MethodDelete:
		return 1 << 5
	case http.MethodOptions:
		return 1 << 6
	}
	return otherMethods
}

func methodsOf(methods []string) methodSet {
	if len(methods) == 0 {
		return anyMethod
	}
	var set methodSet
	for _, m := range methods {
		set |= methodBit(m)
		if m == http.MethodGet {
			set |= methodBit(http.MethodHead)
		}
	}
	return set
}

// serves reports whether a rule takes a request's method, of which bit is the one in the set.
func (e *entry[T]) serves(bit methodSet, method string) bool {
	return e.methods&bit != 0 && (bit != otherMethods || e.methods == anyMethod || slices.Contains(e.rule.Methods, method))
}
