package auth

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

// claimReader reads who a token is for from its claims.
type claimReader struct {
	provider            string
	user, roles, scopes string // claims
	needed              []config.RequiredClaim
	stands              map[string][]string // the roles of a value of the roles claim; nil for the values themselves
	skew                time.Duration
}

func standing(list []config.RoleMapping) map[string][]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string][]string, len(list))
	for _, one := range list {
		m[one.Value] = one.Roles
	}
	return m
}

// identity reads who a verified token is for.
func (r *claimReader) identity(claims jwt.MapClaims) (*Identity, error) {
	id := &Identity{Provider: r.provider, Claims: claims}
	if user, ok := claim(claims, r.user); ok {
		text, isText := user.(string)
		if !isText {
			return nil, fmt.Errorf("the token's %s claim is not a string", r.user)
		}
		id.User = text
	}
	if err := r.check(claims); err != nil {
		return nil, err
	}
	roles, _ := claim(claims, r.roles)
	id.Roles = r.mapped(words(roles))
	scopes, _ := claim(claims, r.scopes)
	id.Scopes = words(scopes)
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		id.Expires = exp.Add(r.skew)
	}
	return id.seal(), nil
}

// check looks for the claims that the provider asks for.
func (r *claimReader) check(claims jwt.MapClaims) error {
	for i := range r.needed {
		c := &r.needed[i]
		value, ok := claim(claims, c.Claim)
		if !ok || value == nil {
			return fmt.Errorf("the token has no %s claim, which is needed", c.Claim)
		}
		if len(c.Values) > 0 && !oneOf(value, c.Values) {
			return fmt.Errorf("the token's %s claim is not accepted", c.Claim)
		}
	}
	return nil
}

// latest is the largest date that is taken, in seconds: far beyond what anybody means, and far below what overflows.
const latest = 1 << 53

// checkDates refuses dates that cannot be computed with: an nbf that overflows would be in the past.
func checkDates(claims map[string]any) error {
	for _, name := range [...]string{"exp", "nbf", "iat"} {
		if seconds, ok := claims[name].(float64); ok && math.Abs(seconds) > latest {
			return fmt.Errorf("the token's %s claim is no date", name)
		}
	}
	return nil
}

// oneOf reports whether a claim, or an element of one that is a list, is one of the values.
func oneOf(value any, values []string) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool {
			_, list := e.([]any)
			return !list && oneOf(e, values)
		})
	case string:
		return slices.Contains(values, v)
	case bool:
		return slices.Contains(values, strconv.FormatBool(v))
	case float64:
		return slices.Contains(values, strconv.FormatFloat(v, 'f', -1, 64))
	}
	return false
}

// mapped returns the roles that values of the roles claim stand for.
func (r *claimReader) mapped(values []string) []string {
	if r.stands == nil {
		return values
	}
	var list []string
	for _, value := range values {
		for _, role := range r.stands[value] {
			if !slices.Contains(list, role) {
				list = append(list, role)
			}
		}
	}
	return list
}

// claim finds a claim by its name, or by a dotted path where no claim has that name.
func claim(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	first, rest, more := strings.Cut(path, ".")
	nested, ok := claims[first].(map[string]any)
	if !more || !ok {
		return nil, false
	}
	return claim(nested, rest)
}

// words reads a list of strings, or one string of words (RFC 8693 section 4.2).
func words(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
