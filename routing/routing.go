package routing

import (
	"net/http"
	"strings"
)

// Rule is one thing to match and the value it stands for.
type Rule[T any] struct {
	// Hosts are lower-case host names without port, exact or "*.example.com"; none is any host.
	Hosts []string
	// Methods are HTTP methods; none is any method.
	Methods []string
	// Template is the path to match.
	Template *Template
	// Headers must all hold.
	Headers []Header
	// Value is what Match answers with.
	Value T
	// Origin says where the rule was declared, for errors: "crossgate.yaml:12:5: route shop: shop.v1.Catalog.GetItem".
	Origin string
}

// Header is a condition on a request header. Name is canonical; Value is exact, or "*" for any value.
type Header struct {
	Name, Value string
}

// Request is what a table looks at.
type Request struct {
	Host   string // without port, any case
	Method string
	Path   string // escaped, as it came (RFC 3986), without query
	Header http.Header
	// Announced are names of headers that a request to come will have, as a preflight says, with values that are not known:
	// conditions on them hold.
	Announced []string
}

// HostRank returns how closely a rule with these hosts fits a host name: the more, the more specific; 0 for any host,
// -1 where it does not fit.
func HostRank(hosts []string, host string) int {
	if len(hosts) == 0 {
		return 0
	}
	rank := -1
	host = strings.ToLower(host)
	for _, h := range hosts {
		switch suffix, wildcard := strings.CutPrefix(h, "*"); {
		case h == host:
			return maxHost + 1
		case wildcard && len(host) <= maxHost && strings.HasSuffix(host, suffix):
			rank = max(rank, len(suffix))
		}
	}
	return rank
}

// Outcome says how a match ended.
type Outcome uint8

// The outcomes of a match.
const (
	Matched Outcome = iota
	NotFound
	MethodNotAllowed
	// BadPath is a path that no rule may see: a broken percent-escape, or a . or .. segment in any spelling.
	BadPath
)

// Var is what a path holds for a variable of the template. Name is the field path. Value is percent-decoded, but for
// %2F in a variable of many segments (google/api/http.proto).
type Var struct{ Name, Value string }

// Vars are the variables of a match, in the order of the template.
type Vars []Var

// Get returns the value of the variable called name, "" where there is none.
func (v Vars) Get(name string) string {
	for i := range v {
		if v[i].Name == name {
			return v[i].Value
		}
	}
	return ""
}
