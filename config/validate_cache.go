package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cache checks a route's cache section.
func (v *validator) cache(r *Route) {
	c := r.Cache
	if r.HTTP == nil && r.GRPC == nil {
		v.errorf(c.Pos, "cache: is for http and grpc routes")
	}
	v.words(c.Key.Headers, c.Key.Pos, "headers", checkHeaderName)
	v.words(c.Key.Cookies, c.Key.Pos, "cookies", func(s string) error { return checkToken("cookie", s) })
	v.words(c.BypassHeaders, c.Pos, "bypass_headers", checkHeaderName)
	v.words(c.Key.IgnoreMetadata, c.Key.Pos, "ignore_metadata", checkHeaderName)
	v.words(c.Methods, c.Pos, "methods", CheckSelector)
	if len(c.Methods) > 0 && r.GRPC == nil {
		v.errorf(v.at(&c.Methods, c.Pos), "methods: is for grpc routes")
	}
	v.words(c.TagHeaders, c.Pos, "tag_headers", checkHeaderName)
	if c.Key.User && r.Auth == nil && r.ExternalAuth == nil {
		v.errorf(v.at(&c.Key.User, c.Key.Pos), "user: the route has no auth, so all callers are the same")
	}
	if r.HTTP == nil {
		return
	}
	e := &r.HTTP.ResponseHeaders
	for _, m := range []*map[string]string{&e.Set, &e.Add} {
		for _, name := range slices.Sorted(maps.Keys(*m)) {
			for _, variable := range ofOneRequest {
				if strings.Contains((*m)[name], variable) {
					v.check(mapKey{m, name}, e.Pos, "response_headers", fmt.Errorf("%s differs from request to request, and the cache would give it to others", variable))
				}
			}
		}
	}
}

// ofOneRequest are variables that tell requests for one thing apart.
var ofOneRequest = []string{"{user}", "{client_ip}", "{request_id}", "{method}"}
