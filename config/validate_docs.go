package config

import (
	"fmt"
	"net/url"
	"strings"
)

func (v *validator) docs(r *Route) {
	d := r.Docs
	v.ownPaths(&r.Match, "docs")
	v.check(&d.OpenAPI, d.Pos, "openapi", checkPath(d.OpenAPI))
	if d.Page != "off" {
		v.check(&d.Page, d.Pos, "page", checkDocsPath(d.Page))
		if d.Page == d.OpenAPI {
			v.errorf(v.at(&d.Page, d.Pos), "page: %s is the path of the document", quote(d.Page))
		}
	}
	v.words(d.Servers, d.Pos, "servers", checkServer)
}

// ownPaths refuses what a route whose kind has paths of its own cannot match.
func (v *validator) ownPaths(m *Match, kind string) {
	for _, own := range []struct {
		key   string
		given bool
	}{{"path", m.Path != ""}, {"path_prefix", m.PathPrefix != ""}, {"methods", len(m.Methods) > 0}} {
		if own.given {
			v.errorf(m.Pos, "match: a %s route has paths and methods of its own, and no %s", kind, own.key)
		}
	}
}

func checkDocsPath(s string) error {
	if err := checkPath(s); err != nil {
		return err
	}
	if strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s ends with /; the page's files are below its path", quote(s))
	}
	return nil
}

func checkServer(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https", u.Scheme != "" && u.Host == "", u.Scheme == "" && !strings.HasPrefix(s, "/"),
		u.Scheme == "" && u.Host != "":
		return fmt.Errorf("%s is no base URL; expected one as https://api.example.com/v1, or a path", quote(s))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("a base URL is a scheme, a host and a path, and no more than that")
	}
	return nil
}

// documented checks that the routes that docs routes name are there, and have something to document.
func (v *validator) documented(routes map[string]Position) {
	kinds := make(map[string]*Route, len(v.config.Routes))
	for i := range v.config.Routes {
		kinds[v.config.Routes[i].Name] = &v.config.Routes[i]
	}
	for i := range v.config.Routes {
		d := v.config.Routes[i].Docs
		if d == nil {
			continue
		}
		v.words(d.Routes, d.Pos, "routes", func(string) error { return nil })
		for j := range d.Routes {
			name := &d.Routes[j]
			if r := kinds[*name]; r != nil && r.GRPC == nil {
				v.errorf(v.at(name, d.Pos), "routes: %s is no grpc route, and has nothing to describe", quote(*name))
				continue
			}
			v.reference(name, d.Pos, "route", routes)
		}
	}
}
