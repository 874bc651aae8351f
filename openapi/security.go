package openapi

import (
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/auth"
)

// security returns what a route asks of its callers: any one of the places where a credential may be, with the roles
// and scopes that an identity needs (OpenAPI 3.1, section 4.8.30.1: role names, for schemes that exchange none in band).
func (b *builder) security(p *auth.Policy) []map[string][]string {
	if p == nil {
		return nil
	}
	needs := append(append([]string{}, p.Roles()...), p.Scopes()...)
	var list []map[string][]string
	for _, place := range p.Places() {
		list = append(list, map[string][]string{b.scheme(place): needs})
	}
	if p.Optional() {
		list = append(list, map[string][]string{})
	}
	return list
}

// scheme returns the name of a place's security scheme: the provider's, with a number when it has several places.
func (b *builder) scheme(place auth.Place) string {
	if name, known := b.secured[place]; known {
		return name
	}
	name := place.Provider
	for n := 2; ; n++ {
		if _, taken := b.doc.Components.SecuritySchemes[name]; !taken {
			break
		}
		name = place.Provider + "-" + strconv.Itoa(n)
	}
	b.secured[place] = name
	b.doc.Components.SecuritySchemes[name] = schemeOf(place)
	return name
}

func schemeOf(place auth.Place) SecurityScheme {
	what := map[auth.Kind]string{
		auth.SignedToken: "A signed token (JWT)", auth.OpaqueToken: "A token", auth.APIKey: "An API key", auth.Password: "A user and a password",
		auth.Session: "A session, after a login",
	}[place.Kind]
	switch {
	case place.Cookie != "":
		return SecurityScheme{Type: "apiKey", In: "cookie", Name: place.Cookie, Description: what + "."}
	case place.Header == "Authorization" && strings.EqualFold(place.Scheme, "bearer"):
		// Other schemes are registered names (OpenAPI 3.1, section 4.8.27.1), which no gateway's own is.
		s := SecurityScheme{Type: "http", Scheme: "bearer", Description: what + "."}
		if place.Kind == auth.SignedToken {
			s.BearerFormat = "JWT"
		}
		return s
	case place.Header == "Authorization" && strings.EqualFold(place.Scheme, "basic"):
		return SecurityScheme{Type: "http", Scheme: "basic", Description: what + "."}
	case place.Scheme != "":
		return SecurityScheme{Type: "apiKey", In: "header", Name: place.Header, Description: what + ", after `" + place.Scheme + "` and a space."}
	}
	return SecurityScheme{Type: "apiKey", In: "header", Name: place.Header, Description: what + "."}
}
