package auth

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// identity reads who a verified token is for.
func (v *jwtVerifier) identity(claims jwt.MapClaims) (*Identity, error) {
	id := &Identity{Provider: v.provider, Claims: claims}
	if user, ok := claim(claims, v.config.UserClaim); ok {
		text, isText := user.(string)
		if !isText {
			return nil, fmt.Errorf("the token's %s claim is not a string", v.config.UserClaim)
		}
		id.User = text
	}
	if err := v.checkClaims(claims); err != nil {
		return nil, err
	}
	roles, _ := claim(claims, v.config.RolesClaim)
	id.Roles = v.mapped(words(roles))
	scopes, _ := claim(claims, v.config.ScopesClaim)
	id.Scopes = words(scopes)
	if exp, err := claims.GetExpirationTime(); err == nil && exp != nil {
		id.Expires = exp.Add(v.config.ClockSkew.Std())
	}
	if err := v.checkAge(claims, id); err != nil {
		return nil, err
	}
	return id, nil
}

// checkClaims looks for the claims that the provider asks for.
func (v *jwtVerifier) checkClaims(claims jwt.MapClaims) error {
	for i := range v.config.RequiredClaims {
		c := &v.config.RequiredClaims[i]
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
func (v *jwtVerifier) mapped(values []string) []string {
	if v.roles == nil {
		return values
	}
	var list []string
	for _, value := range values {
		for _, role := range v.roles[value] {
			if !slices.Contains(list, role) {
				list = append(list, role)
			}
		}
	}
	return list
}

// checkAge ends the identity when the token gets too old, whatever its exp.
func (v *jwtVerifier) checkAge(claims jwt.MapClaims, id *Identity) error {
	limit := v.config.MaxAge.Std()
	if limit == 0 {
		return nil
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil {
		return errors.New("the token has no iat claim, which is needed")
	}
	ends := issued.Add(limit + v.config.ClockSkew.Std())
	if !v.now().Before(ends) {
		return errors.New("the token was issued too long ago")
	}
	if id.Expires.IsZero() || ends.Before(id.Expires) {
		id.Expires = ends
	}
	return nil
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
